import assert from "node:assert/strict";
import { test } from "node:test";

import { ClientCore, holderOf } from "../../../transport/browser/trouper.js";
import { Held, feed, joined, logHash, seeded, snapshot, WELCOME } from "./fakes.mjs";

/** A core that has been greeted, with nothing left to send. */
function greeted(core = new ClientCore()) {
  core.opened();
  core.receive([WELCOME, snapshot()]);
  core.out = [];
  core.effects = [];
  return core;
}

/** How many random histories the model is held to; a soak sets more. */
const SEEDS = Number(process.env.TROUPER_SOAK ?? 300);

const given = (core) => core.effects.splice(0).filter((effect) => effect.type === "output").map((effect) => effect.item ?? effect.error);

/**
 * A server's side of one output over many attempts, with the connection between: what it has sent is
 * under way until it is delivered, and a cut loses it.
 */
class ModelServer {
  constructor(random) {
    this.random = random;
    this.attempt = 1;
    this.keeps = [0];
    this.log = [];
    this.saved = 0;
    this.history = [[], []]; // history[a]: the log of attempt a as it became
    this.ended = false;
    this.under = [];
    this.cursor = null;
    this.sent = 0;
    this.made = 0;
  }

  produce() {
    if (this.ended) return;
    const entry = this.random() < 0.2 ? ["place", JSON.stringify({ n: this.made })] : ["a", "é", "😀", "words and ", `${this.made}\n`][this.made % 5];
    this.made += 1;
    this.log.push(entry);
    this.history[this.attempt] = [...this.log];
    if (this.random() < 0.1) this.saved = this.log.length;
  }

  retry() {
    if (this.ended) return;
    this.log = this.log.slice(0, this.saved);
    this.attempt += 1;
    this.keeps.push(this.saved);
    this.history[this.attempt] = [...this.log];
  }

  /** The database comes from a backup: an earlier attempt, or less of its log (never less than was kept). */
  restore() {
    if (this.ended) return;
    this.attempt = Math.max(1, this.attempt - Math.floor(this.random() * 3));
    this.keeps.length = this.attempt;
    const log = this.history[this.attempt];
    const keep = this.keeps[this.attempt - 1];
    this.log = log.slice(0, keep + Math.floor(this.random() * (log.length - keep + 1)));
    this.saved = Math.min(this.saved, this.log.length);
    this.history = [...this.history.slice(0, this.attempt), [...this.log]];
    this.cut();
  }

  cut() {
    this.under = [];
    this.cursor = null;
    this.sent = 0;
  }

  read(items) {
    for (const item of items) {
      if (item.t === "attach") this.cursor = { attempt: item.attempt, n: item.n };
      if (item.t === "detach") this.cursor = null;
    }
  }

  /** What is due to the cursor goes under way. */
  flush() {
    if (!this.cursor) return;
    if (this.cursor.attempt !== this.attempt || this.cursor.n > this.log.length) {
      const known = this.cursor.attempt <= this.attempt && this.cursor.n <= (this.history[this.cursor.attempt] ?? []).length;
      const keep = known ? Math.min(this.cursor.n, ...this.keeps.slice(this.cursor.attempt)) : 0;
      this.cursor = null;
      this.under.push([{ t: "rewind", job: "j", attempt: this.attempt, keep }]);
      return;
    }
    if (this.cursor.n < this.log.length) {
      let to = this.cursor.n + 1 + Math.floor(this.random() * (this.log.length - this.cursor.n));
      if (this.cursor.n < this.saved && to > this.saved && this.random() < 0.8) to = this.saved;
      const entries = this.log.slice(this.cursor.n, to);
      this.sent += entries.join("").length;
      this.under.push([
        { t: "output", job: "j", attempt: this.attempt, from: this.cursor.n, to, parts: joined(entries), sent: this.sent },
      ]);
      if (this.random() < 0.05) this.under.push(this.under[this.under.length - 1]); // a duplicate
      this.cursor.n = to;
    } else if (this.ended) {
      this.cursor = null;
      this.sent += 64;
      const [entries, sha256] = [this.log.length, logHash(this.log)];
      this.under.push([{ t: "output.end", job: "j", attempt: this.attempt, entries, sha256, sent: this.sent }]);
    }
  }
}

