/** What is said to a job while it runs, and what it has read of it. */

import { active } from "./chat.js";
import { announce, h, reconcile, setText } from "./dom.js";

const NOTES = {
  sending: "sending…",
  accepted: "waits to be read before the next part",
  unheard: "not read: the work had ended",
  heard: "read",
  failed: "not sent",
};

export class SteerView {
  /** @param {import("./talk.js").Talk} talk @param {string} job @param {string} label @param {string[]} suggestions */
  constructor(talk, job, label, suggestions) {
    this.talk = talk;
    this.job = job;
    /** What has been announced. @type {Map<string, string>} */
    this.told = new Map();
    this.list = h("ol", { class: "said", "aria-label": `Said to the ${label.toLowerCase()}`, hidden: true });
    this.input = h("input", {
      type: "text", autocomplete: "off", enterkeyhint: "send", maxlength: 500, "aria-label": `Tell the ${label.toLowerCase()} something`,
      placeholder: `Tell the ${label.toLowerCase()} something`, data: { testid: "tell" },
    });
    this.input.value = talk.drafts.get(this.draft) ?? "";
    this.input.addEventListener("input", () => talk.drafts.set(this.draft, this.input.value));
    this.form = h(
      "form",
      { class: "steer", hidden: true },
      h("div", { class: "row" }, this.input, h("button", { data: { testid: "tell-send" } }, "Tell")),
      h("div", { class: "suggestions" }, ...suggestions.map((text) =>
        h("button", { type: "button", class: "quiet", data: { testid: "suggestion" }, onclick: () => this._tell(text) }, text))),
    );
    this.form.addEventListener("submit", (/** @type {any} */ event) => {
      event.preventDefault();
      const text = this.input.value.replace(/\p{Surrogate}/gu, "\ufffd").trim();
      if (text === "" || this.form.dataset.over === "true") return;
      this.input.value = "";
      talk.drafts.delete(this.draft);
      this._tell(text);
    });
    this.element = h("div", { class: "talk" }, this.list, this.form);
  }

  get draft() {
    return `tell ${this.job}`;
  }

  /** @param {string} text */
  _tell(text) {
    this.talk.tell(this.job, text);
  }

  /** @param {boolean} listens It reads what it is told. @param {any} job Its row. @param {any[]} heard Its `heard` events. */
  update(listens, job, heard) {
    const over = !active(job);
    // Whoever is typing keeps what was typed, also when the work ends meanwhile: it can be copied.
    this.form.hidden = !listens && (over ? this.input.value === "" : true);
    this.form.dataset.over = String(over);
    const said = this.talk.of(job, heard, over);
    this.list.hidden = said.length === 0;
    reconcile(
      this.list,
      said,
      (each) => each.key,
      (each) =>
        h(
          "li",
          { data: { testid: "said", key: each.key } },
          h("span", { class: "asked", text: each.text }),
          h("span", { class: "hint" }),
          h("button", { type: "button", class: "quiet", hidden: true, data: { testid: "say-again" }, onclick: () => this._again(each) }, "Edit and send again"),
        ),
      (item, each) => {
        const [, note, again] = item.children;
        const text = each.note ? `${NOTES[each.status]}: ${each.note}` : NOTES[each.status];
        setText(note, text);
        item.dataset.status = each.status;
        again.hidden = each.status !== "failed" || over;
        this._announce(each, text);
      },
    );
  }

  /** Those who do not look hear of what they said themselves. @param {any} said @param {string} text */
  _announce({ key, text, status }, note) {
    const before = this.told.get(key);
    this.told.set(key, status);
    if (before !== undefined && before !== status) announce(`“${text}”: ${note}`);
  }

  /** @param {any} said */
  _again({ key, text }) {
    this.talk.forget(this.job, key);
    this.input.value = text;
    this.input.focus();
  }
}
