import assert from "node:assert/strict";
import { test } from "node:test";

import { Talk } from "../../../examples/chat/static/talk.js";
import { outcomeOf } from "../../../examples/chat/static/question.js";

/** What people say, over a client whose answers are given. */
function open(answers) {
  const sent = [];
  const reply = async (...call) => {
    sent.push(call);
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return { answer };
  };
  let keys = 0;
  const client = { answer: (...call) => reply("answer", ...call), signal: (...call) => reply("signal", ...call) };
  return { talk: new Talk(client, () => `k${(keys += 1)}`, () => {}), sent };
}

test("an answer is taken, refused with the reason, or comes too late", async () => {
  const { talk, sent } = open(["accepted", new Error("the answer is 7"), "already_answered", "not_asked", "already_ended", "unknown"]);
  const results = [];
  for (let count = 0; count < 6; count += 1) results.push(await talk.answer("j", "q", count));
  assert.deepEqual(sent[0], ["answer", "j", "q", 0]);
  assert.deepEqual(results, [
    null,
    { refused: "the answer is 7" },
    { lost: "Your answer came after another" },
    { lost: "Your answer came too late" },
    { lost: "Your answer came after the end" },
    { lost: "Your answer came to work that is gone" },
  ]);
});

test("a message is accepted first, and read when the job tells so", async () => {
  const { talk, sent } = open(["accepted"]);
  const told = talk.tell("j", "shorter");
  assert.deepEqual(talk.of("j", [], false), [{ key: "k1", text: "shorter", status: "sending", note: "" }]);
  await told;
  assert.deepEqual(sent, [["signal", "j", { text: "shorter" }, "k1"]]);
  assert.deepEqual(talk.of("j", [], false).map((each) => each.status), ["accepted"]);
  const heard = [{ data: { id: "k1", text: "shorter", reply: "yes" } }, { data: { id: "of another tab", text: "hi", reply: "?" } }];
  assert.deepEqual(talk.of("j", heard, false).map(({ key, status, note }) => [key, status, note]), [
    ["k1", "heard", "yes"], ["of another tab", "heard", "?"],
  ]);
  assert.deepEqual(talk.of("j", [], true).map((each) => each.status), ["unheard"], "the job has ended without reading it");
});

test("a message that was not taken says why, and is sent again from the field", async () => {
  const { talk } = open([new Error("100 messages are pending"), "already_ended"]);
  await talk.tell("j", "one");
  await talk.tell("j", "two");
  assert.deepEqual(talk.of("j", [], false).map(({ status, note }) => [status, note]), [
    ["failed", "100 messages are pending"], ["failed", "the work had ended before"],
  ]);
  talk.forget("j", "k1");
  assert.deepEqual(talk.of("j", [], false).map((each) => each.text), ["two"]);
});

test("only the newest messages are remembered", async () => {
  const { talk } = open(Array(60).fill("accepted"));
  for (let count = 1; count <= 60; count += 1) await talk.tell("j", String(count));
  const kept = talk.of("j", [], false);
  assert.deepEqual([kept.length, kept[0].text], [50, "11"]);
});

const KNOWN = { mine: null, event: null, job: { ended_at: null }, question: { expires_at: 100 }, fields: [], now: 50 };

test("what became of a question is said plainly, whoever answered and whatever happened", () => {
  const event = (answer) => ({ key: "q", answer });
  const lost = { words: "late", lost: "Your answer came after another" };
  for (const [known, text] of [
    [{ mine: { words: "late", lost: "" } }, "You answered: late"],
    [{ event: event("early") }, "Answered elsewhere: early"],
    [{ event: event("early"), question: null }, "Answered: early"],
    [{ event: event("early"), mine: lost }, "Answered elsewhere: early. Your answer came after another, and was not taken: late"],
    [{ event: event(null) }, "No answer came in time: it went on without one."],
    [{ now: 100 }, "No answer came in time: it goes on without one."],
    [{ now: 100, question: { expires_at: null } }, "Answered elsewhere."],
    [{ job: { ended_at: 60, state: "cancelled" } }, "Stopped before there was an answer."],
    [{ job: { ended_at: 60, state: "failed" } }, "It ended before there was an answer."],
    [{}, "Answered elsewhere."],
  ]) assert.equal(outcomeOf({ ...KNOWN, ...known }), text);
});