test("under any cuts, duplicates, pauses, rewinds and backups, what is held is a prefix of the attempt's log, and the end verifies", () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const random = seeded(seed);
    const server = new ModelServer(random);
    const core = greeted();
    const held = new Held();
    const log = core.attach("j");
    log.maxBounds = 8; // so that bounds are thinned out too
    let ofALostPast = false; // it may hold what a backup never had, and nobody could tell it yet
    const step = () => {
      const roll = random();
      if (roll < 0.35) server.produce();
      else if (roll < 0.6) server.flush();
      else if (roll < 0.62) server.retry();
      else if (roll < 0.64) {
        if (roll < 0.625) {
          server.restore();
          ofALostPast ||= log.n > (server.history[log.attempt] ?? []).length;
        }
        server.cut();
        core.lost();
        core.opened();
        server.read(core.out.splice(0));
      } else if (roll < 0.66) core.pause("j");
      else if (roll < 0.7) core.resume("j");
      else if (server.under.length) core.receive(server.under.shift());
      if (random() < 0.7) server.read(core.out.splice(0)); // else what it says is under way, too
      for (const item of given(core)) held.take(item);
      if (log.n === 0) ofALostPast = false;
      if (ofALostPast) return;
      const truth = logHash((server.history[log.attempt] ?? []).slice(0, log.n));
      assert.equal(held.hash, truth, `seed ${seed}: not the first ${log.n} entries of attempt ${log.attempt}`);
    };
    for (let count = 0; count < 300; count += 1) step();
    server.ended = true;
    core.resume("j");
    for (let count = 0; count < 3000 && !held.end; count += 1) step();
    assert.ok(held.end, `seed ${seed}: the end never came`);
    assert.equal(held.end.verified, true);
    assert.equal(held.end.entries, server.log.length);
  }
});

test("a duplicate and a frame of an older attempt are passed over; a gap is a fault that attaches again", () => {
  const core = greeted();
  core.attach("j", { attempt: 2, n: 0 });
  core.out = [];
  const frame = (attempt, from, to, sent) => ({ t: "output", job: "j", attempt, from, to, parts: ["x".repeat(to - from)], sent });
  core.receive([frame(2, 0, 2, 2), frame(2, 0, 2, 4), frame(1, 2, 3, 5)]);
  assert.deepEqual(given(core).map((item) => item.text), ["xx"]);
  assert.deepEqual(core.out, []);
  core.receive([frame(2, 4, 5, 6)]);
  assert.deepEqual(core.out, [{ t: "attach", job: "j", attempt: 2, n: 2 }]);
  core.out = [];
  core.receive([frame(2, 5, 6, 7)]); // sent before the server read that attach
  assert.deepEqual(core.out, []);
  core.receive([frame(2, 2, 6, 11)]);
  assert.deepEqual(given(core).map((item) => item.text), ["xxxx"]);
});

test("a frame that overlaps the cursor gives nothing and has the output attached again there, once", () => {
  const core = greeted();
  core.attach("j", { attempt: 1, n: 0 });
  const frame = (from, text, sent) => ({ t: "output", job: "j", attempt: 1, from, to: from + text.length, parts: [text], sent });
  core.receive([frame(0, "ab", 2)]);
  core.out = [];
  core.receive([frame(1, "bcd", 5)]);
  assert.deepEqual(core.out, [{ t: "attach", job: "j", attempt: 1, n: 2 }]);
  core.out = [];
  core.receive([frame(1, "bcd", 8), frame(2, "cd", 10), frame(1, "b", 11)]); // the last is all held already
  assert.deepEqual([given(core).map((item) => item.text), core.out], [["ab", "cd"], []]);
  core.receive([{ t: "output.end", job: "j", attempt: 1, entries: 4, sha256: logHash(["abcd"]), sent: 75 }]);
  assert.equal(given(core).at(-1).verified, true);
});

test("a rewind drops the frames that reach beyond what is kept, and says how much stays", () => {
  const core = greeted();
  core.attach("j", { attempt: 1, n: 0 });
  core.receive([
    { t: "output", job: "j", attempt: 1, from: 0, to: 2, parts: ["ab"], sent: 2 },
    { t: "output", job: "j", attempt: 1, from: 2, to: 5, parts: ["c", ["e", "{}"], "d"], sent: 7 },
  ]);
  core.out = [];
  core.effects = [];
  core.receive([{ t: "rewind", job: "j", attempt: 3, keep: 4 }]);
  assert.deepEqual(given(core), [{ type: "rewind", attempt: 3, keep: 2, items: 1, length: 2 }]);
  assert.deepEqual(core.out, [{ t: "attach", job: "j", attempt: 3, n: 2 }]);
  core.out = [];
  core.receive([{ t: "output", job: "j", attempt: 3, from: 2, to: 3, parts: ["C"], sent: 8 }]);
  given(core);
  core.receive([{ t: "rewind", job: "j", attempt: 2, keep: 0 }]);
  assert.deepEqual([given(core), core.out], [[], []], "a rewind of an older attempt is ignored");
});

