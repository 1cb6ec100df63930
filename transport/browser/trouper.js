// @ts-check
/**
 * The browser client of trouper: one WebSocket that carries commands, the feed of a user's jobs and
 * notifications, and the output of any number of jobs. It speaks `trouper.v1` (docs/protocol.md).
 *
 *     import { connect } from "/_trouper/trouper.js";
 *
 *     const client = connect();                        // ws(s)://<this host>/ws, cookie as login
 *     client.subscribe((snapshot) => draw(snapshot));  // jobs, notifications, counts, connection
 *     const { job } = await client.submit({ job: "report", thread: "t1" });
 *     let text = "";
 *     for await (const item of client.output(job.id)) {
 *       if (item.type === "text") text += item.text;
 *       if (item.type === "rewind") text = text.slice(0, item.length);
 *     }                                                // ends at the output's end, hash verified
 *
 * In reading order: the bounds, SHA-256, one output's cursor, the feed, what may be sent, `ClientCore`
 * (the protocol as items in, items out, without socket, timer or promise), the output iterator, and
 * `Client`, the shell that owns the socket. Everything that waits, tells the time or draws a number is injectable.
 *
 * @typedef {{epoch: string, seq: number}} FeedCursor
 * @typedef {{attempt: number, n: number}} Cursor  n: entries held
 * @typedef {{t: string, [field: string]: any}} Item  One item of a message.
 * @typedef {{id: string, name: string, thread: string | null, state: string, reason: string | null,
 *   attempt: number, entries: number, created_at: number, started_at: number | null,
 *   ended_at: number | null, error: string | null, cancel_requested: boolean, seq: number,
 *   arguments?: any, result?: any, saved_entries: number, asking: Question | null, attempts_used: number,
 *   began_after: string | null, messages: number, messages_read: number}} Job
 *   attempts_used: how many attempts have failed; began_after: what the present one (of a queued job: the next)
 *   goes on after. messages: how many it was sent; messages_read: how many of them it has read.
 * @typedef {{seq: number, key: string, message: any, sender: string | null, sent_at: number}} Message
 *   A message to a job; those with a `seq` above its `messages_read` wait to be read.
 * @typedef {{key: string, question: string, schema: any, asked_at: number, expires_at: number | null}} Question
 * @typedef {{id: string, job: string, thread: string | null, kind: string, key: string, title: string,
 *   body: string, created_at: number, seen: boolean, read: boolean, archived: boolean,
 *   seq: number}} Notification
 * @typedef {{unseen: number, unread: number}} Counts
 * @typedef {{status: "connecting" | "open" | "waiting" | "closed", retryAt: number | null,
 *   failures: number, code: number | null, reason: string}} Connection
 *   retryAt: when it tries again, on the client's clock (`client.now()`, milliseconds). failures:
 *   connections in a row that could not be made or did not last `stableMs`; 0 while open.
 * @typedef {{epoch: string | null, seq: number, generation: number, jobs: ReadonlyMap<string, Job>,
 *   notifications: readonly Notification[], counts: Counts, places: ReadonlyMap<string, number>,
 *   user: string | null, connection: Connection}} Snapshot
 *   places: job id → its place in the queue, 1 for the next to start, where one was told.
 *   generation rises when the server replaced the whole state: what was asked for by command before
 *   may have changed unheard since.
 * @typedef {{type: "text", text: string, attempt: number, n: number | null}
 *   | {type: "event", name: string, data: any, json: string, attempt: number, n: number | null}
 *   | {type: "rewind", attempt: number, keep: number, items: number, length: number}
 *   | {type: "progress", attempt: number, done: number, total: number | null, note: string | null}
 *   | {type: "end", attempt: number, entries: number, sha256: string, verified: boolean}
 *   | {type: "gone", reason: string}} OutputItem
 *   `n`: entries held after this item, null inside a frame. A rewind keeps the first `items` text and
 *   event items of this iterator, which hold `length` UTF-16 units of text. `verified` is false only
 *   where the iterator began beyond entry 0.
 */

export const SUBPROTOCOL = "trouper.v1";

/** Every bound of the client, with its unit. `connect({limits: {…}})` replaces any of them. */
export const LIMITS = Object.freeze({
  messageBytes: 60_000, // of one message to the server, which takes 64 KiB
  inFlight: 48, // commands sent and not answered; the server takes 64
  pending: 1000, // commands not answered, sent or not
  nesting: 100, // levels of objects and arrays in a command's arguments
  idCharacters: 200, // of a job's id
  outputs: 256, // outputs attached at a time
  frameBounds: 1024, // bounds remembered for a rewind, per output
  queueUnits: 1 << 20, // UTF-16 units (and 64 an item) that wait for an iterator's consumer before the output is paused
  jobs: 1000, // rows in the feed's state; ended ones beyond it are forgotten, oldest first
  notifications: 500, // rows in the feed's state
  connectMs: 10_000, // from opening a socket to the welcome
  backoffMs: 500, // before retry k: a uniform draw from 0 … min(backoffMaxMs, backoffMs × 2^k)
  backoffMaxMs: 30_000,
  stableMs: 10_000, // from its welcome, what a connection must last so that k begins at 0 again
});

/** What the server refused, or what this client could not do. `code` is one of the protocol's; of the
 * client's own are `bad_request` (a call that the protocol has no words for: nothing was sent),
 * `too_large`, `busy`, `attached`, `too_many`, `corrupt` and `closed`. */
export class TrouperError extends Error {
  /** @param {string} code @param {string} message @param {boolean} [retryable] */
  constructor(code, message, retryable = false) {
    super(message);
    this.name = "TrouperError";
    this.code = code;
    this.retryable = retryable;
  }
}

// --- SHA-256 --------------------------------------------------------------------------------------

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUND = (() => {
  const words = new Int32Array(64);
  let found = 0;
  for (let candidate = 2; found < 64; candidate += 1) {
    let prime = true;
    for (let d = 2; d * d <= candidate; d += 1) if (candidate % d === 0) prime = false;
    if (prime) words[found++] = (Math.cbrt(candidate) % 1) * 2 ** 32;
  }
  return words;
})();
const START = [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];
const encoder = new TextEncoder();
const schedule = new Int32Array(64);

/**
 * SHA-256 that takes its input in pieces and can be copied, which crypto.subtle cannot (and which is
 * not there at all on plain http).
 */
export class Sha256 {
  constructor() {
    this._state = new Int32Array(START);
    this._block = new Uint8Array(64);
    this._filled = 0;
    this._bytes = 0;
    this._surrogate = ""; // the first half of a pair whose second half may come with the next text
  }

  clone() {
    const copy = new Sha256();
    copy._state.set(this._state);
    copy._block.set(this._block);
    copy._filled = this._filled;
    copy._bytes = this._bytes;
    copy._surrogate = this._surrogate;
    return copy;
  }

  /** Adds a text as UTF-8. A pair split over two texts is one character. @param {string} text */
  text(text) {
    if (text === "") return this;
    let whole = this._surrogate + text;
    const last = whole.charCodeAt(whole.length - 1);
    this._surrogate = last >= 0xd800 && last <= 0xdbff ? whole.slice(-1) : "";
    if (this._surrogate) whole = whole.slice(0, -1);
    this._bytesIn(encoder.encode(whole));
    return this;
  }

  /** @param {Uint8Array} bytes */
  update(bytes) {
    if (this._surrogate) {
      this._bytesIn(encoder.encode(this._surrogate));
      this._surrogate = "";
    }
    this._bytesIn(bytes);
    return this;
  }

