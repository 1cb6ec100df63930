/** The conversations at the side: a drawer on a phone. */

import { byId, h, reconcile, setText, short } from "./dom.js";

const narrow = matchMedia("(max-width: 820px)");

export class Sidebar {
  /** @param {import("./chat.js").Chat} chat */
  constructor(chat) {
    this.chat = chat;
    this.root = byId("sidebar");
    this.menu = byId("menu");
    this.list = byId("threads");
    this.opened = false;
    setText(byId("user"), chat.config.user);
    setText(byId("avatar"), chat.config.user.slice(0, 1).toUpperCase());
    this.menu.addEventListener("click", () => this.toggle(!this.opened));
    byId("scrim").addEventListener("click", () => this.toggle(false));
    byId("older-threads").addEventListener("click", () => chat.loadOlderThreads());
    this.list.addEventListener("click", () => this.toggle(false));
    narrow.addEventListener("change", () => this.toggle(false));
    this.toggle(false);
  }

  /** @param {boolean} opened */
  toggle(opened) {
    const was = this.opened;
    this.opened = opened && narrow.matches;
    this.root.classList.toggle("opened", this.opened);
    // Out of sight on a phone, it must be out of the order of the Tab key, too; and the rest when it is open.
    this.root.inert = narrow.matches && !this.opened;
    byId("main").inert = this.opened;
    byId("scrim").hidden = !this.opened;
    this.menu.setAttribute("aria-expanded", String(this.opened));
    if (this.opened) byId("new").focus();
    else if (was) this.menu.focus();
  }

  /** Closes on Esc; says whether there was something to close. */
  close() {
    const was = this.opened;
    if (was) this.toggle(false);
    return was;
  }

  render() {
    const threads = this.chat.threads();
    reconcile(
      this.list,
      threads,
      ({ thread }) => thread,
      ({ thread }) =>
        h(
          "li",
          {},
          h(
            "a",
            { href: `#/t/${encodeURIComponent(thread)}`, data: { testid: "thread", thread } },
            h("span", { class: "text" }),
            h("span", { class: "marks" }),
          ),
        ),
      (item, { thread, live, asks, unread }) => {
        const link = item.firstElementChild;
        const [text, marks] = link.children;
        setText(text, short(this.chat.titleOf(thread), 60));
        link.dataset.live = live;
        link.dataset.asks = asks;
        link.dataset.unread = unread;
        setText(marks, [asks && "waiting for your answer", live && "working", unread && "unread"].filter(Boolean).join(", "));
        if (thread === this.chat.thread) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      },
    );
    byId("older-threads").hidden = !this.chat.moreThreads;
  }
}
