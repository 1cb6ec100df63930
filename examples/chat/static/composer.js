/** Where a person says what shall be done. */

import { byId, h, setText } from "./dom.js";

/** Half of a surrogate pair, as an emoji leaves behind that was cut in two: no message can hold it. */
const HALVES = /\p{Surrogate}/gu;

const keyboard = matchMedia("(pointer: fine) and (min-width: 821px)");

export class Composer {
  /** @param {import("./chat.js").Chat} chat @param {(thread: string) => void} sent */
  constructor(chat, sent) {
    this.chat = chat;
    this.sent = sent;
    this.form = byId("composer");
    this.text = byId("composer-text");
    this.picker = byId("job-picker");
    this.button = byId("send");
    for (const job of chat.config.jobs) {
      this.picker.append(h("option", { value: job.name, text: job.label }));
      byId("cards").append(
        h(
          "button",
          { type: "button", class: "card", data: { job: job.name, testid: "card" }, onclick: () => this.pick(job.name) },
          h("strong", { text: job.label }),
          h("span", { text: job.hint ?? "" }),
        ),
      );
    }
    this.picker.addEventListener("change", () => this.pick(this.picker.value));
    this.text.addEventListener("input", () => this._input());
    this.text.addEventListener("keydown", (/** @type {any} */ event) => this._key(event));
    this.form.addEventListener("submit", (/** @type {any} */ event) => {
      event.preventDefault();
      this._send();
    });
    this.pick(this._first(), false);
  }

  /** What is asked first is what one can type into. */
  _first() {
    const { jobs } = this.chat.config;
    return (jobs.find((job) => job.argument) ?? jobs[0])?.name ?? "";
  }

  get job() {
    return this.chat.config.jobs.find((job) => job.name === this.picker.value);
  }

  /** @param {string} name @param {boolean} [focus] */
  pick(name, focus = true) {
    this.picker.value = name;
    for (const card of byId("cards").children) card.setAttribute("aria-pressed", String(card.dataset.job === name));
    const { job } = this;
    const typed = Boolean(job?.argument);
    this.text.hidden = !typed;
    this.form.dataset.typed = String(typed);
    this.text.placeholder = job?.placeholder ?? "Ask something…";
    setText(this.button, typed ? "Send" : `Start ${job?.label?.toLowerCase() ?? ""}`);
    const keys = keyboard.matches ? "Enter sends, Shift+Enter is a new line" : "";
    setText(byId("hint"), typed ? keys : (job?.hint ?? ""));
    this._input();
    if (focus) (typed ? this.text : this.button).focus();
  }

  /** @param {{job: string, text: string}} sending */
  edit(sending) {
    this.pick(sending.job);
    this.text.value = sending.text;
    this._input();
  }

  _input() {
    // One line, growing with what is typed up to a third of the window; the style bounds it.
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
    this.button.disabled = !this.job || (Boolean(this.job.argument) && this.text.value.trim() === "");
  }

  /** @param {any} event */
  _key(event) {
    // While a word is being composed (Japanese, say) Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this._send();
  }

  _send() {
    if (this.button.disabled) return;
    // Sent as the mark for what cannot be read: better than a question that is lost.
    const text = this.job.argument ? this.text.value.replace(HALVES, "\ufffd").trim() : "";
    const thread = this.chat.send(this.job.name, text);
    this.text.value = "";
    this.pick(this.job.argument ? this.job.name : this._first(), keyboard.matches);
    this.sent(thread);
  }
}