  /** The hash of what came so far, in hex; more may follow. */
  hex() {
    const copy = this.clone();
    copy.update(new Uint8Array(0));
    const bits = copy._bytes * 8;
    const padding = new Uint8Array(((copy._filled < 56 ? 56 : 120) - copy._filled) + 8);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(padding.length - 4, bits >>> 0);
    copy._bytesIn(padding);
    return Array.from(copy._state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  /** @param {Uint8Array} bytes */
  _bytesIn(bytes) {
    this._bytes += bytes.length;
    let at = 0;
    if (this._filled) {
      const taken = Math.min(64 - this._filled, bytes.length);
      this._block.set(bytes.subarray(0, taken), this._filled);
      this._filled += taken;
      at = taken;
      if (this._filled < 64) return;
      this._compress(this._block, 0);
      this._filled = 0;
    }
    for (; at + 64 <= bytes.length; at += 64) this._compress(bytes, at);
    this._block.set(bytes.subarray(at));
    this._filled = bytes.length - at;
  }

  /** @param {Uint8Array} data @param {number} at */
  _compress(data, at) {
    const w = schedule;
    for (let i = 0, p = at; i < 16; i += 1, p += 4) {
      w[i] = (data[p] << 24) | (data[p + 1] << 16) | (data[p + 2] << 8) | data[p + 3];
    }
    for (let i = 16; i < 64; i += 1) {
      const x = w[i - 15];
      const y = w[i - 2];
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
    }
    let [a, b, c, d, e, f, g, h] = this._state;
    for (let i = 0; i < 64; i += 1) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND[i] + w[i]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0;
      d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    const s = this._state;
    s[0] += a; s[1] += b; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h;
  }
}

// --- one output -----------------------------------------------------------------------------------

/**
 * The cursor of one attached output, with what a rewind and the final hash need. It holds no text:
 * that went to the consumer. Of each frame bound it keeps how much had been given out, and the hash.
 */
export class OutputLog {
  /** @param {string} job @param {Cursor} cursor @param {number} maxBounds */
  constructor(job, cursor, maxBounds = LIMITS.frameBounds) {
    this.job = job;
    this.maxBounds = maxBounds;
    this.paused = false;
    /** An attach was sent and nothing that fits the cursor came since: what does not fit is old. */
    this.awaiting = false;
    /** Something that does not fit the cursor was passed over meanwhile. */
    this.missed = false;
    this.ignoredBytes = 0;
    this.retried = false;
    this.attempt = 0;
    this.n = 0;
    /** What has been given out: text and event items, and the UTF-16 units of the texts. */
    this.items = 0;
    this.length = 0;
    /** null: it began beyond entry 0, so there is nothing to verify. @type {Sha256 | null} */
    this.hash = null;
    /** @type {{n: number, items: number, length: number, hash: Sha256 | null}[]} */
    this.bounds = [];
    this.reset(cursor);
  }

  /** Begins anew at a cursor, as if nothing had ever been held. @param {Cursor} cursor */
  reset({ attempt, n }) {
    this.attempt = attempt;
    this.n = n;
    this.items = 0;
    this.length = 0;
    this.hash = n === 0 ? new Sha256() : null;
    this.bounds = [{ n: 0, items: 0, length: 0, hash: new Sha256() }];
    if (n > 0) this.bounds.push({ n, items: 0, length: 0, hash: null });
  }

  get cursor() {
    return { attempt: this.attempt, n: this.n };
  }

  /**
   * Takes a frame that follows the cursor. @param {Item} frame
   * @returns {OutputItem[]}
   */
  take(frame) {
    checkParts(frame.parts); // before any of it is applied: a frame is taken whole or not at all
    /** @type {any[]} */
    const items = [];
    for (const part of frame.parts) {
      if (typeof part === "string") {
        this.hash?.text(part);
        this.length += part.length;
        items.push({ type: "text", text: part, attempt: this.attempt, n: null });
      } else {
        const [name, json] = part;
        this.hash?.text(`\0${name}\0${json}\0`);
        items.push({ type: "event", name, data: parsed(json), json, attempt: this.attempt, n: null });
      }
    }
    this.items += items.length;
    this.n = frame.to;
    if (items.length) items[items.length - 1].n = this.n;
    this.bounds.push({ n: this.n, items: this.items, length: this.length, hash: this.hash?.clone() ?? null });
    if (this.bounds.length > this.maxBounds) this._thin();
    return items;
  }

  /** Every second of the older bounds goes: a rewind then goes a little further back, not wrong. */
  _thin() {
    const recent = this.bounds.length >> 2;
    const edge = this.bounds.length - recent;
    this.bounds = this.bounds.filter((_, at) => at === 0 || at >= edge || at % 2 === 0);
  }

  /**
   * Drops every frame that reaches beyond `keep` entries. @param {number} attempt @param {number} keep
   * @returns {OutputItem}
   */
  rewind(attempt, keep) {
    while (this.bounds[this.bounds.length - 1].n > keep) this.bounds.pop();
    const bound = this.bounds[this.bounds.length - 1];
    this.attempt = attempt;
    this.n = bound.n;
    this.items = bound.items;
    this.length = bound.length;
    this.hash = bound.hash?.clone() ?? null;
    return { type: "rewind", attempt, keep: this.n, items: this.items, length: this.length };
  }
}

/** @param {any} parts */
function checkParts(parts) {
  const text = (/** @type {any} */ each) => typeof each === "string";
  const part = (/** @type {any} */ each) => text(each) || (Array.isArray(each) && each.length === 2 && each.every(text));
  if (!Array.isArray(parts) || !parts.every(part)) throw new TypeError("a part of an output is a string or [name, JSON text]");
}

/** An event whose data JavaScript cannot read (NaN, say) must not stop the output: it has null.
 * @param {string} json */
function parsed(json) {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

// --- the feed -------------------------------------------------------------------------------------

/** The versioned state of a user, replaced (never changed in place) by each item that is applied. */
export class Feed {
  constructor(limits = LIMITS) {
    this.limits = limits;
    /** @type {string | null} */
    this.epoch = null;
    this.seq = 0;
    this.generation = 0;
    this.resyncing = false;
    /** @type {Map<string, Job>} */
    this.jobs = new Map();
    /** Newest first, not archived. @type {readonly Notification[]} */
    this.notifications = [];
    /** @type {Counts} */
    this.counts = { unseen: 0, unread: 0 };
    /** Job id → place in the queue. @type {Map<string, number>} */
    this.places = new Map();
    /** Ids whose one effect has taken place. @type {Set<string>} */
    this.told = new Set();
  }

  /** @returns {FeedCursor | null} */
  get cursor() {
    return this.epoch === null ? null : { epoch: this.epoch, seq: this.seq };
  }

  /**
   * @param {Item} item A `snapshot` or a `feed`.
   * @returns {{fresh: Notification[]} | null} fresh: notifications not heard of before; null: it does
   *   not follow what is held.
   */
  apply(item) {
    const first = this.epoch === null;
    if (item.t === "snapshot") {
      this.generation += 1;
      this.jobs = new Map();
      this.notifications = [];
    } else if (item.epoch !== this.epoch || item.prev !== this.seq) {
      return null;
    }
    this.resyncing = false;
    this.epoch = item.epoch;
    this.seq = item.seq;
    this.counts = Object.freeze({ ...item.counts });
    if (item.jobs.length) this._applyJobs(item.jobs);
    if (item.notifications.length) this._applyNotifications(item.notifications);
    return { fresh: this._fresh(item.notifications, first) };
  }

  /** @param {Job[]} rows */
  _applyJobs(rows) {
    const jobs = new Map(this.jobs);
    for (const row of rows) {
      const held = jobs.get(row.id);
      if (!held || row.seq >= held.seq) jobs.set(row.id, Object.freeze({ ...row }));
    }
    for (const [id, row] of jobs) {
      if (jobs.size <= this.limits.jobs) break;
      if (row.state !== "queued" && row.state !== "running") jobs.delete(id);
    }
    this.jobs = jobs;
  }

  /** @param {Notification[]} rows */
  _applyNotifications(rows) {
    const byId = new Map(this.notifications.map((row) => [row.id, row]));
    for (const row of rows) {
      const held = byId.get(row.id);
      if (!held || row.seq >= held.seq) byId.set(row.id, Object.freeze({ ...row }));
    }
    this.notifications = [...byId.values()]
      .filter((row) => !row.archived)
      .sort((a, b) => b.created_at - a.created_at || (a.id < b.id ? 1 : -1))
      .slice(0, this.limits.notifications);
  }

  /** @param {Notification[]} rows @param {boolean} first @returns {Notification[]} */
  _fresh(rows, first) {
    const fresh = [];
    for (const row of rows) {
      // An old row that was marked elsewhere may be new to us; it is not news.
      const news = !first && !this.told.has(row.id) && !row.seen && !row.read && !row.archived;
      this.told.add(row.id);
      if (news) fresh.push(row);
    }
    for (const id of this.told) {
      if (this.told.size <= 4 * this.limits.notifications) break;
      this.told.delete(id);
    }
    return fresh;
  }
}

/**
 * The job of its thread that a queued one waits for; null if it waits for none: one that runs, asks a person
 * (`asking`) or waits for another attempt, or else the next of the thread to start. As long as that one has not
 * ended, the job has no place in the queue.
 * @param {Snapshot} snapshot @param {Job} job @returns {Job | null}
 */
export function holderOf({ jobs, places }, job) {
  if (job.state !== "queued" || job.attempt > 0 || job.thread === null || places.has(job.id)) return null;
  const active = (/** @type {Job} */ row) => row.state === "queued" || row.state === "running";
  const others = [...jobs.values()].filter((row) => row.thread === job.thread && row.id !== job.id && active(row));
  return others.find((row) => row.attempt > 0) ?? others.find((row) => places.has(row.id)) ?? null;
}

// --- what may be sent -----------------------------------------------------------------------------

// The server closes the connection for good over a field of a wrong type, and one wrong call must not
// end everything that goes on over it: what cannot be sent is refused here, by the types of its JSON.

/** @type {Record<string, [legal: string, is: (value: any) => boolean]>} */
const TYPES = {
  text: ["a string", (value) => typeof value === "string"],
  texts: ["an array of strings", (value) => Array.isArray(value) && value.every((each) => typeof each === "string")],
  integer: ["an integer", Number.isSafeInteger],
  number: ["a number", Number.isFinite],
  any: ["a JSON value", (value) => value !== undefined],
  object: ["an object", (value) => typeof value === "object" && value !== null && !Array.isArray(value)],
};

/** The fields of each command and their types; one with `?` may be left out.
 * @type {Record<string, Record<string, string>>} */
const COMMANDS = {
  submit: { job: "text", arguments: "object", key: "text", thread: "text?", on_busy: "text?", at: "number?", delay_s: "number?" },
  cancel: { job: "text?", key: "text?" },
  signal: { job: "text", message: "any", key: "text" },
  messages: { job: "text", after: "integer?", limit: "integer?" },
  answer: { job: "text", key: "text", value: "any" },
  mark: { mark: "text", ids: "texts?", job: "text?", upto: "integer?" },
  job: { job: "text" },
  jobs: { thread: "text?", before: "text?", limit: "integer?" },
  threads: { before: "text?", limit: "integer?" },
  notifications: { before: "text?", limit: "integer?" },
};

/** Half of a surrogate pair without the other: UTF-8, and so a message, cannot hold it. */
const LONE_HALF = /\p{Surrogate}/u;
const WELL_FORMED = "legal is well-formed Unicode (String.prototype.toWellFormed makes it so)";

/** @param {string} message */
const badRequest = (message) => new TrouperError("bad_request", message);

/** A value in a few words, whatever it is. @param {any} value */
function said(value) {
  let text;
  try {
    text = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
  } catch {
    text = `a ${typeof value}`;
  }
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

/**
 * A command's fields as they will be sent: a copy, which the caller cannot change any more.
 * @param {string} name @param {Record<string, any>} fields @param {number} nesting
 * @returns {Record<string, any>}
 */
function checkedFields(name, fields, nesting) {
  const types = COMMANDS[name];
  const given = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined);
  const unknown = given.find(([field]) => !Object.hasOwn(types, field));
  if (unknown) throw badRequest(`${name} has no ${unknown[0]}; legal are ${Object.keys(types).join(", ")}`);
  let copy;
  try {
    copy = JSON.parse(JSON.stringify(Object.fromEntries(given)));
  } catch (error) {
    throw badRequest(`this ${name} cannot be sent as JSON: ${error}`);
  }
  for (const [field, type] of Object.entries(types)) {
    const value = fields?.[field];
    if (type.endsWith("?") && (value === undefined || value === null)) {
      delete copy[field];
      continue;
    }
    const [legal, is] = TYPES[type.replace("?", "")];
    if (!is(copy[field])) throw badRequest(`${name}: ${field} is ${said(value)}; legal is ${legal}`);
    const fault = unsendable(copy[field], field, nesting);
    if (fault) throw badRequest(`${name}: ${fault}`);
  }
  return copy;
}

/** Why the server would not read this JSON value, null if it would. @param {any} value
 * @param {string} path @param {number} levels @param {number} [level] @returns {string | null} */
function unsendable(value, path, levels, level = 1) {
  if (typeof value === "string" && LONE_HALF.test(value)) return `${path} holds half a surrogate pair; ${WELL_FORMED}`;
  if (typeof value !== "object" || value === null) return null;
  if (level > levels) return `${path.slice(0, 60)}… is nested too deep; legal are ${levels} levels`;
  for (const [key, each] of Object.entries(value)) {
    if (LONE_HALF.test(key)) return `a name in ${path} holds half a surrogate pair; ${WELL_FORMED}`;
    const fault = unsendable(each, `${path}.${key}`, levels, level + 1);
    if (fault) return fault;
  }
  return null;
}

/** Refuses an output that cannot be asked for. @param {any} job @param {any} cursor @param {number} idCharacters */
function checkOutput(job, cursor, idCharacters) {
  if (typeof job !== "string" || job === "" || [...job].length > idCharacters || LONE_HALF.test(job)) {
    throw badRequest(`a job's id is ${said(job)}; legal is a string of 1 to ${idCharacters} characters`);
  }
  const { attempt, n } = cursor ?? {};
  const natural = [attempt, n].every((each) => Number.isSafeInteger(each) && each >= 0);
  if (!natural || (attempt === 0 && n > 0)) {
    throw badRequest(`a cursor is ${said(cursor)}; legal are two integers, attempt ≥ 1 and n ≥ 0, or both 0`);
  }
}

// --- the protocol ---------------------------------------------------------------------------------

/** For how long a client may ask its output to be gathered, in milliseconds. */
const COALESCE_MS = [0, 100, 500];

/** What an item that waits counts besides its texts. */
const ITEM_UNITS = 64;

/** The names of an output's items, for `receive`. */
const OUTPUT_ITEMS = new Set(["output", "rewind", "output.end", "gone", "progress"]);

/**
 * The protocol without a socket: calls and received items go in; `out` collects the items to send and
 * `effects` what the caller has to tell others. Nothing here waits, so every order can be tested.
 */
export class ClientCore {
  /** @param {Partial<typeof LIMITS>} [limits] */
  constructor(limits = {}) {
    this.limits = { ...LIMITS, ...limits };
    this.feed = new Feed(this.limits);
    /** @type {Item[]} */
    this.out = [];
    /** @type {any[]} */
    this.effects = [];
    /** @type {Map<string, OutputLog>} */
    this.outputs = new Map();
    /** Not answered, in the order of their making. @type {Map<string, {item: Item, sent: boolean}>} */
    this.pending = new Map();
    /** @type {string | null} */
    this.user = null;
    this.open = false;
    this.visible = true;
    /** @type {number | null} */
    this.coalesceMs = null;
    this.window = 262_144;
    this.silenceMs = 35_000;
    this._commands = 0;
    this._inFlight = 0;
    this._sent = 0;
    this._acked = 0;
    this._ackDue = false;
  }

  /** A socket has opened: hello, every output at its cursor, every command not answered.
   * @param {string} [token] */
  opened(token) {
    this.open = true;
    this._sent = 0;
    this._acked = 0;
    this._ackDue = false;
    this._inFlight = 0;
    this.feed.resyncing = false;
    /** @type {Item} */
    const hello = { t: "hello", visible: this.visible };
    if (token) hello.token = token;
    if (this.feed.cursor) hello.feed = this.feed.cursor;
    if (this.coalesceMs !== null) hello.coalesce_ms = this.coalesceMs;
    this.out = [hello];
    for (const log of this.outputs.values()) if (!log.paused) this._attach(log);
    for (const command of this.pending.values()) command.sent = false;
    this._pump();
  }

  /** The socket is gone. What was attached or asked stays so. */
  lost() {
    this.open = false;
    this.out = [];
  }

  /** @param {boolean} visible */
  setVisible(visible) {
    if (visible === this.visible) return;
    this.visible = visible;
    if (this.open) this.out.push({ t: "visible", visible });
  }

  /** Throws TrouperError `bad_request` for what the server would refuse.
   * @param {number | null} ms */
  setCoalesce(ms) {
    if (ms !== null && !COALESCE_MS.includes(ms)) {
      throw new TrouperError("bad_request", `coalesceMs is ${ms}; legal are null (as the server chooses), ${COALESCE_MS.join(", ")}`);
    }
    if (ms === this.coalesceMs) return;
    this.coalesceMs = ms;
    if (this.open) this.out.push({ t: "coalesce", ms });
  }

  /**
   * Asks something; throws TrouperError `bad_request` for what cannot be sent.
   * @param {string} name @param {Record<string, any>} fields
   * @returns {string} The id that the effect `reply` will carry.
   */
  command(name, fields) {
    const checked = checkedFields(name, fields, this.limits.nesting);
    if (this.pending.size >= this.limits.pending) {
      throw new TrouperError("busy", `${this.pending.size} commands wait for their answers; this client holds no more`, true);
    }
    const id = `c${(this._commands += 1)}`;
    const item = { t: name, id, ...checked };
    const bytes = utf8Bytes(JSON.stringify(item));
    if (bytes > this.limits.messageBytes) {
      throw new TrouperError("too_large", `this ${name} is ${bytes} bytes as JSON; a command may have ${this.limits.messageBytes}`);
    }
    this.pending.set(id, { item, sent: false });
    this._pump();
    return id;
  }

  /** Throws TrouperError `bad_request` for what can be no output.
   * @param {string} job @param {Cursor} [cursor] @returns {OutputLog} */
  attach(job, cursor = { attempt: 0, n: 0 }) {
    checkOutput(job, cursor, this.limits.idCharacters);
    if (this.outputs.has(job)) {
      throw new TrouperError("attached", `the output of ${job} is being read already: end that iterator first`);
    }
    if (this.outputs.size >= this.limits.outputs) {
      throw new TrouperError("too_many", `${this.outputs.size} outputs are being read; a session may have ${this.limits.outputs}`);
    }
    const log = new OutputLog(job, cursor, this.limits.frameBounds);
    this.outputs.set(job, log);
    this._attach(log);
    return log;
  }

  /** @param {string} job */
  detach(job) {
    const log = this.outputs.get(job);
    if (!log) return;
    this.outputs.delete(job);
    if (this.open && !log.paused) this.out.push({ t: "detach", job });
  }

  /** Stops an output where it stands; `resume` goes on from there. @param {string} job */
  pause(job) {
    const log = this.outputs.get(job);
    if (!log || log.paused) return;
    log.paused = true;
    if (this.open) this.out.push({ t: "detach", job });
  }

  /** @param {string} job */
  resume(job) {
    const log = this.outputs.get(job);
    if (!log || !log.paused) return;
    log.paused = false;
    this._attach(log);
  }

  /** One message of the server. @param {Item[]} items */
  receive(items) {
    for (const item of items) this._receive(item);
    if (this.open && (this._ackDue || this._sent - this._acked >= this.window / 2)) {
      this._ackDue = false;
      this._acked = this._sent;
      this.out.push({ t: "ack", sent: this._sent, feed: this.feed.seq });
    }
  }

  /** @param {Item} item */
  _receive(item) {
    if (item.t === "beat") this._beat(item);
    else if (item.t === "welcome") this._welcome(item);
    else if (item.t === "reply") this._reply(item);
    else if (item.t === "snapshot" || item.t === "feed") this._feed(item);
    else if (item.t === "queue") {
      this.feed.places = new Map(item.places.map((/** @type {any} */ { job, place }) => [job, place]));
      this.effects.push({ type: "feed", jobs: [], notifications: [], fresh: [] });
    }
    else if (item.t === "error") this.effects.push({ type: "fault", code: item.code, message: item.message });
    else if (OUTPUT_ITEMS.has(item.t)) this._output(item);
    // Other types are of a later version of the protocol, which says to pass over them.
  }

  /** An attach that was not answered for a whole beat, while things came that do not fit, is sent again.
   * @param {Item} item */
  _beat(item) {
    this.out.push({ t: "beat" });
    this._time(item);
    for (const log of this.outputs.values()) {
      if (!log.missed || log.paused) continue;
      this.effects.push({ type: "fault", code: "gap", message: `nothing that follows entry ${log.n} of ${log.job} came; attaching again there` });
      this._attach(log);
    }
  }

  /** What time it is there; a server of an earlier version does not tell. @param {Item} item */
  _time({ now }) {
    if (typeof now === "number") this.effects.push({ type: "time", now });
  }

  /** @param {Item} item */
  _welcome(item) {
    this._time(item);
    this.user = item.user;
    this.window = item.window;
    if (this.feed.places.size) this.feed.places = new Map(); // the server tells them anew
    this.silenceMs = item.silence_ms;
    if (this.feed.epoch !== null && item.epoch !== this.feed.epoch) this._void();
    this.effects.push({ type: "welcome", item });
  }

  /** Another database: no cursor means anything there. */
  _void() {
    for (const log of this.outputs.values()) {
      if (log.attempt === 0 && log.n === 0) continue;
      log.reset({ attempt: 0, n: 0 });
      this.effects.push({ type: "output", job: log.job, item: { type: "rewind", attempt: 0, keep: 0, items: 0, length: 0 } });
      if (!log.paused) this._attach(log);
    }
  }

  /** @param {Item} item */
  _reply(item) {
    const command = this.pending.get(item.id);
    if (!command) return;
    this.pending.delete(item.id);
    if (command.sent) this._inFlight -= 1;
    this.effects.push({ type: "reply", id: item.id, ok: item.ok, error: item.error });
    this._pump();
  }

  /** @param {Item} item */
  _feed(item) {
    const { epoch } = this.feed;
    const applied = this.feed.apply(item);
    if (applied === null) {
      if (this.feed.resyncing) return;
      this.feed.resyncing = true;
      this.out.push({ t: "resync", feed: this.feed.cursor }); // null: nothing is held
      return;
    }
    // The welcome has told of another epoch already, unless the database changed under a connection.
    if (epoch !== null && epoch !== item.epoch) this._void();
    if (item.notifications.length) this._ackDue = true;
    this.effects.push({ type: "feed", jobs: item.jobs, notifications: item.notifications, fresh: applied.fresh });
  }

  /** @param {Item} item */
  _output(item) {
    let bytes = 0;
    if (item.sent !== undefined) {
      bytes = item.sent - this._sent;
      this._sent = item.sent; // also of a frame that is passed over: it has left the window
      if (item.t === "output.end") this._ackDue = true;
    }
    const log = this.outputs.get(item.job);
    if (!log || log.paused) return;
    if (item.t === "output") this._frame(log, item, bytes);
    else if (item.t === "rewind") this._rewind(log, item);
    else if (item.t === "output.end") this._end(log, item);
    else if (item.t === "gone") {
      this.outputs.delete(log.job);
      this._tell(log, { type: "gone", reason: item.reason });
    } else {
      this._tell(log, { type: "progress", attempt: item.attempt, done: item.done, total: item.total, note: item.note });
    }
  }

  /** @param {OutputLog} log @param {Item} item @param {number} bytes */
  _frame(log, item, bytes) {
    if (item.attempt !== log.attempt) return;
    if (item.from === log.n && item.to > item.from) {
      log.awaiting = log.missed = false;
      log.ignoredBytes = 0;
      for (const given of log.take(item)) this._tell(log, given);
    } else if (item.to > log.n) {
      this._misfit(log, `a frame of entries ${item.from} to ${item.to}`, bytes);
    }
  }

  /** @param {OutputLog} log @param {Item} item */
  _rewind(log, item) {
    const older = item.attempt < log.attempt;
    if (older && !log.awaiting) return;
    // Sent before the attach that is under way was read, which asks for that already.
    if (log.awaiting && item.attempt === log.attempt && item.keep >= log.n) return;
    // An older attempt as the answer to an attach: the log never came to ours (a database restored from
    // a backup). What is held is of a past that is no more, so nothing of it stays.
    this._tell(log, log.rewind(item.attempt, older ? 0 : item.keep));
    this._attach(log);
  }

  /** @param {OutputLog} log @param {Item} item */
  _end(log, item) {
    if (item.attempt < log.attempt) return;
    if (item.attempt !== log.attempt || item.entries !== log.n) {
      this._misfit(log, `an end at ${item.entries} entries`, 0);
      return;
    }
    if (log.hash && log.hash.hex() !== item.sha256) {
      if (log.retried) {
        this.outputs.delete(log.job); // its end has detached it already
        this._fail(log, `the output of ${log.job} does not have the hash that the server tells, twice: ${item.sha256}`);
        return;
      }
      log.retried = true;
      log.reset({ attempt: 0, n: 0 });
      this.effects.push({ type: "fault", code: "corrupt", message: `the output of ${log.job} has another hash than its end says; reading it again` });
      this._tell(log, { type: "rewind", attempt: 0, keep: 0, items: 0, length: 0 });
      this._attach(log);
      return;
    }
    this.outputs.delete(log.job);
    this._tell(log, { type: "end", attempt: item.attempt, entries: item.entries, sha256: item.sha256, verified: log.hash !== null });
  }

  /**
   * Something of this attempt that does not follow the cursor. After an attach that is what was under
   * way before it (never more than a window of it); else it is a fault, and is asked for again.
   * @param {OutputLog} log @param {string} what @param {number} bytes
   */
  _misfit(log, what, bytes) {
    log.ignoredBytes += bytes;
    log.missed = log.awaiting;
    if (!log.awaiting) {
      this.effects.push({ type: "fault", code: "gap", message: `${what} of ${log.job} does not follow entry ${log.n}; attaching again there` });
      this._attach(log);
    } else if (log.ignoredBytes > 2 * this.window) {
      this._fail(log, `the server does not go on with ${log.job} at entry ${log.n}: it sent ${what}`);
    }
  }

  /** @param {OutputLog} log @param {string} message */
  _fail(log, message) {
    this.detach(log.job);
    this.effects.push({ type: "fault", code: "corrupt", message });
    this.effects.push({ type: "output", job: log.job, error: new TrouperError("corrupt", message) });
  }

  /** @param {OutputLog} log */
  _attach(log) {
    log.awaiting = true;
    log.missed = false;
    log.ignoredBytes = 0;
    if (this.open) this.out.push({ t: "attach", job: log.job, attempt: log.attempt, n: log.n });
  }

  /** @param {OutputLog} log @param {OutputItem} item */
  _tell(log, item) {
    this.effects.push({ type: "output", job: log.job, item });
  }

  _pump() {
    if (!this.open) return;
    for (const command of this.pending.values()) {
      if (this._inFlight >= this.limits.inFlight) return;
      if (command.sent) continue;
      command.sent = true;
      this._inFlight += 1;
      this.out.push(command.item);
    }
  }
}

/** @param {string} text @returns {number} */
function utf8Bytes(text) {
  let bytes = text.length;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) bytes += unit > 0x7ff ? 2 : 1;
    if (unit >= 0xd800 && unit <= 0xdfff) bytes -= 1; // a pair is four bytes, two for each unit
  }
  return bytes;
}

// --- the iterator ---------------------------------------------------------------------------------

/**
 * The output of one job, as it comes. Ends after `end` or `gone`; throws TrouperError when the client
 * is closed or the output is found corrupt. Leaving a `for await` early detaches.
 *
 * A consumer that is slow stops this output only: it is paused at its cursor when `queueUnits` wait.
 * @implements {AsyncIterableIterator<OutputItem>}
 */
export class OutputStream {
  /** @param {Client} client @param {OutputLog} log */
  constructor(client, log) {
    this.job = log.job;
    this._client = client;
    this._log = log;
    /** From `_head` on; `shift` would move all the others, which are very many when each is tiny.
     * @type {OutputItem[]} */
    this._queue = [];
    this._head = 0;
    this._units = 0;
    this._paused = false;
    this._ended = false;
    /** @type {Error | null} */
    this._error = null;
    /** @type {{resolve: (result: any) => void, reject: (error: Error) => void}[]} */
    this._waiters = [];
  }

