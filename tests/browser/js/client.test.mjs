import assert from "node:assert/strict";
import { test } from "node:test";

import { connect } from "../../../transport/browser/trouper.js";
import { Clock, Held, WELCOME, feed, logHash, page, settled, snapshot, sockets } from "./fakes.mjs";

function world(options = {}) {
  const clock = new Clock();
  const net = sockets();
  const scope = page();
  const draws = options.draws ?? [];
  const client = connect({
    url: "ws://host/ws", WebSocket: net.Socket, page: scope, random: () => draws.shift() ?? 0.5, newKey: () => "k1",
    now: clock.now, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout, ...options,
  });
  return { client, clock, net, scope };
}

/** A client that is connected, and whose hello has been heard. */
async function open(options) {
  const made = world(options);
  made.net.latest().greet(snapshot());
  await settled();
  made.net.latest().heard();
  return made;
}

const frame = (from, text, sent) => ({ t: "output", job: "j", attempt: 1, from, to: from + 1, parts: [text], sent });
const rewind = { t: "rewind", job: "j", attempt: 1, keep: 0 };
const end = (...entries) => ({ t: "output.end", job: "j", attempt: 1, entries: entries.length, sha256: logHash(entries), sent: 9999 });

test("it says hello with its token and is open when it was welcomed", async () => {
  const { client, net } = world({ token: "t" });
  assert.deepEqual([client.state, net.latest().protocols], ["connecting", ["trouper.v1"]]);
  net.latest().greet(snapshot(3, { counts: { unseen: 1, unread: 2 } }));
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "hello", visible: true, token: "t" }]);
  const state = client.getSnapshot();
  assert.deepEqual([client.state, state.user, state.epoch, state.seq, state.counts.unread], ["open", "ada", "e1", 3, 2]);
  assert.equal(client.getSnapshot(), state, "the same object until something changes");
  client.close();
});

test("it knows the time of the server, whatever its own clock shows, and is told anew with each beat", async () => {
  const { client, clock, net } = world();
  assert.equal(client.serverTime() * 1000, clock.now(), "its own, as long as nothing is told");
  net.latest().onopen();
  net.latest().say({ ...WELCOME, now: 5000 }, snapshot());
  await settled();
  assert.equal(client.serverTime(), 5000);
  await clock.pass(10_000);
  assert.equal(client.serverTime(), 5010);
  net.latest().say({ t: "beat", now: 6000 });
  assert.equal(client.serverTime(), 6000);
  net.latest().say({ t: "beat" });
  assert.equal(client.serverTime(), 6000, "a server of an earlier version tells none");
  client.close();
});

test("the messages of a job are asked for by its id, behind one that is known", async () => {
  const { client, net } = await open();
  const asked = client.messages("j", { after: 2, limit: 9 });
  await settled();
  const [command] = net.latest().heard();
  assert.deepEqual(command, { t: "messages", id: command.id, job: "j", after: 2, limit: 9 });
  net.latest().say({ t: "reply", id: command.id, ok: { messages: [{ seq: 3, key: "k", message: 1, sender: null, sent_at: 1 }] } });
  assert.deepEqual((await asked).map((each) => each.seq), [3]);
  await assert.rejects(client.messages("j", { after: "2" }), /after is "2"; legal is an integer/);
  client.close();
});

test("between tries it waits a uniform draw from 0 to half a second doubled each time, at most 30 s", async () => {
  const { client, clock, net } = world({ draws: Array(9).fill(0.999) });
  const waits = [];
  for (let count = 0; count < 9; count += 1) {
    net.latest().fail();
    waits.push(Math.round(client.connection.retryAt - clock.now()));
    assert.equal(client.state, "waiting");
    await clock.pass(waits[count] + 1);
  }
  assert.deepEqual(waits, [500, 999, 1998, 3996, 7992, 15984, 29970, 29970, 29970]);
  client.close();
});

test("the failures are forgotten once a connection has lasted ten seconds, not with its welcome", async () => {
  const { client, clock, net } = world({ draws: Array(9).fill(0.999) });
  const waits = [];
  for (const lasts of [0, 0, 9_900, 10_000, 0]) {
    net.latest().greet(snapshot());
    assert.equal(client.connection.failures, 0);
    await clock.pass(lasts);
    net.latest().fail(4002, "the session cannot be served now");
    waits.push(Math.round(client.connection.retryAt - clock.now()));
    await clock.pass(waits.at(-1) + 1);
  }
  assert.deepEqual(waits, [500, 999, 1998, 500, 999]);
  client.close();
  assert.equal(clock.timers.size, 0);
});

