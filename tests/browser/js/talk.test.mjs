import assert from "node:assert/strict";
import { test } from "node:test";

import { here } from "./fakes.mjs";

const { TrouperError } = await here();
const { Talk } = await import("../../../examples/chat/static/talk.js");
const { left } = await import("../../../examples/chat/static/dom.js");
const { outcomeOf } = await import("../../../examples/chat/static/question.js");

/** A row that counts no messages. */
const ROW = { id: "j", messages: 0, messages_read: 0 };

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
  assert.deepEqual(talk.of(ROW, [], false), [{ key: "k1", text: "shorter", status: "sending", note: "" }]);
  await told;
  assert.deepEqual(sent, [["signal", "j", { text: "shorter" }, "k1"]]);
  assert.deepEqual(talk.of(ROW, [], false).map((each) => each.status), ["accepted"]);
  const heard = [{ data: { id: "k1", text: "shorter", reply: "yes" } }, { data: { id: "of another tab", text: "hi", reply: "?" } }];
  assert.deepEqual(talk.of(ROW, heard, false).map(({ key, status, note }) => [key, status, note]), [
    ["k1", "heard", "yes"], ["of another tab", "heard", "?"],
  ]);
  assert.deepEqual(talk.of(ROW, [], true).map((each) => each.status), ["unheard"], "the job has ended without reading it");
});

test("a message that was not taken says why, and is sent again from the field", async () => {
  const { talk } = open([new Error("100 messages are pending"), "already_ended"]);
  await talk.tell("j", "one");
  await talk.tell("j", "two");
  assert.deepEqual(talk.of(ROW, [], false).map(({ status, note }) => [status, note]), [
    ["failed", "100 messages are pending"], ["failed", "the work had ended before"],
  ]);
  talk.forget("j", "k1");
  assert.deepEqual(talk.of(ROW, [], false).map((each) => each.text), ["two"]);
});

test("only the newest messages are remembered", async () => {
  const { talk } = open(Array(60).fill("accepted"));
  for (let count = 1; count <= 60; count += 1) await talk.tell("j", String(count));
  const kept = talk.of(ROW, [], false);
  assert.deepEqual([kept.length, kept[0].text], [50, "11"]);
});

/** A talk whose client lists `stored`, by pages of `most`, and the rows of what was asked. */
function listing(stored, most = 100) {
  const asked = [];
  let changes = 0;
  const client = {
    async messages(job, { after, limit }) {
      asked.push(after);
      if (stored.fault) throw stored.fault;
      return stored.filter((each) => each.seq > after).slice(0, Math.min(most, limit));
    },
  };
  const talk = new Talk(client, () => "k", () => (changes += 1));
  return { talk, asked, changes: () => changes };
}
const message = (seq, text = `m${seq}`) => ({ seq, key: `k${seq}`, message: { text }, sender: "ada", sent_at: 1 });
const settled = () => new Promise((resolve) => setTimeout(resolve));

test("what another device sent, or this one before it was loaded, waits here too, and is read when its row says so", async () => {
  const { talk, asked, changes } = listing([message(2), message(3)]);
  const row = { id: "j", messages: 3, messages_read: 1 };
  assert.deepEqual(talk.of(row, [], false), []);
  assert.deepEqual(talk.of(row, [], false), [], "and is asked for once");
  await settled();
  assert.deepEqual([asked, changes()], [[1], 1]);
  const shown = (row, heard = [], over = false) => talk.of(row, heard, over).map(({ key, status }) => [key, status]);
  assert.deepEqual(shown(row), [["k2", "accepted"], ["k3", "accepted"]]);
  const later = { ...row, messages_read: 2 };
  assert.deepEqual(shown(later), [["k2", "heard"], ["k3", "accepted"]]);
  assert.deepEqual(shown(later, [{ data: { id: "k2", text: "m2", reply: "done" } }]), [["k2", "heard"], ["k3", "accepted"]]);
  assert.deepEqual(shown(later, [], true), [["k2", "heard"], ["k3", "unheard"]]);
  assert.deepEqual(asked, [1], "a row that tells of nothing new asks nothing");
});

test("messages that come are asked for in pages, and those that wait again after a crash", async () => {
  const stored = [message(1), message(2), message(3)];
  const { talk, asked } = listing(stored, 2);
  talk.of({ id: "j", messages: 3, messages_read: 2 }, [], false);
  await settled();
  const again = { id: "j", messages: 3, messages_read: 0 };
  talk.of(again, [], false);
  await settled();
  assert.deepEqual(asked, [2, 0, 2]);
  stored.push(message(4));
  talk.of({ ...again, messages: 4 }, [], false);
  await settled();
  assert.deepEqual(talk.of({ ...again, messages: 4 }, [], false).map((each) => each.text), ["m1", "m2", "m3", "m4"]);
});

test("a message of this tab is shown once, and a program's as it is", async () => {
  const { talk } = listing([{ ...message(1), key: "k" }, { ...message(2), message: "plain" }, { ...message(3), message: { n: 1 } }]);
  talk.client.signal = async () => ({ answer: "accepted" });
  const row = { id: "j", messages: 3, messages_read: 0 };
  await talk.tell("j", "m1");
  talk.of(row, [], false);
  await settled();
  assert.deepEqual(talk.of(row, [], false).map((each) => each.text), ["m1", "plain", '{"n":1}']);
});

test("what the server cannot tell is not asked for again and again", async () => {
  const stored = Object.assign([message(1)], { fault: new TrouperError("unknown", "there is no such job") });
  const { talk, asked } = listing(stored);
  const row = { id: "j", messages: 1, messages_read: 0 };
  for (let count = 0; count < 3; count += 1) {
    assert.deepEqual(talk.of(row, [], false), []);
    await settled();
  }
  assert.deepEqual(asked, [0]);
  stored.fault = null;
  talk.of({ ...row, messages: 2 }, [], false);
  await settled();
  assert.deepEqual(talk.of({ ...row, messages: 2 }, [], false).map((each) => each.text), ["m1"]);
});

test("the time left is told in whole units, and what is late by a second begins with no more than there is", () => {
  for (const [seconds, text] of [
    [0.2, "1 s"], [90, "90 s"], [91, "2 min"], [840, "14 min"], [899, "15 min"], [900.4, "15 min"], [7200.5, "2 h"], [2 * 86_400 + 1, "2 days"],
  ]) assert.equal(left(seconds), text);
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
