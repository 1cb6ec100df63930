/** One job in a conversation: what was asked, and what comes of it. */

import { active, asks } from "./chat.js";
import { announce, duration, h, reconcile, setText, soon, time } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { QuestionView } from "./question.js";
import { SteerView } from "./steer.js";

const STATES = {
  queued: "queued", running: "running", completed: "completed", failed: "failed", cancelled: "stopped",
  timed_out: "timed out", lost: "lost",
};

/** What an attempt ended with, where another one follows; an answer that it goes on with is none of these. */
const WENT_ON = { crash: "an error", idle_timeout: "a standstill", process_death: "an interruption", released: "a restart of the server" };

/** What an ended job that did not complete says, where it has no error of its own. */
const ENDINGS = {
  cancelled: "Stopped.",
  timed_out: "This took longer than it may.",
  lost: "This was interrupted too often, or at a step that must not be repeated, and was given up.",
};

export class MessageView {
  /** @param {import("./chat.js").Chat} chat @param {any} job */
  constructor(chat, job) {
    this.chat = chat;
    this.job = job;
    /** @type {import("./outputs.js").Buffer | null} */
    this.buffer = null;
    this.draw = () => this._output();
    this.question = h("div", { class: "asked" });
    this.label = h("span", { class: "label" });
    this.chip = h("span", { class: "chip", data: { testid: "state" } });
    this.stop = h("button", { type: "button", class: "stop", data: { testid: "stop" }, onclick: () => chat.stop(job.id) }, "Stop");
    this.bar = h("progress", { data: { testid: "progress" }, "aria-label": "Progress" });
    this.note = h("span", { class: "hint" });
    this.progress = h("div", { class: "progress", hidden: true }, this.bar, this.note);
    this.output = h("div", { class: "markdown", data: { testid: "output", job: job.id } });
    this.markdown = new MarkdownView(this.output);
    this.places = h("ol", { class: "places" });
    this.sources = h("details", { class: "sources", open: true, hidden: true }, h("summary", { text: "Places found" }), this.places);
    this.asking = new QuestionView(chat.talk, job.id);
    this.steer = new SteerView(chat.talk, job.id, chat.labelOf(job), chat.listens(job) ?? []);
    this.error = h("p", { class: "problem", data: { testid: "error" }, hidden: true });
    this.foot = h("span", { class: "hint" });
    this.copy = h("button", { type: "button", class: "quiet", onclick: () => this._copy() }, "Copy");
    this.copy.hidden = true;
    this.element = h(
      "article",
      { class: "message", data: { testid: "message", job: job.id } },
      this.question,
      h(
        "div",
        { class: "answer" },
        h("div", { class: "status" }, h("header", {}, this.label, this.chip, this.stop), this.progress),
        this.output,
        this.sources,
        this.asking.settled,
        this.steer.element,
        this.asking.box,
        this.error,
        h("footer", {}, this.foot, this.copy),
      ),
    );
  }

  /** @param {import("./outputs.js").Buffer} buffer */
  attach(buffer) {
    if (this.buffer === buffer && buffer.listener) return;
    this.buffer = buffer;
    buffer.listener = (item) => {
      if (item.type === "rewind") this.markdown.cut(item.length);
      this.changed();
    };
    this.changed();
  }

  changed() {
    soon(this.draw);
  }

  /** @param {any} job */
  update(job) {
    const before = this.job;
    this.job = job;
    const question = this.chat.questionOf(job);
    setText(this.question, question);
    this.question.hidden = question === "";
    setText(this.label, this.chat.labelOf(job));
    this.element.dataset.state = job.state;
    this.element.dataset.attempt = job.attempt;
    this.output.setAttribute("aria-busy", String(active(job) && !asks(job)));
    if (active(before) && !active(job)) announce(`${this.chat.labelOf(job)}: ${STATES[job.state]}`);
    if (asks(job) && job.asking.key !== before.asking?.key) announce(`${this.chat.labelOf(job)} asks: ${job.asking.question}`);
    this._talk();
    this._state();
    this._foot();
  }

  /** @param {string} name @returns {any[]} */
  _told(name) {
    return this.buffer?.events.filter((event) => event.name === name) ?? [];
  }

  /** What it asks and is told. */
  _talk() {
    const { job } = this;
    this.asking.update(job, this._told("answered"));
    const listens = active(job) && !asks(job) && !job.cancel_requested && this.chat.listens(job) !== null;
    this.steer.update(listens, job, this._told("heard"));
  }