test("a socket that opens and is never welcomed, or never opens, is given up", async () => {
  const { client, clock, net } = world();
  await clock.pass(10_000);
  assert.deepEqual([net.opened[0].closedWith, client.state], [4008, "waiting"]);
  client.close();
});

test("silence of 35 s is a dead connection; a beat, answered at once, is not", async () => {
  const { client, clock, net } = await open();
  await clock.pass(25_000);
  net.latest().say({ t: "beat" });
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "beat" }]);
  await clock.pass(24_000);
  client.setCoalesce(100); // what it says itself is no sign of life of the server
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "coalesce", ms: 100 }]);
  await clock.pass(10_000);
  assert.equal(client.state, "open");
  await clock.pass(1_000);
  assert.deepEqual([net.opened[0].closedWith, client.state, client.connection.code], [4008, "waiting", 4008]);
  client.close();
});

test("it comes back at once when the page is looked at or the network returns", async () => {
  const { client, net, scope } = await open({ draws: [0.9, 0.9] });
  scope.document.visibilityState = "hidden";
  scope.document.dispatchEvent(new Event("visibilitychange"));
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "visible", visible: false }]);
  net.latest().fail();
  scope.document.dispatchEvent(new Event("visibilitychange"));
  assert.equal(client.state, "waiting", "nobody looks");
  scope.document.visibilityState = "visible";
  scope.document.dispatchEvent(new Event("visibilitychange"));
  assert.deepEqual([client.state, net.opened.length], ["connecting", 2]);
  net.latest().fail();
  scope.dispatchEvent(new Event("online"));
  assert.deepEqual([client.state, net.opened.length], ["connecting", 3]);
  client.close();
});

test("close codes 45xx end it with the reason, the others do not", async () => {
  for (const [code, state] of [[4501, "closed"], [4503, "closed"], [4504, "closed"], [4001, "waiting"], [4002, "waiting"], [4009, "waiting"], [1006, "waiting"], [1001, "waiting"]]) {
    const { client, net } = await open();
    net.latest().fail(code, "why");
    assert.deepEqual([client.state, client.connection.code, client.connection.reason], [state, code, "why"], `${code}`);
    client.reconnect();
    assert.equal(client.state, "connecting", "a person may always try again");
    client.close();
  }
});

test("a close with 1000 that the client did not ask for is come back from; its own is not", async () => {
  const { client, clock, net } = await open();
  const asked = client.job("j");
  net.latest().fail(1000, "a proxy was stopped");
  assert.deepEqual([client.state, client.connection.reason], ["waiting", "a proxy was stopped"]);
  await clock.pass(500);
  net.latest().greet(feed(0, 0));
  await settled();
  const { id } = net.latest().heard()[1];
  net.latest().say({ t: "reply", id, ok: { job: { id: "j" } } });
  assert.equal((await asked).id, "j");
  client.close();
  net.latest().fail(1000);
  client.reconnect();
  await clock.pass(100_000);
  assert.deepEqual([client.state, net.opened.length], ["closed", 2]);
});

test("a command that was not answered is sent again with the same key; one that was is not", async () => {
  const { client, clock, net } = await open();
  const answered = client.job("j0");
  const submitted = client.submit({ job: "echo", arguments: { text: "hi" }, thread: "t" });
  await settled();
  const [asked, command] = net.latest().heard();
  net.latest().say({ t: "reply", id: asked.id, ok: { job: { id: "j0" } } });
  assert.equal((await answered).id, "j0");
  net.latest().fail();
  await clock.pass(500);
  net.latest().greet(feed(0, 0));
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "hello", visible: true, feed: { epoch: "e1", seq: 0 } }, command]);
  assert.equal(command.key, "k1");
  net.latest().say({ t: "reply", id: command.id, ok: { job: { id: "j1" }, created: false } });
  assert.deepEqual(await submitted, { job: { id: "j1" }, created: false });
  client.close();
});

