/**
 * What the page knows: conversations, their jobs, what is unread. No DOM.
 *
 * The feed brings every change by itself; commands are asked once for what the feed does not hold
 * (older things, arguments). Nothing is asked again on a timer.
 */

import { TrouperError, holderOf } from "/_trouper/trouper.js";
import { time } from "./dom.js";
import { Talk } from "./talk.js";

const PAGE = 20;
const THREADS = 50;
/** Tries of a submit that was refused for now (the server is full, or going down). */
const TRIES = 8;

/** @param {{state: string}} job */
export const active = (job) => job.state === "queued" || job.state === "running";

/** It waits for a person. @param {{state: string, asking?: any}} job */
export const asks = (job) => job.state === "queued" && Boolean(job.asking);

/** Two values as one order: by time, then by id. @param {any} a @param {any} b */
const byAge = (a, b) => a.created_at - b.created_at || (a.id < b.id ? -1 : 1);

/** A name for a new conversation: unguessable is not needed, unique is. */
function newName() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("");
}

/** @param {number} ms @returns {Promise<void>} */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One conversation of the sidebar.
 * @typedef {{thread: string, first: any, at: number, live: boolean, asks: boolean, unread: boolean}} Thread */

/** What was sent and not yet answered, shown in the conversation meanwhile.
 * @typedef {{key: string, thread: string, job: string, text: string, created_at: number, problem: string}} Sending */

export class Chat {
  /**
   * @param {import("/_trouper/trouper.js").Client} client
   * @param {{user: string, demo: boolean, jobs: any[]}} config @param {() => void} changed
   */
  constructor(client, config, changed) {
    this.client = client;
    this.config = config;
    this.changed = changed;
    this.talk = new Talk(client, newName, changed);
    /** Every job row that came, merged. @type {Map<string, any>} */
    this.rows = new Map();
    /** thread → its oldest and newest job, as far as known. @type {Map<string, {first: any, at: number}>} */
    this.threadRows = new Map();
    this.moreThreads = false;
    /** The conversation on screen; null: a new one. @type {string | null} */
    this.thread = null;
    /** Why it cannot be shown; "" if it can. */
    this.problem = "";
    /** The conversations whose jobs were asked for, each with whether there are older ones.
     * @type {Map<string, boolean>} */
    this.loaded = new Map();
    /** @type {Sending[]} */
    this.sending = [];
    /** Notifications beyond those of the feed, asked for. @type {Map<string, any>} */
    this.oldNotifications = new Map();
    this.moreNotifications = true;
    /** Titles that jobs found for themselves. @type {Map<string, string>} */
    this.titles = new Map();
    this._seen = { generation: 0, jobs: /** @type {any} */ (null) };
    this._asked = new Set();
    /** Ended jobs of the open conversation whose notifications may be too old for the feed's list. */
    this._unlisted = new Set();
    client.subscribe((snapshot) => this._feed(snapshot));
  }

  get snapshot() {
    return this.client.getSnapshot();
  }

  // What is shown

  /** Newest first. @returns {Thread[]} */
  threads() {
    const jobs = [...this.snapshot.jobs.values()].filter(active);
    const live = new Set(jobs.filter((job) => !asks(job)).map((job) => job.thread));
    const asking = new Set(jobs.filter(asks).map((job) => job.thread));
    const unread = new Set(this.notifications().filter((row) => !row.read).map((row) => row.thread));
    const threads = [...this.threadRows].map(([thread, { first, at }]) => ({
      thread, first: this.rows.get(first) ?? null, at, live: live.has(thread), asks: asking.has(thread), unread: unread.has(thread),
    }));
    return threads.sort((a, b) => b.at - a.at || (a.thread < b.thread ? 1 : -1));
  }

  /** The jobs of the open conversation, oldest first, without a gap. */
  jobs() {
    if (this.thread === null) return [];
    return [...this.rows.values()].filter((row) => row.thread === this.thread && row.inOrder).sort(byAge);
  }

  get loading() {
    if (this.thread === null || this.problem || this.loaded.has(this.thread)) return false;
    return !this.sending.some((each) => each.thread === this.thread);
  }

  get moreJobs() {
    return this.thread !== null && this.loaded.get(this.thread) === true;
  }

  /** Newest first, not archived. @returns {any[]} */
  notifications() {
    const { notifications } = this.snapshot;
    const held = new Set(notifications.map((row) => row.id));
    return [...notifications, ...[...this.oldNotifications.values()].filter((row) => !held.has(row.id))];
  }

