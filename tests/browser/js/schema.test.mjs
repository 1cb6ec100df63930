import assert from "node:assert/strict";
import { test } from "node:test";

import { answerOf, faultIn, fieldsOf, inWords, isPressed } from "../../../examples/chat/static/schema.js";

const CHOICE = {
  type: "object",
  properties: {
    name: { type: "string", title: "Name", maxLength: 100 },
    most: { type: "integer", minimum: 1, maximum: 9, default: 3 },
    most_of: { type: "number" },
    depth: { type: "string", enum: ["brief", "full"], default: "full" },
    go_on: { type: "boolean", default: true },
  },
  required: ["most", "depth"],
};

const only = (schema) => fieldsOf(schema)[0];

test("the properties of an object are fields in its order, with what stands in them at first", () => {
  const fields = fieldsOf(CHOICE);
  assert.deepEqual(fields.map(({ name, kind, label, required, initial }) => [name, kind, label, required, initial]), [
    ["name", "text", "Name", false, ""],
    ["most", "number", "most", true, "3"],
    ["most_of", "number", "most of", false, ""],
    ["depth", "choice", "depth", true, 1],
    ["go_on", "yesno", "go on", false, true],
  ]);
});

test("every schema that a job may ask with has a field, and what is typed there comes back as its value", () => {
  for (const [schema, kind, raw, value] of [
    [{ type: "string" }, "text", " as typed ", " as typed "],
    [{}, "text", "x", "x"],
    [{ type: "integer" }, "number", " 7 ", 7],
    [{ type: "number" }, "number", "-1.5e3", -1500],
    [{ type: "boolean" }, "yesno", false, false],
    [{ type: "null" }, "choice", 0, null],
    [{ enum: [1, "a", null, { b: 2 }] }, "choice", 3, { b: 2 }],
    [{ type: "array", items: { enum: ["a", "b", "c"] } }, "several", [0, 2], ["a", "c"]],
    [{ type: "array", items: { type: "string" } }, "lines", "a\n\n b\n", ["a", " b"]],
    [{ type: "array", items: { type: "integer" } }, "json", "[1, 2]", [1, 2]],
    [{ type: "object" }, "json", '{"a": 1}', { a: 1 }],
    [{ type: "object", properties: {} , enum: [{ a: 1 }] }, "choice", 0, { a: 1 }],
  ]) {
    const fields = fieldsOf(schema);
    assert.deepEqual([fields.length, fields[0].kind, fields[0].name], [1, kind, null], JSON.stringify(schema));
    const { value: got, problems } = answerOf(fields, [raw]);
    assert.deepEqual([got, problems.size], [value, 0], JSON.stringify(schema));
  }
});

test("what is left empty is left out, and told where it is needed", () => {
  const fields = fieldsOf(CHOICE);
  assert.deepEqual(answerOf(fields, ["", "2", "", 0, false]), { value: { most: 2, depth: "brief", go_on: false }, problems: new Map() });
  const { problems } = answerOf(fields, ["x", " ", "many", -1, true]);
  assert.deepEqual([...problems], [[1, "This is needed."], [2, "This is no number."], [3, "This is needed."]]);
  assert.match(answerOf(fieldsOf({ type: "object" }), ["{"]).problems.get(0), /^This is no JSON: /);
  assert.deepEqual(answerOf([only({ type: "string" })], [""]).value, "", "an empty text is an answer where a text is asked for");
});

test("a property of any name is an own property of the answer, and half an emoji harms nobody", () => {
  const fields = fieldsOf({ properties: { __proto__x: { type: "string" }, ["__proto__"]: { type: "string" } } });
  const { value } = answerOf(fields, ["a\ud83d", "b"]);
  assert.equal(JSON.stringify(value), '{"__proto__x":"a\ufffd","__proto__":"b"}');
});

test("the server's word is shown beside the field that it is about", () => {
  const fields = fieldsOf(CHOICE);
  for (const [message, at, text] of [
    ["the answer.most is 12; legal are numbers from 1 up to 9", 1, "This is 12; legal are numbers from 1 up to 9"],
    ["the answer.most_of is \"x\"; legal is a number", 2, "This is \"x\"; legal is a number"],
    ["the answer.name[0] is 0; legal is a string", 0, "This[0] is 0; legal is a string"],
    ["the answer has no 'depth'; legal are objects with most, depth", 3, "This is needed."],
    ["the answer has 'x'; legal are name, most", -1, "the answer has 'x'; legal are name, most"],
    ["the store is down", -1, "the store is down"],
  ]) assert.deepEqual(faultIn(message, fields), { at, text });
  assert.deepEqual(faultIn("the answer is 7; legal is a string", fieldsOf({ type: "string" })), { at: 0, text: "This is 7; legal is a string" });
});

test("a press is the answer where there is nothing but a few options", () => {
  const options = (count) => ({ enum: Array.from({ length: count }, (_, at) => at) });
  assert.deepEqual([{ type: "boolean" }, options(6), options(7), { type: "string" }, { properties: { a: { type: "boolean" } } }]
    .map((schema) => isPressed(fieldsOf(schema))), [true, true, false, false, false]);
});

test("an answer is said in the order and the words of its form", () => {
  const answer = { depth: "full", go_on: false, most: 2, name: "", other_thing: [] };
  assert.equal(inWords(answer, fieldsOf(CHOICE)), "most: 2 · depth: full · go on: no · other thing: none");
  assert.equal(inWords(answer, []), "depth: full · go on: no · most: 2 · other thing: none");
  assert.deepEqual([true, "late", 7, null, ["a", "b"]].map((value) => inWords(value, [])), ["yes", "late", "7", "none", "a, b"]);
});