test("a refusal rejects with its code and whether to try again", async () => {
  const { client, net } = await open();
  const refused = client.submit({ job: "x" });
  await settled();
  const [{ id }] = net.latest().heard();
  net.latest().say({ t: "reply", id, error: { code: "draining", message: "later", retryable: true } });
  await assert.rejects(refused, { name: "TrouperError", code: "draining", message: "later", retryable: true });
  client.close();
});

test("a call that cannot be sent is rejected naming what is legal, and the connection goes on", async () => {
  const { client, net } = await open();
  const loop = {};
  loop.loop = loop;
  let deep = [];
  for (let count = 0; count < 99; count += 1) deep = [deep];
  const ask = (args) => client.submit({ job: "ask", arguments: args });
  const wrong = [
    [() => ask({ q: ["\ud800"] }), /arguments\.q\.0 holds half a surrogate pair; legal is well-formed/],
    [() => ask({ "\udc00": 1 }), /a name in arguments holds half a surrogate pair/],
    [() => ask({ deep }), /nested too deep; legal are 100 levels/],
    [() => ask(null), /arguments is null; legal is an object/],
    [() => ask([]), /arguments is \[\]; legal is an object/],
    [() => ask(new Date(0)), /arguments is "1970.*; legal is an object/],
    [() => ask(loop), /cannot be sent as JSON/],
    [() => ask({ n: 1n }), /cannot be sent as JSON/],
    [() => client.submit({}), /job is undefined; legal is a string/],
    [() => client.submit({ job: "\ud83d" }), /job holds half a surrogate pair/],
    [() => client.submit({ job: "ask", key: 7 }), /key is 7; legal is a string/],
    [() => client.cancel(undefined), /job is undefined; legal is a string/],
    [() => client.cancel(7), /job is 7; legal is a string/],
    [() => client.cancelKey(null), /key is null; legal is a string/],
    [() => client.submit({ job: "ask", delayS: "7" }), /delay_s is "7"; legal is a number/],
    [() => client.submit({ job: "ask", at: Infinity }), /at is Infinity; legal is a number/],
    [() => client.signal("j", undefined), /message is undefined; legal is a JSON value/],
    [() => client.job(null), /job is null; legal is a string/],
    [() => client.mark("seen", { ids: [1] }), /ids is \[1\]; legal is an array of strings/],
    [() => client.mark("seen", { ids: "n1" }), /ids is "n1"; legal is an array of strings/],
    [() => client.mark("seen", { upto: "4" }), /upto is "4"; legal is an integer/],
    [() => client.jobs({ limit: 2.5 }), /limit is 2\.5; legal is an integer/],
    [() => client.jobs({ limit: NaN }), /limit is NaN; legal is an integer/],
    [() => client.jobs({ id: "c9" }), /jobs has no id; legal are thread, before, limit/],
    [() => client.threads({ before: {} }), /before is {}; legal is a string/],
    [() => client.notifications({ before: () => "n1" }), /before is \(\) => "n1"; legal is a string/],
  ];
  for (const [call, message] of wrong) await assert.rejects(call(), { name: "TrouperError", code: "bad_request", message });
  assert.throws(() => client.output(undefined), { code: "bad_request" });
  assert.throws(() => client.output("j", { attempt: 1.5, n: 0 }), { code: "bad_request" });
  await settled();
  assert.deepEqual(net.latest().heard(), []);
  ask({ deep: deep[0] }).catch(() => {});
  await settled();
  assert.equal(net.latest().heard().length, 1, "a hundred levels are legal");
  const right = client.jobs({ thread: null, before: undefined, limit: 2 });
  await settled();
  const [{ id, ...asked }] = net.latest().heard();
  assert.deepEqual(asked, { t: "jobs", limit: 2 }, "what is null or undefined is left out");
  net.latest().say({ t: "reply", id, ok: { jobs: [] } });
  assert.deepEqual(await right, []);
  client.close();
});

test("what a caller does to its arguments later changes no command that is sent again", async () => {
  const { client, clock, net } = await open();
  const args = { list: ["as it was asked"] };
  const asked = client.submit({ job: "ask", arguments: args });
  await settled();
  const [command] = net.latest().heard();
  args.list.push("later");
  net.latest().fail();
  await clock.pass(500);
  net.latest().greet(feed(0, 0));
  await settled();
  assert.deepEqual(net.latest().heard()[1], command);
  client.close();
  await assert.rejects(asked, { code: "closed" });
});

test("an output is read to its verified end over a lost connection", async () => {
  const { client, clock, net } = await open();
  const held = new Held();
  const reading = (async () => {
    for await (const item of client.output("j")) held.take(item);
  })();
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "attach", job: "j", attempt: 0, n: 0 }]);
  net.latest().say(rewind, frame(0, "one ", 4), { t: "progress", job: "j", attempt: 1, done: 1, total: 2, note: null });
  await settled();
  assert.equal(held.text, "one ");
  net.latest().fail();
  await clock.pass(500);
  net.latest().greet(feed(0, 0), frame(1, "two", 3), end("one ", "two"));
  await reading;
  assert.equal(net.latest().heard()[1].n, 1);
  assert.deepEqual([held.text, held.end.verified], ["one two", true]);
  client.close();
});