test("a rewind of an older attempt that answers an attach is obeyed, and nothing stays", () => {
  const core = greeted();
  core.attach("j", { attempt: 9, n: 0 });
  core.receive([{ t: "output", job: "j", attempt: 9, from: 0, to: 3, parts: ["abc"], sent: 3 }]);
  core.lost();
  core.opened();
  core.out = [];
  core.effects = [];
  core.receive([WELCOME, snapshot(), { t: "rewind", job: "j", attempt: 1, keep: 3 }]); // it is a backup's log now
  assert.deepEqual(given(core), [{ type: "rewind", attempt: 1, keep: 0, items: 0, length: 0 }]);
  assert.deepEqual(core.out, [{ t: "attach", job: "j", attempt: 1, n: 0 }]);
  core.receive([
    { t: "output", job: "j", attempt: 1, from: 0, to: 1, parts: ["x"], sent: 1 },
    { t: "output.end", job: "j", attempt: 1, entries: 1, sha256: logHash(["x"]), sent: 65 },
  ]);
  assert.deepEqual(given(core).map((item) => item.text ?? item.verified), ["x", true]);
});

test("a hash that does not match is read again once from the beginning, then reported", () => {
  const core = greeted();
  core.attach("j", { attempt: 1, n: 0 });
  core.out = [];
  const wrong = [
    { t: "output", job: "j", attempt: 1, from: 0, to: 1, parts: ["x"], sent: 1 },
    { t: "output.end", job: "j", attempt: 1, entries: 1, sha256: logHash(["y"]), sent: 65 },
  ];
  core.receive(wrong);
  assert.deepEqual(given(core).at(-1), { type: "rewind", attempt: 0, keep: 0, items: 0, length: 0 });
  assert.deepEqual(core.out.splice(0)[0], { t: "attach", job: "j", attempt: 0, n: 0 });
  core.receive([{ t: "rewind", job: "j", attempt: 1, keep: 0 }]);
  core.receive(wrong);
  assert.equal(given(core).at(-1).code, "corrupt");
  assert.equal(core.outputs.size, 0);
});

test("who began beyond entry 0 does not verify, until a rewind takes it back there", () => {
  const core = greeted();
  core.attach("j", { attempt: 1, n: 3 });
  core.receive([{ t: "output.end", job: "j", attempt: 1, entries: 3, sha256: "?", sent: 64 }]);
  assert.equal(given(core).at(-1).verified, false);
  core.attach("k", { attempt: 1, n: 3 });
  core.receive([
    { t: "rewind", job: "k", attempt: 2, keep: 2 },
    { t: "output", job: "k", attempt: 2, from: 0, to: 1, parts: ["x"], sent: 65 },
    { t: "output.end", job: "k", attempt: 2, entries: 1, sha256: logHash(["x"]), sent: 129 },
  ]);
  assert.deepEqual(given(core).map((item) => [item.type, item.keep ?? item.verified]), [["rewind", 0], ["text", undefined], ["end", true]]);
});

test("an event whose JSON JavaScript cannot read stops nothing and is hashed as it came", () => {
  const core = greeted();
  core.attach("j", { attempt: 1, n: 0 });
  const entry = ["odd", "NaN"];
  core.receive([
    { t: "output", job: "j", attempt: 1, from: 0, to: 1, parts: [entry], sent: 6 },
    { t: "output.end", job: "j", attempt: 1, entries: 1, sha256: logHash([entry]), sent: 70 },
  ]);
  const [event, end] = given(core);
  assert.deepEqual([event.data, event.json, end.verified], [null, "NaN", true]);
});

test("a feed that does not follow is answered by one resync, and nothing is applied until it is answered", () => {
  const core = greeted();
  core.receive([feed(3, 4, { counts: { unseen: 9, unread: 9 } }), feed(4, 5)]);
  assert.deepEqual(core.out, [{ t: "resync", feed: { epoch: "e1", seq: 0 } }]);
  assert.equal(core.feed.counts.unread, 0);
  core.receive([feed(0, 5, { counts: { unseen: 1, unread: 2 } })]);
  assert.deepEqual([core.feed.seq, core.feed.counts.unread, core.feed.resyncing], [5, 2, false]);
});

