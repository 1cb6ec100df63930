/** The bell, the list behind it, and the word in passing when something ended elsewhere. */

import { announce, byId, h, reconcile, setText, short, time } from "./dom.js";

const TOAST_MS = 8000;
const TOASTS = 3;

export class Inbox {
  /** @param {import("./chat.js").Chat} chat @param {(thread: string) => void} go */
  constructor(chat, go) {
    this.chat = chat;
    this.go = go;
    this.bell = byId("bell");
    this.panel = byId("inbox");
    this.count = byId("count");
    this.bell.addEventListener("click", () => this.toggle(this.panel.hidden));
    byId("inbox-close").addEventListener("click", () => this.toggle(false));
    byId("mark-all").addEventListener("click", () => chat.readAll());
    byId("older-notifications").addEventListener("click", () => chat.loadOlderNotifications());
    document.addEventListener("pointerdown", (event) => {
      const at = /** @type {Node} */ (event.target);
      if (!this.panel.hidden && !this.panel.contains(at) && !this.bell.contains(at)) this.toggle(false, false);
    });
    chat.client.addEventListener("notification", (/** @type {any} */ event) => this._news(event.detail));
  }

  /** @param {boolean} opened @param {boolean} [focus] */
  toggle(opened, focus = true) {
    this.panel.hidden = !opened;
    this.bell.setAttribute("aria-expanded", String(opened));
    if (opened) {
      this.render();
      this.panel.focus();
      for (const toast of [...byId("toasts").children]) toast.remove();
    } else if (focus) this.bell.focus();
  }

  close() {
    const was = !this.panel.hidden;
    if (was) this.toggle(false);
    return was;
  }

  render() {
    const { unread } = this.chat.snapshot.counts;
    setText(this.count, unread > 99 ? "99+" : String(unread));
    this.count.dataset.count = unread;
    this.bell.setAttribute("aria-label", unread ? `Notifications, ${unread} unread` : "Notifications");
    const title = this.chat.thread === null ? "trouper chat" : `${short(this.chat.titleOf(this.chat.thread), 40)} · trouper chat`;
    document.title = unread ? `(${unread}) ${title}` : title;
    const rows = this.chat.notifications();
    reconcile(
      byId("notifications"),
      rows,
      (row) => row.id,
      (row) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", data: { testid: "notification", id: row.id, job: row.job, kind: row.kind }, onclick: () => this._choose(row) },
            h("strong", { text: row.title }),
            h("span", { class: "where" }),
            row.body ? h("span", { class: "body", text: short(row.body, 200) }) : "",
            h("time", { text: time(row.created_at) }),
          ),
        ),
      (item, row) => {
        const button = item.firstElementChild;
        button.dataset.read = row.read;
        button.dataset.seen = row.seen;
        setText(button.children[1], this._where(row));
      },
    );
    byId("inbox-empty").hidden = rows.length > 0;
    byId("mark-all").disabled = unread === 0;
    byId("older-notifications").hidden = rows.length < 20 || !this.chat.moreNotifications;
  }

  /** @param {any} row */
  _where(row) {
    const job = this.chat.rows.get(row.job);
    const question = job ? this.chat.questionOf(job) : "";
    return short(question || (row.thread === null ? "" : this.chat.titleOf(row.thread)), 70);
  }

  /** @param {any} row */
  _choose(row) {
    this.toggle(false, false);
    if (!row.read) this.chat.read([row.id]);
    if (row.thread !== null) this.go(row.thread);
  }

  /** @param {any} row */
  _news(row) {
    if (row.thread !== null && row.thread === this.chat.thread) return; // the message itself tells
    announce(row.title);
    if (!this.panel.hidden || document.visibilityState === "hidden") return;
    const toast = h("div", { class: "toast", role: "group", data: { testid: "toast" } }, h("span", { text: row.title }));
    if (row.thread !== null) {
      toast.append(h("button", {
        type: "button", class: "quiet",
        onclick: () => {
          toast.remove();
          this._choose(row);
        },
      }, "Open"));
    }
    byId("toasts").append(toast);
    while (byId("toasts").children.length > TOASTS) byId("toasts").firstElementChild.remove();
    setTimeout(() => toast.remove(), TOAST_MS);
  }
}