test("leaving an iterator early detaches; it can be read again from its cursor", async () => {
  const { client, net } = await open();
  const stream = client.output("j");
  net.latest().say(rewind, frame(0, "one", 3));
  for await (const item of stream) if (item.type === "text") break;
  await settled();
  assert.deepEqual(net.latest().heard().at(-1), { t: "detach", job: "j" });
  const again = client.output("j", stream.cursor);
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "attach", job: "j", attempt: 1, n: 1 }]);
  await again.return();
  client.close();
});

test("a consumer that is slow pauses its own output, and resumes it where it stood", async () => {
  const { client, net } = await open({ limits: { queueUnits: 70 } });
  const stream = client.output("j");
  net.latest().say(rewind);
  await settled();
  net.latest().heard();
  net.latest().say(frame(0, "0123456789", 10));
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "detach", job: "j" }]);
  net.latest().say(frame(1, "already under way", 27));
  assert.equal((await stream.next()).value.type, "rewind");
  assert.equal((await stream.next()).value.text, "0123456789");
  await settled();
  assert.deepEqual(net.latest().heard(), [{ t: "attach", job: "j", attempt: 1, n: 1 }]);
  net.latest().say(frame(1, "ab", 29), end("0123456789", "ab"));
  assert.deepEqual([(await stream.next()).value.text, (await stream.next()).value.type, (await stream.next()).done], ["ab", "end", true]);
  client.close();
});

test("tiny items that wait are bounded in number, and are read in order, past progress that is replaced", async () => {
  const { client, net } = await open();
  const stream = client.output("j");
  net.latest().say(rewind);
  const tiny = Array.from({ length: 5000 }, (_, at) => ["e", String(at % 10)]);
  const progress = (done) => ({ t: "progress", job: "j", attempt: 1, done, total: null, note: null });
  for (let at = 0; at < 20; at += 1) {
    const held = { t: "output", job: "j", attempt: 1, from: at * 5000, to: at * 5000 + 5000, parts: tiny, sent: (at + 1) * 10_000 };
    net.latest().say(held, progress(at));
  }
  await settled();
  assert.ok(net.latest().heard().some((item) => item.t === "detach"));
  assert.ok(stream.cursor.n <= 25_000, `${stream.cursor.n} items wait`);
  const read = [];
  const seen = [];
  for (let at = 0; at < 15_000; at += 1) {
    const { value } = await stream.next();
    if (value.type === "event") read.push(value.json);
    else if (value.type === "progress") seen.push(value.done);
  }
  assert.ok(seen.length <= 1);
  assert.ok(read.every((json, at) => json === String(at % 10)));
  await stream.return();
  client.close();
});

test("a listener that subscribes twice is called for the one that has not ended", async () => {
  const { client, net } = await open();
  let calls = 0;
  const listener = () => (calls += 1);
  const first = client.subscribe(listener);
  client.subscribe(listener);
  first();
  net.latest().say({ t: "queue", places: [] });
  assert.equal(calls, 1);
  client.close();
});

test("closing fails what is under way, and stays closed", async () => {
  const { client, clock, net } = await open();
  const asked = client.job("j");
  const read = client.output("j").next();
  client.close();
  await assert.rejects(asked, { code: "closed" });
  await assert.rejects(read, { code: "closed" });
  await assert.rejects(client.job("j"), { code: "closed" });
  assert.equal(net.latest().closedWith, 1000);
  await clock.pass(100_000);
  assert.deepEqual([net.opened.length, clock.timers.size], [1, 0]);
});