test("a resync of a client that holds nothing has no cursor", () => {
  const core = new ClientCore();
  core.opened();
  core.out = [];
  core.receive([WELCOME, feed(3, 4), feed(4, 5)]);
  assert.deepEqual(core.out, [{ t: "resync", feed: null }]);
  core.receive([snapshot(5), feed(5, 6)]);
  assert.deepEqual(core.feed.cursor, { epoch: "e1", seq: 6 });
});

test("of two versions of a row the one with the larger seq stays", () => {
  const core = greeted();
  core.receive([feed(0, 2, { jobs: [{ id: "j", state: "completed", seq: 2 }] })]);
  const before = core.feed.jobs;
  core.receive([feed(2, 3, { jobs: [{ id: "j", state: "running", seq: 1 }] })]);
  assert.equal(core.feed.jobs.get("j").state, "completed");
  assert.notEqual(core.feed.jobs, before, "a state that was given out is not changed afterwards");
});

test("another epoch voids every cursor, those of outputs too", () => {
  const core = greeted();
  core.attach("j", { attempt: 1, n: 0 });
  core.receive([{ t: "output", job: "j", attempt: 1, from: 0, to: 1, parts: ["x"], sent: 1 }]);
  core.lost();
  core.opened();
  assert.deepEqual(core.out, [
    { t: "hello", visible: true, feed: { epoch: "e1", seq: 0 } },
    { t: "attach", job: "j", attempt: 1, n: 1 },
  ]);
  core.out = [];
  core.effects = [];
  core.receive([{ ...WELCOME, epoch: "e2" }, { ...snapshot(7), epoch: "e2" }]);
  assert.deepEqual(given(core), [{ type: "rewind", attempt: 0, keep: 0, items: 0, length: 0 }]);
  assert.deepEqual(core.out, [{ t: "attach", job: "j", attempt: 0, n: 0 }]);
  assert.deepEqual(core.feed.cursor, { epoch: "e2", seq: 7 });
});

test("each notification is news once, over snapshots and marks, and those of the first snapshot are not", () => {
  const row = (id, seq, more = {}) => ({ id, job: "j", created_at: seq, seen: false, read: false, archived: false, seq, ...more });
  const core = new ClientCore();
  core.opened();
  const news = () => core.effects.splice(0).filter((effect) => effect.type === "feed").flatMap((effect) => effect.fresh.map(({ id }) => id));
  core.receive([WELCOME, snapshot(1, { notifications: [row("n1", 1)] })]);
  assert.deepEqual(news(), []);
  core.receive([feed(1, 2, { notifications: [row("n2", 2)] }), feed(2, 3, { notifications: [row("n2", 3, { seen: true })] })]);
  assert.deepEqual(news(), ["n2"]);
  core.receive([snapshot(9, { notifications: [row("n1", 1), row("n2", 3), row("n3", 8)] })]);
  assert.deepEqual(news(), ["n3"]);
  assert.deepEqual(core.feed.notifications.map(({ id }) => id), ["n3", "n2", "n1"]);
  core.receive([feed(9, 10, { notifications: [row("n2", 10, { archived: true })] })]);
  assert.deepEqual(core.feed.notifications.map(({ id }) => id), ["n3", "n1"]);
});

test("acks go at half a window, at an end and when a notification came, one for a message", () => {
  const core = greeted();
  core.receive([{ ...WELCOME, window: 100 }]);
  core.attach("j", { attempt: 1, n: 0 });
  core.out = [];
  const frame = (from, sent) => ({ t: "output", job: "j", attempt: 1, from, to: from + 1, parts: ["x"], sent });
  core.receive([frame(0, 49)]);
  assert.deepEqual(core.out, []);
  core.receive([frame(1, 50)]);
  assert.deepEqual(core.out.splice(0), [{ t: "ack", sent: 50, feed: 0 }]);
  core.receive([{ ...frame(7, 100), job: "unknown here" }]);
  assert.deepEqual(core.out.splice(0), [{ t: "ack", sent: 100, feed: 0 }], "what is passed over leaves the window, too");
  const row = { id: "n", job: "j", created_at: 1, seen: false, read: false, archived: false, seq: 1 };
  core.receive([
    feed(0, 1, { notifications: [row] }),
    { t: "output.end", job: "j", attempt: 1, entries: 2, sha256: logHash(["xx"]), sent: 164 },
  ]);
  assert.deepEqual(core.out.splice(0), [{ t: "ack", sent: 164, feed: 1 }]);
});