  /** What has been received, also of what is not read yet. @returns {Cursor} */
  get cursor() {
    return this._log.cursor;
  }

  /** Receives nothing more until `resume`; costs the server nothing meanwhile. */
  pause() {
    this._paused = true;
    this._flow();
  }

  resume() {
    this._paused = false;
    this._flow();
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** @returns {Promise<IteratorResult<OutputItem, undefined>>} */
  next() {
    const item = this._queue[this._head];
    if (item) {
      this._head += 1;
      if (this._head === this._queue.length || this._head >= 1024) this._compact();
      this._units -= units(item);
      this._flow();
      return Promise.resolve({ done: false, value: item });
    }
    if (this._error) {
      const error = this._error;
      this._error = null;
      return Promise.reject(error);
    }
    if (this._ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this._waiters.push({ resolve, reject }));
  }

  /** @returns {Promise<IteratorResult<OutputItem, undefined>>} */
  return() {
    this._client._detach(this);
    this._queue = [];
    this._head = 0;
    this._finish(null);
    return Promise.resolve({ done: true, value: undefined });
  }

  /** @param {OutputItem} item */
  _push(item) {
    if (this._ended) return;
    const waiter = this._waiters.shift();
    if (waiter) {
      waiter.resolve({ done: false, value: item });
    } else {
      // Of progress only the latest matters.
      if (item.type === "progress") this._dropProgress();
      this._queue.push(item);
      this._units += units(item);
      this._flow();
    }
    if (item.type === "end" || item.type === "gone") this._finish(null);
  }

  /** Lets go of what was taken, when that is half of the queue: so each item is moved once or so. */
  _compact() {
    if (this._head * 2 < this._queue.length) return;
    this._queue.splice(0, this._head);
    this._head = 0;
  }

  _dropProgress() {
    const at = this._queue.findIndex((held, index) => index >= this._head && held.type === "progress");
    if (at < 0) return;
    this._units -= units(this._queue[at]);
    this._queue.splice(at, 1);
  }

  /** @param {Error | null} error */
  _finish(error) {
    if (this._ended) return;
    this._ended = true;
    this._error = error;
    for (const waiter of this._waiters.splice(0)) {
      if (this._error) {
        waiter.reject(this._error);
        this._error = null;
      } else {
        waiter.resolve({ done: true, value: undefined });
      }
    }
  }

  _flow() {
    const limit = this._client.limits.queueUnits;
    if (this._paused || this._units > limit) this._client._pause(this, true);
    else if (this._units <= limit / 4) this._client._pause(this, false);
  }
}

/** What an item counts of `queueUnits`: its texts, and what it costs however small it is.
 * @param {OutputItem} item @returns {number} */
function units(item) {
  if (item.type === "text") return ITEM_UNITS + item.text.length;
  return item.type === "event" ? ITEM_UNITS + item.name.length + item.json.length : ITEM_UNITS;
}

// --- the shell ------------------------------------------------------------------------------------

/**
 * @typedef {object} Options
 * @property {string} [url] Default: `/ws` on the page's own host.
 * @property {string | (() => string)} [token] For gateways that ask for one; it goes into the hello.
 * @property {boolean} [visible] Default: what `document.visibilityState` says, as it changes.
 * @property {number | null} [coalesceMs] For how long the server may gather output before it sends it: 0,
 *   100 or 500; null (the default): as it chooses.
 * @property {Partial<typeof LIMITS>} [limits]
 * @property {any} [WebSocket] The class to open sockets with.
 * @property {() => number} [now] Milliseconds since the epoch.
 * @property {() => number} [random] Uniform in [0, 1).
 * @property {(callback: () => void, ms: number) => any} [setTimeout]
 * @property {(timer: any) => void} [clearTimeout]
 * @property {() => string} [newKey] Makes idempotency keys.
 * @property {any} [page] Where `document` and the events `online` and `pageshow` are; default: globalThis.
 *
 * @typedef {{direction: "in" | "out" | "note", at: number, bytes: number, item: Item}} TraceEntry
 *   A note tells of the socket itself: its item's `t` is `opening`, `closed` or `retry`.
 */

/** Opens a client, which connects at once and comes back by itself until `close`.
 * @param {Options} [options] @returns {Client} */
export function connect(options = {}) {
  return new Client(options);
}

/**
 * Events (it is an EventTarget): `notification` (detail: the row; once for each that comes while this
 * client lives), `fault` (detail: code, message). State comes by `subscribe`.
 */
export class Client extends EventTarget {
  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const scope = /** @type {any} */ (globalThis);
    this._page = options.page ?? scope;
    this._url = options.url ?? defaultUrl(scope.location);
    this._token = options.token;
    this._WebSocket = options.WebSocket ?? scope.WebSocket;
    this._random = options.random ?? Math.random;
    this._setTimeout = options.setTimeout ?? ((callback, ms) => scope.setTimeout(callback, ms));
    this._clearTimeout = options.clearTimeout ?? ((timer) => scope.clearTimeout(timer));
    this._newKey = options.newKey ?? randomKey;
    /** The client's clock, in milliseconds: `connection.retryAt` is on it. */
    this.now = options.now ?? Date.now;
    this.limits = Object.freeze({ ...LIMITS, ...options.limits });
    this._core = new ClientCore(this.limits);
    this._core.setCoalesce(options.coalesceMs ?? null);
    /** @type {Map<string, OutputStream>} */
    this._streams = new Map();
    /** @type {Map<string, {resolve: (ok: any) => void, reject: (error: Error) => void}>} */
    this._answers = new Map();
    /** @type {Set<(snapshot: Snapshot) => void>} */
    this._listeners = new Set();
    /** @type {Set<(entry: TraceEntry) => void>} */
    this._tracers = new Set();
    /** @type {any} */
    this._socket = null;
    this._failures = 0;
    this._heardAt = 0;
    /** By how much the server's clock is ahead of this one, in milliseconds. */
    this._ahead = 0;
    this._flushing = false;
    /** @type {{retry: any, connect: any, silence: any, stable: any}} */
    this._timers = { retry: null, connect: null, silence: null, stable: null };
    /** @type {Connection} */
    this._connection = Object.freeze({ status: "connecting", retryAt: null, failures: 0, code: null, reason: "" });
    /** @type {Snapshot | null} */
    this._snapshot = null;
    this._fixedVisible = options.visible;
    // React's useSyncExternalStore(client.subscribe, client.getSnapshot) calls them without the client.
    this.subscribe = this.subscribe.bind(this);
    this.getSnapshot = this.getSnapshot.bind(this);
    this._watchPage();
    this._connect();
  }

