import assert from "node:assert/strict";
import { test } from "node:test";

import { here } from "./fakes.mjs";

const { TrouperError } = await here();

globalThis.document = { visibilityState: "visible" };
const { Chat } = await import("../../../examples/chat/static/chat.js");

const JOB = { id: "j1", name: "ask", thread: "t1", state: "completed", created_at: 1, seq: 1, arguments: {}, result: null };

/** A chat on a client that answers from memory and keeps what it was asked. */
function open({ unread = 0, notifications = [] } = {}) {
  const asked = [];
  const snapshot = { generation: 1, jobs: new Map(), places: new Map(), notifications, counts: { unseen: 0, unread } };
  const fake = {
    subscribe: () => {},
    serverTime: () => 7,
    getSnapshot: () => snapshot,
    async jobs({ thread }) {
      asked.push(["jobs", thread.length]);
      if (thread.length > 200) throw new TrouperError("bad_request", "jobs: thread has 300 characters; legal are 1 to 200");
      return thread === JOB.thread ? [JOB] : [];
    },
    async mark(mark, which) {
      asked.push([mark, which]);
    },
  };
  return { chat: new Chat(fake, { jobs: [] }, () => {}), asked, fake };
}

test("an address that no conversation can have says so, and the next one is shown as ever", async () => {
  const { chat } = open();
  await chat.open("x".repeat(300));
  assert.equal(chat.loading, false);
  assert.match(chat.problem, /cannot be shown: .*legal are 1 to 200/);
  await chat.open("t1");
  assert.equal(chat.problem, "");
  assert.equal(chat.loading, false);
  assert.deepEqual(chat.jobs().map((job) => job.id), ["j1"]);
});

test("a problem of a conversation that was left meanwhile is not told of the next", async () => {
  const { chat } = open();
  await Promise.all([chat.open("x".repeat(300)), chat.open("t1")]);
  assert.equal(chat.problem, "");
});

test("what is opened in a hidden tab is not read until somebody looks", async () => {
  const { chat, asked } = open({ unread: 1 });
  document.visibilityState = "hidden";
  await chat.open("t1");
  assert.deepEqual(asked, [["jobs", 2]]);
  document.visibilityState = "visible";
  await chat.readOpen();
  await chat.readOpen();
  assert.deepEqual(asked.slice(1), [["read", { job: "j1" }]]);
});

test("what is opened in a tab that is seen is read, also what is too old for the feed's list", async () => {
  const { chat, asked } = open({ unread: 1 });
  await chat.open("t1");
  assert.deepEqual(asked, [["jobs", 2], ["read", { job: "j1" }]]);
});

test("a conversation that was left unseen is not read by a look at another", async () => {
  const { chat, asked } = open({ unread: 1 });
  document.visibilityState = "hidden";
  await chat.open("t1");
  await chat.open("t2");
  document.visibilityState = "visible";
  await chat.readOpen();
  assert.deepEqual(asked, [["jobs", 2], ["jobs", 2]]);
});

test("what is sent and not yet answered is stopped by its key, and shows as stopped when it is answered", async () => {
  const { chat, asked, fake } = open();
  chat.config.jobs.push({ name: "ask", argument: "prompt" });
  let answer;
  fake.submit = ({ key }) => {
    asked.push(["submit", key]);
    return new Promise((resolve) => (answer = resolve));
  };
  fake.cancelKey = async (key) => {
    asked.push(["cancelKey", key]);
    return { answer: "accepted", job: null };
  };
  const thread = chat.send("ask", "hi");
  const [sending] = chat.sending;
  await chat.stopSending(sending);
  assert.deepEqual(asked.slice(-2), [["submit", sending.key], ["cancelKey", sending.key]]);
  assert.deepEqual(chat.sending, [sending]);
  answer({ job: { ...JOB, id: "j9", thread, state: "cancelled" }, created: true });
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(chat.sending, []);
  await chat.open(thread);
  assert.deepEqual(chat.jobs().map((job) => [job.id, job.state]), [["j9", "cancelled"]]);
});

test("a job says what holds it up in its conversation, an open question before all", () => {
  const { chat, fake } = open();
  const job = { ...JOB, id: "j2", state: "queued", attempt: 0 };
  const held = (row, places = []) => {
    fake.getSnapshot().jobs.set("j1", { ...JOB, attempt: 1, ...row });
    fake.getSnapshot().places.clear();
    for (const id of places) fake.getSnapshot().places.set(id, 1);
    return chat.held(job);
  };
  const before = "waits for the one before it";
  assert.equal(held({ state: "running" }), before);
  assert.equal(held({ state: "queued", asking: { key: "q" } }), "waits for your answer above");
  assert.equal(held({ state: "queued", asking: null }), before, "it waits for its next attempt");
  assert.equal(held({ state: "queued", attempt: 0 }, ["j1"]), before);
  for (const row of [{ state: "completed" }, { state: "running", thread: "t2" }, { state: "queued", attempt: 0 }]) assert.equal(held(row), "");
  assert.equal(held({ state: "running" }, ["j2"]), "", "who has a place starts next");
});
