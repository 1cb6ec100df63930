import assert from "node:assert/strict";
import { test } from "node:test";

import { blockStarts } from "../../../examples/chat/static/blocks.js";
import { Marked } from "../../../examples/chat/static/vendor/marked/marked.esm.js";
import { seeded } from "./fakes.mjs";

const marked = new Marked({ gfm: true });

const PIECES = [
  "# A heading\n",
  "A paragraph with *emphasis*,\nof two lines.\n",
  "- one\n- two\n",
  "- one\n\n- two, after a blank line\n\n  and its second paragraph\n",
  "1. first\n2. second\n\n3. third\n",
  "10) other\n",
  "```python\nx = 1\n\n\n# not a heading\n```\n",
  "~~~\n```\n\nstill inside\n~~~\n",
  "````\n```\n\n```\n````\n",
  "| a | b |\n|---|--:|\n| 1 | 2 |\n",
  "> a quote\n\n> another\n",
  "    indented code\n\n    more of it\n",
  "---\n",
  "* star\n\n\n* star\n",
  "- item\n\n      code of the item\n",
  "plain",
];

function written(random) {
  let text = "";
  for (let count = 0; count < 12; count += 1) {
    text += PIECES[Math.floor(random() * PIECES.length)] + "\n".repeat(Math.floor(random() * 3));
  }
  return text;
}

test("rendered block by block it is what it is rendered as a whole", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const text = written(seeded(seed));
    const edges = [0, ...blockStarts(text), text.length];
    const parts = edges.slice(1).map((edge, at) => marked.parse(text.slice(edges[at], edge)));
    assert.equal(parts.join(""), marked.parse(text), `seed ${seed}:\n${text}`);
  }
});

test("what was found finished stays so, whatever comes after it", () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const text = written(seeded(seed));
    const whole = blockStarts(text);
    for (let length = 0; length <= text.length; length += 1) {
      const early = blockStarts(text.slice(0, length));
      assert.deepEqual(early, whole.slice(0, early.length), `seed ${seed}, the first ${length}`);
    }
  }
});