  // State

  get connection() {
    return this._connection;
  }

  /** `connecting`, `open`, `waiting` (for its next try) or `closed` (for good). */
  get state() {
    return this._connection.status;
  }

  /** What time it is by the server's clock, in seconds since the epoch: all times of rows are by it, so how long
   * a question is still open is `asking.expires_at - client.serverTime()`, however wrong this device's clock is.
   * Told with the welcome and each beat; until then it is this device's. */
  serverTime() {
    return (this.now() + this._ahead) / 1000;
  }

  /** The present state: the same object until something changes. @returns {Snapshot} */
  getSnapshot() {
    const { epoch, seq, generation, jobs, notifications, counts, places } = this._core.feed;
    this._snapshot ??= Object.freeze({
      epoch, seq, generation, jobs, notifications, counts, places, user: this._core.user, connection: this._connection,
    });
    return this._snapshot;
  }

  /** Calls back with each new state. @param {(snapshot: Snapshot) => void} listener
   * @returns {() => void} Ends it. */
  subscribe(listener) {
    const each = (/** @type {Snapshot} */ snapshot) => listener(snapshot); // its own, also of one that comes twice
    this._listeners.add(each);
    return () => this._listeners.delete(each);
  }

  /** Calls back with each item that goes or comes. @param {(entry: TraceEntry) => void} listener
   * @returns {() => void} Ends it. */
  trace(listener) {
    this._tracers.add(listener);
    return () => this._tracers.delete(listener);
  }

