/**
 * What the page holds of outputs: one buffer for each job that was looked at.
 *
 * Only what is on screen is attached: an output that nobody watches is paused at its cursor, and goes
 * on from there when its conversation is opened again.
 */

import { Sha256 } from "/_trouper/trouper.js";

/** Outputs read at a time; the next waits until one has ended. A session may have 256. */
const READING = 96;
/** Outputs that have not ended and are kept at their cursor while their conversation is not open. */
const PAUSED = 24;
/** UTF-16 units of text kept of conversations that are not open. */
const KEPT_UNITS = 16 << 20;

/** The text and events of one job's output, as far as they have come. */
export class Buffer {
  /** @param {string} job */
  constructor(job) {
    this.job = job;
    this.text = "";
    /** `at`: how many text and event items came before it. @type {{at: number, name: string, data: any}[]} */
    this.events = [];
    this.items = 0;
    /** @type {{done: number, total: number | null, note: string | null} | null} */
    this.progress = null;
    this.rewinds = 0;
    /** @type {"waiting" | "reading" | "ended" | "gone" | "failed"} */
    this.status = "waiting";
    this.problem = "";
    this.attempt = 0;
    this.entries = 0;
    /** @type {string | null} */
    this.sha256 = null;
    this.verified = false;
    /** @type {any} */
    this.stream = null;
    this.shown = false;
    /** Called with what came; set by the view that shows it. @type {((item: any) => void) | null} */
    this.listener = null;
  }

  get over() {
    return this.status === "ended" || this.status === "gone" || this.status === "failed";
  }

  /** @param {any} item */
  take(item) {
    if (item.type === "text") {
      this.text += item.text;
      this.items += 1;
    } else if (item.type === "event") {
      this.events.push({ at: this.items, name: item.name, data: item.data });
      this.items += 1;
    } else if (item.type === "rewind") {
      this.text = this.text.slice(0, item.length);
      this.items = item.items;
      this.events = this.events.filter((event) => event.at < item.items);
      this.entries = item.keep;
      this.progress = null;
      // The first rewind only tells a new reader which attempt it reads.
      if (this.attempt > 0) this.rewinds += 1;
    } else if (item.type === "progress") {
      this.progress = item;
    } else if (item.type === "end") {
      this.status = "ended";
      this.entries = item.entries;
      this.sha256 = item.sha256;
      this.verified = item.verified;
    } else if (item.type === "gone") {
      this.status = "gone";
    }
    if (item.attempt !== undefined) this.attempt = item.attempt;
    if (item.n) this.entries = item.n;
    this.listener?.(item);
  }

  /** SHA-256 (hex) of the text alone. */
  get textHash() {
    return new Sha256().text(this.text).hex();
  }
}

export class Outputs {
  /** @param {import("/_trouper/trouper.js").Client} client */
  constructor(client) {
    this.client = client;
    /** In the order of their last use. @type {Map<string, Buffer>} */
    this.buffers = new Map();
    this.reading = 0;
  }

  /** @param {string} job */
  get(job) {
    return this.buffers.get(job);
  }

  /** These are on screen now, the most wanted first; nothing else is. @param {string[]} jobs */
  show(jobs) {
    const wanted = new Set(jobs);
    for (const buffer of this.buffers.values()) {
      if (wanted.has(buffer.job) || !buffer.shown) continue;
      buffer.shown = false;
      buffer.listener = null;
      buffer.stream?.pause();
    }
    for (const job of jobs) {
      const buffer = this.buffers.get(job) ?? new Buffer(job);
      this.buffers.delete(job);
      this.buffers.set(job, buffer);
      if (!buffer.shown) buffer.stream?.resume();
      buffer.shown = true;
    }
    this._forget();
    this._start();
  }

  _start() {
    for (const buffer of [...this.buffers.values()].filter((each) => each.shown)) {
      if (this.reading >= READING) return;
      if (buffer.status === "waiting") this._read(buffer);
    }
  }

  /** @param {Buffer} buffer */
  async _read(buffer) {
    buffer.status = "reading";
    this.reading += 1;
    try {
      buffer.stream = this.client.output(buffer.job);
      for await (const item of buffer.stream) buffer.take(item);
    } catch (error) {
      buffer.status = "failed";
      buffer.problem = /** @type {Error} */ (error).message;
      buffer.listener?.({ type: "failed" });
    }
    buffer.stream = null;
    this.reading -= 1;
    if (!buffer.over) buffer.status = "waiting"; // it was let go before its end
    this._start();
  }

  _forget() {
    let units = 0;
    let paused = 0;
    for (const buffer of [...this.buffers.values()].reverse()) {
      units += buffer.text.length;
      if (buffer.shown) continue;
      if (!buffer.over) paused += 1;
      if (units <= KEPT_UNITS && paused <= PAUSED) continue;
      buffer.stream?.return();
      this.buffers.delete(buffer.job);
    }
  }
}
