/** What people say to jobs: answers to their questions, and messages while they run. No DOM. */

import { TrouperError } from "/_trouper/trouper.js";

/** What became of an answer that was not taken. */
const REFUSALS = {
  already_answered: "Your answer came after another",
  not_asked: "Your answer came too late",
  already_ended: "Your answer came after the end",
  unknown: "Your answer came to work that is gone",
};

/** Messages to one job that are remembered here, the newest. */
const KEPT = 50;

/** What a message of any device says. @param {any} message */
const textOf = (message) => String(message?.text ?? (typeof message === "string" ? message : JSON.stringify(message)));

/** After which what the server could not tell now is asked again. */
const RETRY_MS = 2000;

/** A message to a job that this tab sent: `accepted` is durable, and is read by the job later.
 * @typedef {{key: string, text: string, status: "sending" | "accepted" | "failed", problem: string}} Said */

export class Talk {
  /** @param {import("/_trouper/trouper.js").Client} client @param {() => string} newKey @param {() => void} changed */
  constructor(client, newKey, changed) {
    this.client = client;
    this.newKey = newKey;
    this.changed = changed;
    /** What was typed and not sent, by where: it outlives a look at another conversation. @type {Map<string, any>} */
    this.drafts = new Map();
    /** By job. @type {Map<string, Said[]>} */
    this.said = new Map();
    /** Of all devices, by job: those above `after`, up to `upto`. @type {Map<string, {after: number, upto: number, rows: any[]}>} */
    this.sent = new Map();
  }

  /**
   * Asks for the messages that the job has not read, if its row counts some that are not known here: what was sent
   * by another device, or before this page was loaded. @param {any} job
   */
  async _ask({ id, messages, messages_read: read }) {
    const held = this.sent.get(id) ?? { after: read, upto: read, rows: [] };
    if (!(messages > held.upto || read < held.after) || !(messages > read)) return;
    this.sent.set(id, { ...held, after: Math.min(read, held.after), upto: messages }); // not asked for twice
    try {
      const rows = [];
      let page;
      do rows.push(...(page = await this.client.messages(id, { after: rows.at(-1)?.seq ?? read, limit: 100 })));
      while (page.length && rows.at(-1).seq < messages);
      this.sent.set(id, { after: read, upto: rows.at(-1)?.seq ?? messages, rows });
      this.changed();
    } catch (error) {
      if (!(error instanceof TrouperError)) throw error;
      // Else the next change of its row asks again.
      if (error.retryable) setTimeout(() => this.sent.delete(id) && this.changed(), RETRY_MS);
    }
  }

  /**
   * Answers a question. What is given: null if the answer was taken, else what is to be told.
   * `refused`: the value does not fit, `lost`: the question is not open any more.
   * @param {string} job @param {string} key @param {any} value
   * @returns {Promise<{refused?: string, lost?: string} | null>}
   */
  async answer(job, key, value) {
    try {
      const { answer } = await this.client.answer(job, key, value);
      return answer === "accepted" ? null : { lost: REFUSALS[answer] ?? answer };
    } catch (error) {
      return { refused: /** @type {Error} */ (error).message };
    }
  }

  /** Sends a message to a job. @param {string} job @param {string} text */
  async tell(job, text) {
    /** @type {Said} */
    const said = { key: this.newKey(), text, status: "sending", problem: "" };
    this.said.set(job, [...(this.said.get(job) ?? []), said].slice(-KEPT));
    this.changed();
    try {
      const { answer } = await this.client.signal(job, { text }, said.key);
      if (answer === "accepted") said.status = "accepted";
      else Object.assign(said, { status: "failed", problem: "the work had ended before" });
    } catch (error) {
      Object.assign(said, { status: "failed", problem: /** @type {Error} */ (error).message });
    }
    this.changed();
  }

  /** @param {string} job @param {string} key */
  forget(job, key) {
    this.said.set(job, (this.said.get(job) ?? []).filter((each) => each.key !== key));
    this.changed();
  }

  /**
   * What was said to a job, in order: what it has read (its `heard` events), then what it has not.
   * @param {any} job Its row. @param {{data: any}[]} heard @param {boolean} over The job reads nothing any more.
   * @returns {{key: string, text: string, status: "heard" | "unheard" | Said["status"], note: string}[]}
   */
  of(job, heard, over) {
    this._ask(job);
    const read = heard.map(({ data }) => ({
      key: String(data?.id), text: String(data?.text ?? ""), status: /** @type {const} */ ("heard"), note: String(data?.reply ?? ""),
    }));
    const known = new Set(read.map((each) => each.key));
    const waits = /** @type {const} */ (over ? "unheard" : "accepted");
    const sent = (this.sent.get(job.id)?.rows ?? []).filter((each) => !known.has(each.key)).map(({ seq, key, message }) => ({
      key, text: textOf(message), status: seq > job.messages_read ? waits : /** @type {const} */ ("heard"), note: "",
    }));
    for (const { key } of sent) known.add(key);
    const own = (this.said.get(job.id) ?? []).filter((each) => !known.has(each.key)).map(({ key, text, status, problem }) => ({
      key, text, status: status === "accepted" ? waits : status, note: problem,
    }));
    return [...read, ...sent, ...own];
  }
}