  // Commands. Each is answered once; one that a lost connection left unanswered is sent again. What
  // cannot be sent is rejected with the code `bad_request`, and the connection goes on.

  /**
   * Starts a job. The same `key` with the same content gives the same job, so it can be repeated.
   * `onBusy`, when the thread has active jobs: wait behind them, be refused, have them end (`interrupt`), or
   * that and their output goes (`rollback`). `at` (seconds since the epoch) or `delayS`: not to run before.
   * @param {{job: string, arguments?: Record<string, any>, thread?: string, key?: string, at?: number,
   *   delayS?: number, onBusy?: "enqueue" | "reject" | "interrupt" | "rollback"}} request
   * @returns {Promise<{job: Job, created: boolean}>}
   */
  async submit({ job, arguments: args = {}, thread, key = this._newKey(), onBusy, at, delayS }) {
    return this._ask("submit", { job, arguments: args, key, thread, on_busy: onBusy, at, delay_s: delayS });
  }

  /** Resolves when the intent is durable; the end of the job follows on the feed. @param {string} job
   * @returns {Promise<{answer: "accepted" | "already_ended" | "unknown", job: Job | null}>} */
  async cancel(job) {
    if (typeof job !== "string") throw badRequest(`cancel: job is ${said(job)}; legal is a string`);
    return this._ask("cancel", { job });
  }