test("a beat is answered, an unknown item passed over, an error reported", () => {
  const core = greeted();
  core.receive([{ t: "beat" }, { t: "of a later version" }, { t: "error", code: "bad_request", message: "no" }]);
  assert.deepEqual(core.out, [{ t: "beat" }]);
  assert.deepEqual(core.effects, [{ type: "fault", code: "bad_request", message: "no" }]);
});

test("no more commands are under way than the server takes; the rest follows as answers come", () => {
  const core = greeted();
  for (let count = 0; count < 60; count += 1) core.command("job", { job: `j${count}` });
  assert.equal(core.out.length, 48);
  core.out = [];
  core.receive([{ t: "reply", id: "c1", ok: {} }, { t: "reply", id: "c1", ok: {} }]);
  assert.deepEqual(core.out.map((item) => item.id), ["c49"], "a second reply counts for nothing");
  core.lost();
  core.opened();
  assert.deepEqual([core.out.length, core.out[1].id], [49, "c2"]);
});

test("what is out of bounds is refused where it is asked, naming the bound", () => {
  const core = greeted(new ClientCore({ pending: 1, outputs: 1 }));
  assert.throws(() => core.command("submit", { job: "ask", key: "k", arguments: { prompt: "é".repeat(40_000) } }), /80\d+ bytes as JSON; a command may have 60000/);
  core.command("job", { job: "j" });
  assert.throws(() => core.command("job", { job: "j" }), { code: "busy" });
  core.attach("j");
  assert.throws(() => core.attach("j"), { code: "attached" });
  assert.throws(() => core.attach("k"), { code: "too_many" });
});

test("an output that can be none is refused where it is asked, and nothing is sent", () => {
  const core = greeted();
  for (const job of [undefined, null, 7, "", "x".repeat(201), "j\ud800"]) {
    assert.throws(() => core.attach(job), { code: "bad_request", message: /1 to 200 characters/ }, String(job));
  }
  for (const cursor of [null, {}, { attempt: 1.5, n: 0 }, { attempt: 1, n: "2" }, { attempt: -1, n: 0 }, { attempt: 0, n: 3 }, { attempt: 2 ** 53, n: 0 }]) {
    assert.throws(() => core.attach("j", cursor), { code: "bad_request", message: /two integers/ }, JSON.stringify(cursor));
  }
  assert.deepEqual([core.out, core.outputs.size], [[], 0]);
  core.attach("\u{1f600}".repeat(200), { attempt: 1, n: 0 });
  assert.equal(core.outputs.size, 1, "characters are counted as the server counts them");
});

test("a frame with a part that is none is not applied, nor any part of it", () => {
  const core = greeted();
  const log = core.attach("j", { attempt: 1, n: 0 });
  const before = [log.n, log.length, log.items, log.hash.hex()];
  for (const bad of [["abc", 7], ["abc", ["name"]], ["abc", ["name", 1]], "abc"]) {
    assert.throws(() => core.receive([{ t: "output", job: "j", attempt: 1, from: 0, to: 2, parts: bad, sent: 4 }]), TypeError);
    assert.deepEqual([log.n, log.length, log.items, log.hash.hex()], before);
  }
  assert.deepEqual(given(core), []);
});

