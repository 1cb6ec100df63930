/** One field of a question's form: made from what `schema.js` says of it, read, and told what is wrong. */

import { h, setText } from "./dom.js";

let made = 0;

export class FieldView {
  /** @param {import("./schema.js").Field} field @param {any} raw What is in it at first. */
  constructor(field, raw) {
    this.field = field;
    this.id = `field-${(made += 1)}`;
    this.fault = h("p", { class: "fault", id: `${this.id}-fault`, data: { testid: "fault" }, hidden: true });
    const hint = field.description || (field.kind === "lines" ? "One on each line." : field.kind === "json" ? "As JSON." : "");
    this.hint = h("p", { class: "hint", id: `${this.id}-hint`, text: hint, hidden: hint === "" });
    /** What is focused, and told whether it is wrong. @type {any} */
    this.control = null;
    /** @type {() => any} */
    this.read = () => undefined;
    this.element = h("div", { class: "field", data: { testid: "field", name: field.name ?? "", kind: field.kind } }, ...this._content(raw), this.hint, this.fault);
    this._describe();
  }

  /** @param {any} raw @returns {any[]} */
  _content(raw) {
    const { field } = this;
    if (field.kind === "yesno") return this._tick(raw);
    if (field.kind === "several" || (field.kind === "choice" && field.options.length <= 4)) return this._options(raw);
    if (field.kind === "choice") return this._select(raw);
    return this._text(raw);
  }

  /** @param {any} control */
  _labelled(control) {
    this.control = control;
    control.id = this.id;
    return h("label", { for: this.id, text: this._label() });
  }

  _label() {
    const { label, required, name } = this.field;
    return required || name === null || this.field.kind === "yesno" || this.field.description ? label : `${label} (may be left out)`;
  }

  /** @param {string} raw */
  _text(raw) {
    const { field } = this;
    const control = field.multiline
      ? h("textarea", { rows: 3, class: field.kind === "json" ? "code" : null })
      : h("input", { type: "text", autocomplete: "off" });
    // Not type="number", which has no text to give back where it is not one.
    if (field.kind === "number") control.setAttribute("inputmode", field.schema.type === "integer" ? "numeric" : "decimal");
    control.value = raw;
    this.read = () => control.value;
    return [this._labelled(control), control];
  }

  /** @param {boolean} raw */
  _tick(raw) {
    const control = h("input", { type: "checkbox" });
    control.checked = raw;
    this.read = () => control.checked;
    const label = this._labelled(control);
    label.prepend(control);
    return [label];
  }

  /** @param {number} raw */
  _select(raw) {
    const control = h("select", {}, h("option", { value: "-1", text: "Choose…" }));
    this.field.options.forEach((option, at) => control.append(h("option", { value: at, text: option.text })));
    control.value = String(raw);
    this.read = () => Number(control.value);
    return [this._labelled(control), control];
  }

  /** Few options are all seen at once. @param {any} raw */
  _options(raw) {
    const { field } = this;
    const type = field.kind === "several" ? "checkbox" : "radio";
    const inputs = field.options.map((_, at) => {
      const input = h("input", { type, name: this.id, value: at });
      input.checked = type === "radio" ? raw === at : raw.includes(at);
      return input;
    });
    const ticked = () => inputs.flatMap((input, at) => (input.checked ? [at] : []));
    this.read = () => (type === "radio" ? (ticked()[0] ?? -1) : ticked());
    this.control = inputs[0];
    this.group = h(
      "fieldset",
      { id: this.id },
      h("legend", { text: this._label() }),
      h("div", { class: "options" }, ...inputs.map((input, at) => h("label", { class: "option" }, input, h("span", { text: field.options[at].text })))),
    );
    return [this.group];
  }

  _describe() {
    const ids = [!this.hint.hidden && this.hint.id, !this.fault.hidden && this.fault.id].filter(Boolean).join(" ");
    const described = this.group ?? this.control;
    if (ids) described.setAttribute("aria-describedby", ids);
    else described.removeAttribute("aria-describedby");
  }

  /** @param {string} text "" if nothing is wrong. */
  blame(text) {
    setText(this.fault, text);
    this.fault.hidden = text === "";
    this.element.dataset.wrong = String(text !== "");
    if (text) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
    this._describe();
  }

  focus() {
    this.control.focus();
  }
}