  /** As `cancel`, for the job that was or will be submitted with this key. If it has not come yet, its
   * submit is cancelled from the beginning; then there is no `job` in the answer. @param {string} key
   * @returns {Promise<{answer: "accepted" | "already_ended" | "unknown", job: Job | null}>} */
  async cancelKey(key) {
    if (typeof key !== "string") throw badRequest(`cancel: key is ${said(key)}; legal is a string`);
    return this._ask("cancel", { key });
  }

  /** Sends a message to a job that has not ended. The same `key` with the same content is one message.
   * @param {string} job @param {any} message @param {string} [key]
   * @returns {Promise<{answer: "accepted" | "already_ended" | "unknown"}>} */
  async signal(job, message, key = this._newKey()) {
    return this._ask("signal", { job, message, key });
  }

  /** The messages that a job was sent with a `seq` above `after`, in their order; only an empty list is the end.
   * `after: row.messages_read` gives those that wait to be read.
   * @param {string} job @param {{after?: number, limit?: number}} [query] @returns {Promise<Message[]>} */
  async messages(job, query = {}) {
    return (await this._ask("messages", { job, ...query })).messages;
  }

  /** Answers the question that a job asks (its row's `asking`). Rejected with `bad_request` if the value does
   * not fit the question's schema. @param {string} job @param {string} key @param {any} value
   * @returns {Promise<{answer: "accepted" | "already_answered" | "not_asked" | "already_ended" | "unknown"}>} */
  async answer(job, key, value) {
    return this._ask("answer", { job, key, value });
  }