  _state() {
    const { job } = this;
    let text = STATES[job.state] ?? job.state;
    if (active(job) && job.cancel_requested) text = "stopping…";
    else if (asks(job)) text = "waiting for your answer";
    else if (job.state === "running" && job.attempts_used) text += `, attempt ${job.attempts_used + 1}`;
    else if (job.state === "queued" && this.chat.held(job)) text = `queued, ${this.chat.held(job)}`;
    else if (job.state === "queued" && this.chat.snapshot.places.has(job.id)) {
      const place = this.chat.snapshot.places.get(job.id);
      text = place === 1 ? "queued, next to start" : `queued, number ${place} in line`;
    } else if (job.state === "queued" && job.reason === "unknown_job") text = "waiting: this is not offered at present";
    else if (job.state === "queued" && job.reason === "answered") text = "answered, starts again soon";
    else if (job.state === "queued" && WENT_ON[job.began_after]) text = `goes on soon, after ${WENT_ON[job.began_after]}`;
    setText(this.chip, text);
    this.chip.dataset.long = String(text.length > 24);
    this.chip.dataset.state = asks(job) ? "asking" : job.state;
    this.stop.hidden = !active(job);
    this.stop.disabled = job.cancel_requested;
    const problem = job.error ?? ENDINGS[job.state] ?? "";
    setText(this.error, active(job) || job.state === "completed" ? "" : problem);
    this.error.hidden = this.error.textContent === "";
    this.error.dataset.state = job.state;
  }

  _foot() {
    const { job, buffer } = this;
    const parts = [];
    const why = WENT_ON[job.began_after];
    if (why && job.state !== "queued") parts.push(`went on after ${why}`);
    if (job.ended_at !== null) {
      parts.push(time(job.ended_at));
      if (job.started_at !== null) parts.push(`took ${duration(job.ended_at - job.started_at)}`);
    }
    if (buffer?.status === "failed") parts.push(buffer.problem);
    if (buffer?.status === "gone") parts.push("its output is gone");
    setText(this.foot, parts.join(" · "));
    this.copy.hidden = active(job) || !buffer?.text || !navigator.clipboard;
  }

  _output() {
    const { buffer } = this;
    if (!buffer || buffer.listener === null) return;
    const shown = this.markdown.show(buffer.text, buffer.over);
    if (!shown) this.changed();
    // What is told of the output is true of what is shown of it.
    const told = { attempt: buffer.attempt, rewinds: buffer.rewinds, entries: buffer.entries, status: buffer.status, verified: buffer.verified };
    if (shown) Object.assign(this.output.dataset, told);
    this._progress();
    this._events();
    this._talk();
    this._state();
    this._foot();
  }

  _progress() {
    const { progress } = /** @type {any} */ (this.buffer);
    this.progress.hidden = !progress || !active(this.job) || asks(this.job);
    if (!progress) return;
    if (progress.total === null) this.bar.removeAttribute("value");
    else {
      this.bar.max = progress.total || 1;
      this.bar.value = progress.done;
    }
    const count = progress.total === null ? String(progress.done) : `${progress.done} of ${progress.total}`;
    setText(this.note, progress.note ? `${count} · ${progress.note}` : count);
  }

  _events() {
    const { events } = /** @type {any} */ (this.buffer);
    const title = events.findLast((event) => event.name === "title")?.data?.title;
    if (title) this.chat.entitle(this.job.id, String(title));
    const found = events.filter((event) => event.name === "source" && event.data);
    this.sources.hidden = found.length === 0;
    reconcile(
      this.places,
      found,
      (event) => `${event.at} ${event.data.title}`,
      ({ data }) =>
        h(
          "li",
          { data: { testid: "source" } },
          h("strong", { text: String(data.title ?? "") }),
          " ",
          h("code", { text: String(data.where ?? "") }),
          typeof data.score === "number" ? h("span", { class: "hint", text: data.score.toFixed(2), title: "score" }) : "",
        ),
    );
  }

  async _copy() {
    await navigator.clipboard.writeText(this.buffer?.text ?? "");
    announce("Copied");
    setText(this.copy, "Copied");
    setTimeout(() => setText(this.copy, "Copy"), 1500);
  }
}
