/** The open conversation: its messages, and where one looks in it. */

import { active } from "./chat.js";
import { byId, h, reconcile, setText } from "./dom.js";
import { MessageView } from "./message.js";

/** Who is nearer to the end than this many pixels wants to stay there. */
const NEAR_END = 80;

export class Conversation {
  /** @param {import("./chat.js").Chat} chat @param {import("./outputs.js").Outputs} outputs
   * @param {(sending: any) => void} edit Puts what could not be sent back into the composer. */
  constructor(chat, outputs, edit) {
    this.chat = chat;
    this.outputs = outputs;
    this.edit = edit;
    this.scroll = byId("scroll");
    this.list = byId("messages");
    this.latest = byId("latest");
    /** @type {Map<string, MessageView>} */
    this.views = new Map();
    this.thread = /** @type {string | null | undefined} */ (undefined);
    this.following = true;
    this.scroll.addEventListener("scroll", () => this._scrolled(), { passive: true });
    this.latest.addEventListener("click", () => {
      this.following = true;
      this._follow();
    });
    byId("older-jobs").addEventListener("click", () => this._older());
    // Whatever makes the content grow (a message, a picture, the window), the end stays in view.
    new ResizeObserver(() => this._follow()).observe(this.list);
    new ResizeObserver(() => this._follow()).observe(this.scroll);
  }

  render() {
    const { chat } = this;
    if (this.thread !== chat.thread) {
      this.thread = chat.thread;
      this.following = true;
    }
    const jobs = chat.jobs();
    const sending = chat.sending.filter((each) => each.thread === chat.thread);
    byId("welcome").hidden = chat.thread !== null;
    byId("loading").hidden = !chat.loading;
    byId("problem").hidden = !chat.problem;
    setText(byId("problem"), chat.problem);
    byId("older-jobs").hidden = !chat.moreJobs;
    this.list.hidden = chat.thread === null;
    setText(byId("title"), chat.titleOf(chat.thread));
    this.outputs.show(this._wanted(jobs));
    reconcile(
      this.list,
      [...jobs, ...sending],
      (each) => each.id ?? `sending ${each.key}`,
      (each) => (each.id ? this._view(each).element : this._sending(each)),
      (element, each) => {
        if (!each.id) return this._updateSending(element, each);
        const view = this._view(each);
        view.update(each);
        const buffer = this.outputs.get(each.id);
        if (buffer) view.attach(buffer);
      },
    );
    const shown = new Set(jobs.map((job) => job.id));
    for (const id of this.views.keys()) if (!shown.has(id)) this.views.delete(id);
    this._follow();
  }

  /** Working ones first, then from the newest to the oldest. @param {any[]} jobs @returns {string[]} */
  _wanted(jobs) {
    const newest = [...jobs].reverse();
    return [...newest.filter(active), ...newest.filter((job) => !active(job))].map((job) => job.id);
  }

  /** @param {any} job */
  _view(job) {
    let view = this.views.get(job.id);
    if (!view) this.views.set(job.id, (view = new MessageView(this.chat, job)));
    return view;
  }

  /** What has been sent and not yet answered. @param {any} sending */
  _sending(sending) {
    return h(
      "article",
      { class: "message", data: { state: "sending" } },
      sending.text ? h("div", { class: "asked", text: sending.text }) : "",
      h(
        "div",
        { class: "answer" },
        h(
          "div",
          { class: "status" },
          h(
            "header",
            {},
            h("span", { class: "label", text: this.chat.labelOf({ name: sending.job }) }),
            h("span", { class: "chip", data: { testid: "state", state: "sending" }, text: "sending…" }),
          ),
        ),
        h("p", { class: "problem", role: "alert", hidden: true }),
        h("button", {
          type: "button", class: "quiet", data: { testid: "stop-sending" }, onclick: () => this.chat.stopSending(sending),
        }, "Stop"),
        h("button", {
          type: "button", class: "quiet", hidden: true, data: { testid: "edit-again" },
          onclick: () => {
            this.chat.dismiss(sending);
            this.edit(sending);
          },
        }, "Edit and send again"),
      ),
    );
  }

  /** @param {Element} element @param {any} sending */
  _updateSending(element, sending) {
    if (!sending.problem) return;
    const problem = /** @type {any} */ (element.querySelector(".problem"));
    setText(problem, sending.problem);
    problem.hidden = false;
    setText(/** @type {any} */ (element.querySelector(".chip")), "not sent");
    /** @type {any} */ (element.querySelector("[data-testid=stop-sending]")).hidden = true;
    /** @type {any} */ (element.querySelector("[data-testid=edit-again]")).hidden = false;
  }

  async _older() {
    const before = this.scroll.scrollHeight - this.scroll.scrollTop;
    this.following = false;
    await this.chat.loadOlderJobs();
    this.render();
    this.scroll.scrollTop = this.scroll.scrollHeight - before;
  }

  _scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroll;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR_END;
    this.latest.hidden = this.following;
  }

  _follow() {
    if (!this.following) return;
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.latest.hidden = true;
  }
}