  /** @param {"seen" | "read" | "archived"} mark
   * @param {{ids: string[]} | {job: string} | {upto: number}} which @returns {Promise<Counts>} */
  async mark(mark, which) {
    return (await this._ask("mark", { ...which, mark })).counts;
  }

  /** A job with its arguments and result. @param {string} job @returns {Promise<Job>} */
  async job(job) {
    return (await this._ask("job", { job })).job;
  }

  /** Newest first. @param {{thread?: string, before?: string, limit?: number}} [query]
   * @returns {Promise<Job[]>} */
  async jobs(query = {}) {
    return (await this._ask("jobs", query)).jobs;
  }

  /** By newest job first. @param {{before?: string, limit?: number}} [query]
   * @returns {Promise<{thread: string, jobs: number, active: number, first: Job, last: Job}[]>} */
  async threads(query = {}) {
    return (await this._ask("threads", query)).threads;
  }

  /** Newest first. @param {{before?: string, limit?: number}} [query]
   * @returns {Promise<Notification[]>} */
  async notifications(query = {}) {
    return (await this._ask("notifications", query)).notifications;
  }

  /**
   * The output of a job from a cursor on, live until its end, over any number of reconnects.
   * @param {string} job @param {Cursor} [cursor] @returns {OutputStream}
   */
  output(job, cursor) {
    const stream = new OutputStream(this, this._core.attach(job, cursor));
    this._streams.set(job, stream);
    this._settle();
    return stream;
  }

  // The connection

  /** Tries again at once if it waits, or was closed by the server for good. */
  reconnect() {
    if (this.state === "waiting" || (this.state === "closed" && this._connection.code !== 1000)) this._connect();
  }

  /** Ends the client: commands and outputs under way fail with the code `closed`. */
  close() {
    const socket = this._drop();
    this._unwatchPage();
    this._closed(1000, "closed by the client");
    socket?.close(1000);
  }

  /** Cuts the connection as a failing network would; it comes back no earlier than `forMs`.
   * @param {number} [forMs] */
  debugDisconnect(forMs = 0) {
    if (!this._socket) return;
    const socket = this._drop();
    socket.close();
    this._lost(1006, "cut on purpose", forMs);
  }

  /** @param {string} name @param {Record<string, any>} fields @returns {Promise<any>} */
  _ask(name, fields) {
    if (this.state === "closed") {
      return Promise.reject(new TrouperError("closed", `the connection is closed: ${this._connection.reason}`));
    }
    return new Promise((resolve, reject) => {
      this._answers.set(this._core.command(name, fields), { resolve, reject });
      this._settle();
    });
  }

  _connect() {
    this._clear("retry");
    this._note({ t: "opening", url: this._url });
    this._become({ status: "connecting", retryAt: null });
    let socket;
    try {
      socket = new this._WebSocket(this._url, [SUBPROTOCOL]);
    } catch (error) {
      this._lost(1006, String(error));
      return;
    }
    this._socket = socket;
    const current = () => this._socket === socket;
    socket.onopen = () => {
      if (!current()) return;
      this._core.visible = this._visible();
      this._core.opened(typeof this._token === "function" ? this._token() : this._token);
      this._settle();
    };
    socket.onmessage = (/** @type {any} */ event) => current() && this._message(event.data);
    socket.onclose = (/** @type {any} */ event) => {
      if (!current()) return;
      this._drop();
      this._lost(event.code, event.reason);
    };
    this._timers.connect = this._setTimeout(() => this._giveUp("no welcome in time"), this.limits.connectMs);
  }

  /** @param {any} data */
  _message(data) {
    this._heardAt = this.now();
    let items;
    try {
      items = JSON.parse(data);
      if (!Array.isArray(items)) throw new TypeError("a message is an array of items");
      for (const item of items) this._trace("in", item);
      this._core.receive(items);
    } catch (error) {
      this._fault("bad_message", `a message of the server could not be read: ${error}`);
      this._settle();
      this._giveUp("a message that could not be read", 5000);
      return;
    }
    this._settle();
  }

  /** Tells the core's effects and sends what it wants sent, at the end of this turn. */
  _settle() {
    for (const effect of this._core.effects.splice(0)) this._effect(effect);
    if (this._flushing || !this._core.out.length) return;
    this._flushing = true;
    queueMicrotask(() => {
      this._flushing = false;
      if (this._socket && this._core.open) this._send(this._core.out.splice(0));
    });
  }