  /** @param {any} job */
  labelOf(job) {
    return this.config.jobs.find((each) => each.name === job.name)?.label ?? job.name;
  }

  /** What holds it up in its conversation, in words; "" if nothing does. @param {any} job */
  held(job) {
    const holder = holderOf(this.snapshot, job);
    if (!holder) return "";
    return asks(holder) ? "waits for your answer above" : "waits for the one before it";
  }

  /** What it may be told while it runs, as suggestions; null if it does not listen. @param {any} job @returns {string[] | null} */
  listens(job) {
    return this.config.jobs.find((each) => each.name === job.name)?.told ?? null;
  }

  /** What a person typed to start it, "" if nothing. @param {any} job */
  questionOf(job) {
    const argument = this.config.jobs.find((each) => each.name === job.name)?.argument;
    return argument ? String(job.arguments?.[argument] ?? "") : "";
  }

  /** @param {string | null} thread */
  titleOf(thread) {
    const row = thread === null ? null : this.rows.get(this.threadRows.get(thread)?.first);
    if (!row) return this.loading || this.problem ? "" : "New conversation";
    const found = row.result?.title || this.titles.get(row.id) || this.questionOf(row);
    return found || `${this.labelOf(row)} · ${time(row.created_at)}`;
  }

  /** A job has found a title for what it was asked. @param {string} job @param {string} title */
  entitle(job, title) {
    if (this.titles.get(job) === title) return;
    this.titles.set(job, title);
    this.changed();
  }

  // The feed

  /** @param {any} snapshot */
  _feed(snapshot) {
    const before = this._seen;
    this._seen = { generation: snapshot.generation, jobs: snapshot.jobs };
    if (snapshot.jobs !== before.jobs) {
      for (const [id, row] of snapshot.jobs) if (before.jobs?.get(id) !== row) this._row(row, this.loaded.has(row.thread));
    }
    if (before.generation && before.generation !== snapshot.generation) this._reload();
    this.changed();
  }

  /** Everything may have changed unheard. */
  async _reload() {
    this.oldNotifications.clear();
    this.moreNotifications = true;
    for (const [id, row] of this.rows) if (row.thread !== this.thread) this.rows.set(id, { ...row, inOrder: false });
    for (const thread of [...this.loaded.keys()]) if (thread !== this.thread) this.loaded.delete(thread);
    await this.loadThreads();
    if (this.thread !== null) await this._show(this.thread);
  }

  /**
   * A row as it is now; it may lack what an earlier one had (arguments). @param {any} row
   * @param {boolean} [inOrder] Nothing is missing between it and the newest of its conversation.
   */
  _row(row, inOrder = false) {
    const held = this.rows.get(row.id);
    const merged = held && held.seq > row.seq ? { ...row, ...held } : { ...held, ...row };
    merged.inOrder = inOrder || held?.inOrder === true;
    this.rows.set(row.id, merged);
    if (row.thread === null) return;
    const thread = this.threadRows.get(row.thread);
    if (!thread) this.threadRows.set(row.thread, { first: row.id, at: row.created_at });
    else {
      thread.at = Math.max(thread.at, row.created_at);
      const first = this.rows.get(thread.first);
      if (!first || row.created_at < first.created_at) thread.first = row.id;
    }
    if (merged.arguments === undefined) this._complete(row.id);
  }

  /** Started elsewhere: the feed does not carry what was asked. @param {string} id */
  async _complete(id) {
    if (this._asked.has(id)) return;
    this._asked.add(id);
    try {
      this._row(await this.client.job(id));
      this.changed();
    } catch (error) {
      if (!(error instanceof TrouperError)) throw error; // it was removed meanwhile, or we are closed
    } finally {
      this._asked.delete(id);
    }
  }

  // Asking for what is older

  async loadThreads(before = /** @type {string | undefined} */ (undefined)) {
    const threads = await this.client.threads({ before, limit: THREADS });
    for (const { thread, first, last } of threads) {
      this._row(first);
      this._row(last);
      this.threadRows.set(thread, { first: first.id, at: last.created_at });
    }
    this.moreThreads = threads.length === THREADS;
    this.changed();
  }

  async loadOlderThreads() {
    const oldest = this.threads().at(-1);
    if (oldest) await this.loadThreads(oldest.thread);
  }