test("the trace of the specification is what this client says to what that server says", () => {
  const core = new ClientCore();
  const turn = (...items) => {
    core.receive(items);
    return core.out.splice(0);
  };
  const job = (state, attempt, seq) => ({ id: "j1", state, attempt, seq });
  core.opened();
  assert.deepEqual(core.out.splice(0), [{ t: "hello", visible: true }]);
  assert.deepEqual(turn(WELCOME, snapshot()), []);
  core.command("submit", { job: "echo", arguments: { text: "hi" }, key: "k1", thread: "t1" });
  assert.deepEqual(core.out.splice(0), [{ t: "submit", id: "c1", job: "echo", arguments: { text: "hi" }, key: "k1", thread: "t1" }]);
  assert.deepEqual(
    turn({ t: "reply", id: "c1", ok: { job: job("queued", 0, 1), created: true } }, feed(0, 1, { jobs: [job("queued", 0, 1)] })),
    [],
  );
  core.attach("j1");
  assert.deepEqual(core.out.splice(0), [{ t: "attach", job: "j1", attempt: 0, n: 0 }]);
  assert.deepEqual(
    turn(feed(1, 2, { jobs: [job("running", 1, 2)] }), { t: "rewind", job: "j1", attempt: 1, keep: 0 }),
    [{ t: "attach", job: "j1", attempt: 1, n: 0 }],
  );
  assert.deepEqual(turn({ t: "output", job: "j1", attempt: 1, from: 0, to: 1, parts: ["h"], sent: 1 }), []);
  core.lost();
  core.opened();
  assert.deepEqual(core.out.splice(0), [
    { t: "hello", visible: true, feed: { epoch: "e1", seq: 2 } },
    { t: "attach", job: "j1", attempt: 1, n: 1 },
  ]);
  assert.deepEqual(turn(WELCOME, feed(2, 3, { jobs: [job("running", 2, 3)] })), []);
  assert.deepEqual(turn({ t: "rewind", job: "j1", attempt: 2, keep: 0 }), [{ t: "attach", job: "j1", attempt: 2, n: 0 }]);
  assert.deepEqual(turn({ t: "output", job: "j1", attempt: 2, from: 0, to: 2, parts: ["hi"], sent: 2 }), []);
  const row = { id: "n1", job: "j1", kind: "ended", title: "echo completed", created_at: 1, seen: false, read: false, archived: false, seq: 4 };
  assert.deepEqual(
    turn(feed(3, 4, { jobs: [job("completed", 2, 4)], notifications: [row], counts: { unseen: 1, unread: 1 } }), {
      t: "output.end", job: "j1", attempt: 2, entries: 2, sent: 66,
      sha256: "8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4",
    }),
    [{ t: "ack", sent: 66, feed: 4 }],
  );
  turn(feed(4, 5, { notifications: [{ ...row, seen: true, seq: 5 }], counts: { unseen: 0, unread: 1 } }));
  assert.deepEqual(core.feed.counts, { unseen: 0, unread: 1 });
  const items = core.effects.filter((effect) => effect.type === "output").map((effect) => effect.item);
  const held = new Held();
  for (const item of items) held.take(item);
  assert.deepEqual([held.text, held.end.verified], ["hi", true]);
});

test("how long output may be gathered is said in the hello and when it changes", () => {
  const core = new ClientCore();
  core.setCoalesce(100);
  core.opened();
  assert.deepEqual(core.out.splice(0), [{ t: "hello", visible: true, coalesce_ms: 100 }]);
  core.setCoalesce(100);
  assert.deepEqual(core.out, []);
  core.setCoalesce(null);
  assert.deepEqual(core.out.splice(0), [{ t: "coalesce", ms: null }]);
  assert.throws(() => core.setCoalesce(50), /legal are null/);
  core.lost();
  core.setCoalesce(0);
  core.opened();
  assert.deepEqual(core.out.splice(0), [{ t: "hello", visible: true, coalesce_ms: 0 }]);
});

test("places in the queue replace the ones before, and a new connection begins with none", () => {
  const core = greeted();
  core.receive([{ t: "queue", places: [{ job: "a", place: 3 }, { job: "b", place: 9 }] }]);
  assert.deepEqual([...core.feed.places], [["a", 3], ["b", 9]]);
  assert.deepEqual(core.effects.splice(0).map(({ type }) => type), ["feed"]);
  core.receive([{ t: "queue", places: [] }]);
  assert.equal(core.feed.places.size, 0);
  core.receive([{ t: "queue", places: [{ job: "a", place: 1 }] }]);
  core.opened();
  core.receive([WELCOME, snapshot()]);
  assert.equal(core.feed.places.size, 0);
});

test("the holder of a job is the one of its thread that has begun, or else the one that starts next", () => {
  const row = (id, more) => [id, { id, state: "queued", thread: "t", attempt: 0, ...more }];
  const of = (...rows) => {
    const jobs = new Map([row("me"), ...rows]);
    return (places = []) => holderOf({ jobs, places: new Map(places) }, jobs.get("me"))?.id ?? null;
  };
  assert.equal(of(row("a", { state: "running", attempt: 1 }))(), "a");
  assert.equal(of(row("a"), row("b", { attempt: 2, asking: { key: "q" } }))([["a", 1]]), "b");
  assert.equal(of(row("a"), row("b"))([["b", 1]]), "b");
  assert.equal(of(row("a"))([["me", 1]]), null);
  assert.equal(of(row("a", { state: "completed", attempt: 1 }), row("b", { state: "running", attempt: 1, thread: "u" }))(), null);
  assert.equal(holderOf({ jobs: new Map([row("a", { state: "running", attempt: 1 })]), places: new Map() }, row("me", { thread: null })[1]), null);
});