  /** @param {any} effect */
  _effect(effect) {
    if (effect.type === "reply") {
      const answer = this._answers.get(effect.id);
      this._answers.delete(effect.id);
      const { error } = effect;
      if (error) answer?.reject(new TrouperError(error.code, error.message, error.retryable));
      else answer?.resolve(effect.ok);
    } else if (effect.type === "output") {
      const stream = this._streams.get(effect.job);
      if (!stream) return;
      if (effect.error) stream._finish(effect.error);
      else stream._push(effect.item);
      if (stream._ended) this._streams.delete(effect.job);
    } else if (effect.type === "feed") {
      this._changed();
      for (const row of effect.fresh) this.dispatchEvent(new CustomEvent("notification", { detail: row }));
    } else if (effect.type === "time") {
      this._ahead = effect.now * 1000 - this._heardAt;
    } else if (effect.type === "welcome") {
      this._clear("connect");
      // Not with the welcome: a server that welcomes and fails, each time, is to be given time.
      this._timers.stable = this._setTimeout(() => {
        this._timers.stable = null;
        this._failures = 0;
      }, this.limits.stableMs);
      this._become({ status: "open", retryAt: null, failures: 0, code: null, reason: "" });
      this._listen();
    } else {
      this._fault(effect.code, effect.message);
    }
  }

  /** @param {Item[]} items */
  _send(items) {
    /** @type {string[]} */
    let message = [];
    let bytes = 0;
    const flush = () => {
      if (message.length) this._socket.send(`[${message.join(",")}]`);
      message = [];
      bytes = 0;
    };
    for (const item of items) {
      this._trace("out", item);
      const json = JSON.stringify(item);
      const size = utf8Bytes(json) + 1;
      if (bytes + size > this.limits.messageBytes) flush();
      message.push(json);
      bytes += size;
    }
    flush();
  }

  /** Judges the silence of the server; a timer that fires late (a hidden tab) still judges rightly. */
  _listen() {
    this._clear("silence");
    this._heardAt = Math.min(this._heardAt, this.now()); // the clock may have been set back
    const quiet = this.now() - this._heardAt;
    if (quiet >= this._core.silenceMs) {
      this._giveUp(`nothing was heard for ${Math.round(quiet / 1000)} s`);
      return;
    }
    this._timers.silence = this._setTimeout(() => this._listen(), this._core.silenceMs - quiet);
  }

  /** @param {string} reason @param {number} [atLeastMs] */
  _giveUp(reason, atLeastMs = 0) {
    // Its close event may take minutes on a dead network: the socket is left to itself.
    this._drop()?.close(4008);
    this._lost(4008, reason, atLeastMs);
  }

  /** Forgets the socket; the caller closes it. */
  _drop() {
    const socket = this._socket;
    this._socket = null;
    this._core.lost();
    for (const name of /** @type {const} */ (["retry", "connect", "silence", "stable"])) this._clear(name);
    return socket;
  }

  /** @param {number} code @param {string} reason @param {number} [atLeastMs] */
  _lost(code, reason, atLeastMs = 0) {
    this._note({ t: "closed", code, reason });
    if (code >= 4500 && code < 4600) { // 1000 as well is a server, or a proxy, that goes: `close` is not told here
      this._closed(code, reason);
      return;
    }
    const most = Math.min(this.limits.backoffMaxMs, this.limits.backoffMs * 2 ** Math.min(this._failures, 30));
    const delay = Math.max(atLeastMs, this._random() * most);
    this._failures += 1;
    this._timers.retry = this._setTimeout(() => this._connect(), delay);
    this._note({ t: "retry", in_ms: Math.round(delay), failures: this._failures });
    this._become({ status: "waiting", retryAt: this.now() + delay, failures: this._failures, code, reason });
  }

  /** @param {number} code @param {string} reason */
  _closed(code, reason) {
    this._become({ status: "closed", retryAt: null, code, reason });
    const error = new TrouperError("closed", `the connection is closed (${code}): ${reason}`);
    for (const answer of this._answers.values()) answer.reject(error);
    for (const stream of this._streams.values()) stream._finish(error);
    this._answers.clear();
    this._streams.clear();
    this._core.pending.clear();
    this._core.outputs.clear();
  }

  /** @param {Partial<Connection>} change */
  _become(change) {
    this._connection = Object.freeze({ ...this._connection, ...change });
    this._changed();
  }

  _changed() {
    this._snapshot = null;
    for (const listener of this._listeners) guard(() => listener(this.getSnapshot()));
  }

  /** @param {OutputStream} stream @param {boolean} paused */
  _pause(stream, paused) {
    if (this._streams.get(stream.job) !== stream || stream._log.paused === paused) return;
    if (paused) this._core.pause(stream.job);
    else this._core.resume(stream.job);
    this._settle();
  }

  /** @param {OutputStream} stream */
  _detach(stream) {
    if (this._streams.get(stream.job) !== stream) return;
    this._streams.delete(stream.job);
    this._core.detach(stream.job);
    this._settle();
  }

  // The page

  /** For how long the server may gather output before it sends it, from now on and on later connections.
   * Throws TrouperError `bad_request`.
   * @param {number | null} ms 0, 100 or 500 milliseconds; null: as the server chooses. */
  setCoalesce(ms) {
    this._core.setCoalesce(ms);
    this._settle();
  }

  _visible() {
    return this._fixedVisible ?? this._page.document?.visibilityState !== "hidden";
  }

  _watchPage() {
    this._onPage = (/** @type {any} */ event) => {
      this._core.setVisible(this._visible());
      this._settle();
      // A person looks, or the network is back: no reason to sit out a delay, nor a dead socket.
      if (this.state === "waiting" && (event.type === "online" || this._visible())) this._connect();
      else if (this.state === "open") this._listen();
    };
    this._page.document?.addEventListener("visibilitychange", this._onPage);
    this._page.addEventListener?.("online", this._onPage);
    this._page.addEventListener?.("pageshow", this._onPage);
  }

  _unwatchPage() {
    this._page.document?.removeEventListener("visibilitychange", this._onPage);
    this._page.removeEventListener?.("online", this._onPage);
    this._page.removeEventListener?.("pageshow", this._onPage);
  }

  // Small things

  /** @param {"retry" | "connect" | "silence" | "stable"} name */
  _clear(name) {
    if (this._timers[name] !== null) this._clearTimeout(this._timers[name]);
    this._timers[name] = null;
  }

  /** @param {string} code @param {string} message */
  _fault(code, message) {
    this.dispatchEvent(new CustomEvent("fault", { detail: { code, message } }));
  }

  /** @param {Item} item */
  _note(item) {
    this._trace("note", item);
  }

  /** @param {"in" | "out" | "note"} direction @param {Item} item */
  _trace(direction, item) {
    if (!this._tracers.size) return;
    const bytes = direction === "note" ? 0 : utf8Bytes(JSON.stringify(item));
    const entry = Object.freeze({ direction, at: this.now(), bytes, item });
    for (const tracer of this._tracers) guard(() => tracer(entry));
  }
}

/** A listener's fault is its own: the page's error handler is told, and the others go on.
 * @param {() => void} call */
function guard(call) {
  try {
    call();
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}

/** @param {any} location */
function defaultUrl(location) {
  if (!location) throw new TrouperError("bad_request", "connect() needs a url where there is no page to take it from");
  const url = new URL("/ws", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

function randomKey() {
  // crypto.randomUUID is missing on plain http; this is not.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