test("a message that cannot be read costs the connection and a pause, not the page", async () => {
  const { client, clock, net } = await open();
  const faults = [];
  client.addEventListener("fault", (event) => faults.push(event.detail.code));
  net.latest().onmessage({ data: "{" });
  assert.deepEqual([faults, client.state], [["bad_message"], "waiting"]);
  assert.ok(client.connection.retryAt - clock.now() >= 5000);
  client.close();
});

test("a listener that throws does not keep the others from hearing", async () => {
  const { client, net } = await open();
  const raised = [];
  globalThis.reportError = (error) => raised.push(error.message);
  const heard = [];
  client.subscribe(() => {
    throw new Error("mine");
  });
  client.subscribe((state) => heard.push(state.seq));
  net.latest().say(feed(0, 1));
  assert.deepEqual(heard, [1]);
  assert.deepEqual(raised, ["mine"]);
  client.close();
  delete globalThis.reportError;
});

test("a trace sees each item both ways with its bytes, and what became of the socket", async () => {
  const { client, net } = await open();
  const seen = [];
  const stop = client.trace((entry) => seen.push([entry.direction, entry.item.t, entry.bytes]));
  net.latest().say({ t: "beat", note: "é" });
  await settled();
  client.debugDisconnect(4000);
  assert.deepEqual(seen, [["in", "beat", 24], ["out", "beat", 12], ["note", "closed", 0], ["note", "retry", 0]]);
  stop();
  client.close();
});

test("what is sent at once goes in few messages, each within the bound", async () => {
  const { client, net } = await open();
  const asked = [];
  for (let count = 0; count < 40; count += 1) {
    asked.push(client.submit({ job: "x", key: `k${count}`, arguments: { text: "é".repeat(2000) } }));
  }
  await settled();
  assert.deepEqual([net.latest().received.length, net.latest().messages], [40, 1 + 3]);
  client.close();
  await Promise.allSettled(asked);
});

test("cut on purpose, it stays away for the time that was asked and then comes back", async () => {
  const { client, clock, net } = await open();
  client.debugDisconnect(4000);
  await clock.pass(3999);
  assert.deepEqual([client.state, net.opened.length], ["waiting", 1]);
  await clock.pass(1);
  assert.equal(net.opened.length, 2);
  client.close();
});

test("a store of state like React's takes its two functions as they are", async () => {
  const { client, net } = await open();
  const { subscribe, getSnapshot } = client;
  let changes = 0;
  const unsubscribe = subscribe(() => (changes += 1));
  const before = getSnapshot();
  assert.equal(getSnapshot(), before, "the same object until something changes");
  net.latest().say({ t: "feed", epoch: "e1", prev: 0, seq: 1, jobs: [], notifications: [], counts: { unseen: 1, unread: 1 } });
  await settled();
  assert.deepEqual([changes, getSnapshot().counts.unseen, getSnapshot() === before], [1, 1, false]);
  unsubscribe();
  client.close();
});

test("a message to a job is sent with a key and answered", async () => {
  const { client, net } = await open();
  const answers = [client.signal("j", { stop: [null] }), client.signal("j", null, "mine")];
  await settled();
  const sent = net.latest().heard();
  assert.deepEqual(
    sent.map(({ id, ...item }) => item),
    [
      { t: "signal", job: "j", message: { stop: [null] }, key: "k1" },
      { t: "signal", job: "j", message: null, key: "mine" },
    ],
  );
  net.latest().say(...sent.map(({ id }) => ({ t: "reply", id, ok: { answer: "accepted" } })));
  assert.deepEqual(await Promise.all(answers), [{ answer: "accepted" }, { answer: "accepted" }]);
  client.close();
});

test("an answer to a job's question is sent as it is, null too, and undefined is refused", async () => {
  const { client, net } = await open();
  await assert.rejects(client.answer("j", "k", undefined), /value is undefined; legal is a JSON value/);
  const answers = [client.answer("j", "k", null), client.answer("j", "k", ["late", 2])];
  await settled();
  const sent = net.latest().heard();
  assert.deepEqual(
    sent.map(({ id, ...item }) => item),
    [null, ["late", 2]].map((value) => ({ t: "answer", job: "j", key: "k", value })),
  );
  net.latest().say(...sent.map(({ id }) => ({ t: "reply", id, ok: { answer: "accepted" } })));
  assert.deepEqual(await Promise.all(answers), [{ answer: "accepted" }, { answer: "accepted" }]);
  client.close();
});
