/** What the tests put in the place of a server, a clock and a page. */

import { createHash } from "node:crypto";
import { register } from "node:module";

/** The client. The page imports it by its address on the server; here that is a file, for what is imported next. */
export function here() {
  const client = new URL("../../../transport/browser/trouper.js", import.meta.url).href;
  const resolve = `export const resolve = (name, context, next) => next(name === "/_trouper/trouper.js" ? ${JSON.stringify(client)} : name, context);`;
  register(`data:text/javascript,${encodeURIComponent(resolve)}`);
  return import(client);
}

/** mulberry32: the same numbers for the same seed, everywhere. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const WELCOME = {
  t: "welcome", protocol: 1, session: "s1", user: "ada", epoch: "e1", beat_ms: 25_000, silence_ms: 35_000, window: 262_144,
};

export const NO_COUNTS = { unseen: 0, unread: 0 };

export const snapshot = (seq = 0, more = {}) => ({
  t: "snapshot", epoch: "e1", seq, jobs: [], notifications: [], counts: NO_COUNTS, ...more,
});

export const feed = (prev, seq, more = {}) => ({
  t: "feed", epoch: "e1", prev, seq, jobs: [], notifications: [], counts: NO_COUNTS, ...more,
});

/** SHA-256 over entries, as the protocol says. */
export function logHash(entries) {
  const hash = createHash("sha256");
  for (const entry of entries) hash.update(typeof entry === "string" ? entry : `\0${entry[0]}\0${entry[1]}\0`);
  return hash.digest("hex");
}

/** Entries as the parts of a frame. */
export function joined(entries) {
  const parts = [];
  for (const entry of entries) {
    const last = parts.length - 1;
    if (typeof entry === "string" && typeof parts[last] === "string") parts[last] += entry;
    else parts.push(entry);
  }
  return parts;
}

/** What a consumer of an output holds: the text and events so far, cut back at rewinds. */
export class Held {
  constructor() {
    this.items = [];
    this.text = "";
    this.end = null;
  }

  take(item) {
    if (item.type === "text") {
      this.items.push(item);
      this.text += item.text;
    } else if (item.type === "event") {
      this.items.push(item);
    } else if (item.type === "rewind") {
      this.items.length = item.items;
      this.text = this.text.slice(0, item.length);
    } else if (item.type === "end") {
      this.end = item;
    }
  }

  get hash() {
    return logHash(this.items.map((item) => (item.type === "text" ? item.text : [item.name, item.json])));
  }
}

/** Timers and a clock that move when told to. */
export class Clock {
  constructor() {
    this.at = 1_000_000;
    this.timers = new Map();
    this.made = 0;
    this.now = () => this.at;
    this.setTimeout = (callback, ms) => {
      this.timers.set((this.made += 1), { callback, due: this.at + ms });
      return this.made;
    };
    this.clearTimeout = (timer) => this.timers.delete(timer);
  }

  /** Moves on by `ms`, firing what falls due in order. */
  async pass(ms) {
    const end = this.at + ms;
    await settled();
    for (;;) {
      const [first] = [...this.timers].filter(([, timer]) => timer.due <= end).sort((a, b) => a[1].due - b[1].due);
      if (!first) break;
      this.timers.delete(first[0]);
      this.at = Math.max(this.at, first[1].due);
      first[1].callback();
      await settled();
    }
    this.at = end;
  }
}

/** Lets every promise that can go on do so. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** A class of sockets whose other end is the test. */
export function sockets() {
  const opened = [];
  class Socket {
    constructor(url, protocols) {
      Object.assign(this, { url, protocols, received: [], messages: 0, closedWith: null });
      opened.push(this);
    }

    send(text) {
      this.messages += 1;
      this.received.push(...JSON.parse(text));
    }

    close(code) {
      this.closedWith = code ?? 1005;
    }

    /** The server accepts, greets, and says what it has. */
    greet(...items) {
      this.onopen();
      this.say(WELCOME, ...items);
    }

    say(...items) {
      this.onmessage({ data: JSON.stringify(items) });
    }

    fail(code = 1006, reason = "") {
      this.onclose({ code, reason });
    }

    /** What came since the last call, beats and all. */
    heard() {
      return this.received.splice(0);
    }
  }
  return { Socket, opened, latest: () => opened[opened.length - 1] };
}

/** A page whose visibility and network the test decides. */
export function page() {
  const made = new EventTarget();
  made.document = new EventTarget();
  made.document.visibilityState = "visible";
  return made;
}