  /** @param {string} thread @param {string} [before] A job id. */
  async load(thread, before) {
    const jobs = await this.client.jobs({ thread, before, limit: PAGE });
    for (const job of jobs) this._row(job, true);
    this.loaded.set(thread, jobs.length === PAGE);
    this.changed();
    if (thread !== this.thread) return;
    // What is unread but too old for the feed's list is found by its job.
    const listed = this.notifications().filter((row) => !row.read).length;
    if (this.snapshot.counts.unread <= listed) return;
    for (const job of jobs) if (!active(job)) this._unlisted.add(job.id);
    await this.readOpen();
  }

  /** Loads the open conversation, or says why it cannot be shown. @param {string} thread */
  async _show(thread) {
    this.problem = "";
    try {
      await this.load(thread);
    } catch (error) {
      if (!(error instanceof TrouperError)) throw error;
      if (thread !== this.thread) return;
      this.problem = `This conversation cannot be shown: ${error.message}`;
      this.changed();
    }
  }

  async loadOlderJobs() {
    const [oldest] = this.jobs();
    if (this.thread !== null && oldest) await this.load(this.thread, oldest.id);
  }

  async loadOlderNotifications() {
    const rows = await this.client.notifications({ before: this.notifications().at(-1)?.id, limit: PAGE });
    for (const row of rows) this.oldNotifications.set(row.id, row);
    this.moreNotifications = rows.length === PAGE;
    this.changed();
  }

  // Doing

  /** @param {string | null} thread */
  async open(thread) {
    if (thread === this.thread) return;
    this.thread = thread;
    this.problem = "";
    this._unlisted.clear();
    this.changed();
    if (thread !== null && !this.loaded.has(thread)) await this._show(thread);
  }

  /** What is unread of the open conversation has been read, if somebody looks. */
  async readOpen() {
    if (this.thread === null || document.visibilityState === "hidden") return;
    const unlisted = [...this._unlisted];
    this._unlisted.clear();
    const ids = this.notifications().filter((row) => row.thread === this.thread && !row.read).map((row) => row.id);
    const fresh = ids.filter((id) => !this._asked.has(id));
    if (fresh.length) await this.read(fresh);
    for (const job of unlisted) await this.client.mark("read", { job });
  }

  /** @param {string[]} ids */
  async read(ids) {
    for (const id of ids) this._asked.add(id);
    try {
      for (let at = 0; at < ids.length; at += 500) await this.client.mark("read", { ids: ids.slice(at, at + 500) });
      this._markOld((row) => ids.includes(row.id));
    } catch (error) {
      for (const id of ids) this._asked.delete(id);
      throw error;
    }
  }

  async readAll() {
    const { seq } = this.snapshot;
    await this.client.mark("read", { upto: seq });
    this._markOld((row) => row.seq <= seq);
  }

  /** @param {(row: any) => boolean} which */
  _markOld(which) {
    for (const [id, row] of this.oldNotifications) if (which(row)) this.oldNotifications.set(id, { ...row, read: true });
    this.changed();
  }

  /** Starts a job in the open conversation, or in a new one. Returns its thread.
   * @param {string} name @param {string} text */
  send(name, text) {
    const thread = this.thread ?? newName();
    const sending = { key: newName() + newName(), thread, job: name, text, created_at: this.client.serverTime(), problem: "" };
    this.sending.push(sending);
    this._submit(sending);
    return thread;
  }

  /** @param {Sending} sending */
  async _submit(sending) {
    const { argument } = this.config.jobs.find((each) => each.name === sending.job);
    const request = {
      job: sending.job, thread: sending.thread, key: sending.key, arguments: argument ? { [argument]: sending.text } : {},
    };
    for (let count = 1; ; count += 1) {
      try {
        const { job } = await this.client.submit(request);
        this._row(job, this.loaded.has(sending.thread) || !this.threadRows.has(sending.thread));
        this.dismiss(sending);
        return;
      } catch (error) {
        const { retryable, message } = /** @type {TrouperError} */ (error);
        if (!retryable || count === TRIES) {
          sending.problem = message;
          this.changed();
          return;
        }
        await pause(500 * count);
      }
    }
  }

  /** @param {Sending} sending */
  dismiss(sending) {
    this.sending = this.sending.filter((each) => each !== sending);
    this.changed();
  }

  /** Stops what has been sent before anybody knows whether it arrived: its submit, now or when it is tried
   * again, gives a job that is cancelled. @param {Sending} sending */
  async stopSending(sending) {
    const { job: row } = await this.client.cancelKey(sending.key);
    if (row) this._row(row);
    this.changed();
  }

  /** @param {string} job */
  async stop(job) {
    const { job: row } = await this.client.cancel(job);
    if (row) this._row(row);
    this.changed();
  }
}
