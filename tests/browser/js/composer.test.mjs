import assert from "node:assert/strict";
import { test } from "node:test";

/** As much of an element as the composer touches. */
class Element extends EventTarget {
  constructor() {
    super();
    Object.assign(this, { value: "", style: {}, dataset: {}, children: [], hidden: false, disabled: false, textContent: "" });
  }

  append(...children) {
    this.children.push(...children);
  }

  setAttribute() {}

  focus() {}
}

const elements = new Map();
globalThis.matchMedia = () => ({ matches: false });
globalThis.document = {
  createElement: () => new Element(),
  getElementById: (id) => elements.get(id) ?? elements.set(id, new Element()).get(id),
};
const { Composer } = await import("../../../examples/chat/static/composer.js");

test("an emoji that was cut in two is sent as the mark for what cannot be read, and the rest with it", () => {
  const sent = [];
  const chat = { config: { jobs: [{ name: "ask", label: "Ask", argument: "question" }] }, send: (job, text) => sent.push([job, text]) };
  const composer = new Composer(chat, () => {});
  composer.text.value = " why \ud83d and \u{1f600}?\udc4b ";
  composer.text.dispatchEvent(new Event("input"));
  composer.form.dispatchEvent(new Event("submit"));
  assert.deepEqual(sent, [["ask", "why \ufffd and \u{1f600}?\ufffd"]]);
});
