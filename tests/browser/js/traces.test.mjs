// The browser client says what the traces of the protocol have it say, and holds what they have it hold.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { ClientCore } from "../../../transport/browser/trouper.js";

const DOCS = new URL("../../../docs/", import.meta.url);
const OWN = new Set(["hello", "ack", "beat", "resync"]);

const JOB = {
  name: "echo", thread: null, state: "running", reason: null, attempt: 1, entries: 0, created_at: 1, started_at: null,
  ended_at: null, error: null, cancel_requested: false, seq: 1, arguments: {}, result: null, saved_entries: 0,
};
const NOTIFICATION = {
  id: "n1", job: "j1", thread: null, kind: "ended", key: "", title: "", body: "", created_at: 1, seen: false, read: false,
  archived: false, seq: 1,
};
const WELCOME = { protocol: 1, user: "ada", beat_ms: 25_000, silence_ms: 35_000, window: 262_144 };
const FEED = { jobs: [], notifications: [], counts: { unseen: 0, unread: 0 } };

/** The lines of a trace, and whether it judges clients. */
function read(name, text) {
  const lines = text.split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
  const judges = lines.find((line) => line.startsWith("for: ")) ?? "for: server client";
  return { name, client: judges.split(" ").includes("client"), lines: lines.filter((line) => !line.startsWith("for: ")) };
}

function traces() {
  const page = readFileSync(new URL("protocol.md", DOCS), "utf8");
  const block = /^## 8\. A trace\n[^]*?^```\n([^]*?)^```/m.exec(page);
  assert.ok(block, "the page has no trace");
  const files = readdirSync(new URL("traces/", DOCS)).filter((file) => file.endsWith(".trace")).sort();
  return [read("the trace of the page", block[1]), ...files.map((file) => read(file, readFileSync(new URL(`traces/${file}`, DOCS), "utf8")))];
}

/** Whether `said` is what the page has; a field that may be absent may be null. */
function same(page, said) {
  if (page === "…") return true;
  if (page === null || typeof page !== "object") return page === said;
  if (Array.isArray(page)) return Array.isArray(said) && page.length === said.length && page.every((one, n) => same(one, said[n]));
  if (said === null || typeof said !== "object") return false;
  const given = (value) => Object.keys(value).filter((key) => key !== "…" && value[key] !== null && value[key] !== undefined);
  const wanted = given(page);
  return wanted.every((key) => same(page[key], said[key])) && ("…" in page || given(said).length === wanted.length);
}

/** What the trace leaves out, with something in its place. */
function rest(whole, item) {
  if (!("…" in item)) return item;
  const { "…": _, ...given } = item;
  return { ...whole, ...given };
}

class Play {
  constructor() {
    this.core = new ClientCore();
    this.open = false;
    this.ids = new Map();
    this.held = new Map();
  }

  line(line) {
    const text = line.slice(1).trim();
    if (line[0] === ">") this.says(JSON.parse(text));
    else if (line[0] === "<") this.hears(JSON.parse(text));
    else if (line[0] === "=") this.holds(text);
    else if (line.startsWith("(the connection is cut")) {
      this.core.lost();
      this.open = false;
    }
  }

  taken() {
    for (const effect of this.core.effects.splice(0)) {
      if (effect.type === "output") this.held.get(effect.job)?.push(effect.item ?? { type: "corrupt" });
    }
    return this.core.out.splice(0);
  }

  says(items) {
    if (!this.open) this.core.opened();
    this.open = true;
    const said = this.taken();
    const withId = (item) => ("id" in item ? { ...item, id: this.ids.get(item.id) ?? "" } : item);
    for (const item of items) {
      const own = OWN.has(item.t) || (item.t === "attach" && this.core.outputs.has(item.job));
      if (!own && !said.some((one) => same(withId(item), one))) {
        this.ask(item);
        said.push(...this.taken());
      }
    }
    assert.equal(said.length, items.length, `said ${JSON.stringify(said)} instead of ${JSON.stringify(items)}`);
    for (const item of items) assert.ok(said.some((one) => same(withId(item), one)), `${JSON.stringify(item)} was not said, but ${JSON.stringify(said)}`);
    if (items[0].t === "hello") assert.equal(said[0].t, "hello");
  }

  /** The application's part in `item`. */
  ask(item) {
    const { t, id, ...fields } = item;
    if (t === "attach") {
      this.held.set(item.job, []);
      this.core.attach(item.job, { attempt: item.attempt, n: item.n });
    } else if (t === "detach") this.core.detach(item.job);
    else if (t === "visible") this.core.setVisible(item.visible);
    else if (t === "coalesce") this.core.setCoalesce(item.ms);
    else this.ids.set(id, this.core.command(t, fields));
  }

  hears(items) {
    assert.deepEqual(this.taken(), [], "it said what the trace has not");
    const seq = this.core.feed.cursor?.seq ?? 0;
    this.core.receive(items.map((item) => {
      if (item.t === "welcome") return rest(WELCOME, item);
      if (item.t === "snapshot" || item.t === "feed") {
        const whole = rest({ ...FEED, prev: seq, seq: seq + 1 }, item);
        return { ...whole, jobs: whole.jobs.map((row) => rest(JOB, row)), notifications: whole.notifications.map((row) => rest(NOTIFICATION, row)) };
      }
      if (item.t !== "reply") return item;
      const ok = item.ok?.job ? { ...item.ok, job: rest(JOB, item.ok.job) } : item.ok;
      return { ...item, id: this.ids.get(item.id), ...(ok ? { ok } : {}) };
    }));
  }

  holds(text) {
    const [, job, parts, state] = /^(\S+) (.*) (\w+)$/.exec(text);
    const said = this.taken();
    this.core.out.unshift(...said);
    let items = [];
    let stands = "open";
    for (const item of this.held.get(job)) {
      if (item.type === "text" || item.type === "event") items.push(item);
      else if (item.type === "rewind") items = items.slice(0, item.items);
      else if (item.type === "end") stands = item.verified ? "end" : "unverified";
      else if (item.type !== "progress") stands = item.type;
    }
    const held = [];
    for (const item of items) {
      if (item.type === "event") held.push([item.name, item.json]);
      else if (typeof held.at(-1) === "string") held.push(held.pop() + item.text);
      else held.push(item.text);
    }
    assert.deepEqual([held, stands], [JSON.parse(parts), state]);
  }
}

for (const trace of traces().filter((each) => each.client)) {
  test(`the browser client keeps to the trace ${trace.name}`, () => {
    const play = new Play();
    for (const line of trace.lines) play.line(line);
    assert.deepEqual(play.taken(), [], "it said what the trace has not");
  });
}
