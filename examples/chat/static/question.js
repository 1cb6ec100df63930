/** The open question of a job, as a form, and what became of those that were open. */

import { announce, h, left, reconcile, setText } from "./dom.js";
import { FieldView } from "./fields.js";
import { answerOf, faultIn, fieldsOf, inWords, isPressed } from "./schema.js";

/**
 * What became of a question that is not open any more.
 * @param {{mine: {words: string, lost: string} | null, event: any, job: any, question: any, fields: any[], now: number}} known
 *   mine: what was answered here; event: what the job told of the answer, null: nothing yet; now: in seconds.
 */
export function outcomeOf({ mine, event, job, question, fields, now }) {
  const given = event && event.answer !== null ? inWords(event.answer, fields) : "";
  if (mine && !mine.lost) return `You answered: ${mine.words}`;
  const lost = mine ? ` ${mine.lost}, and was not taken: ${mine.words}` : "";
  if (given) return `${question ? "Answered elsewhere" : "Answered"}: ${given}${lost && `.${lost}`}`;
  if (event) return `No answer came in time: it went on without one.${lost}`;
  if (job.ended_at !== null) return `${job.state === "cancelled" ? "Stopped" : "It ended"} before there was an answer.${lost}`;
  if (question.expires_at !== null && now >= question.expires_at) return `No answer came in time: it goes on without one.${lost}`;
  return `Answered elsewhere.${lost}`;
}

export class QuestionView {
  /** @param {import("./talk.js").Talk} talk @param {string} job */
  constructor(talk, job) {
    this.talk = talk;
    this.job = job;
    /** The questions that were seen open here, by key. @type {Map<string, {question: any, fields: any[], mine: any}>} */
    this.seen = new Map();
    /** The key of the open one. @type {string | null} */
    this.open = null;
    this.sending = false;
    /** @type {FieldView[]} */
    this.fields = [];
    /** @type {any} */
    this.timer = null;
    this.text = h("p", { class: "asks", id: `asks-${job}` });
    this.left = h("p", { class: "hint", data: { testid: "left" } });
    this.problem = h("p", { class: "problem", role: "alert", data: { testid: "question-problem" }, hidden: true });
    this.form = h("form", { novalidate: true, "aria-labelledby": `asks-${job}` });
    this.form.addEventListener("submit", (/** @type {any} */ event) => {
      event.preventDefault();
      this._submit();
    });
    this.form.addEventListener("input", () => this._draft());
    this.box = h("section", { class: "question", "aria-labelledby": `asks-${job}`, data: { testid: "question" }, hidden: true }, this.text, this.form, this.problem, this.left);
    this.settled = h("ul", { class: "settled", tabindex: "-1", data: { testid: "settled" }, hidden: true });
  }

  get draft() {
    return `answer ${this.job} ${this.open}`;
  }

  /** @param {any} job The row as it is now. @param {any[]} events Its `answered` events. */
  update(job, events) {
    const answered = this.seen.get(job.asking?.key)?.mine; // told to us before the feed has it
    const asking = answered ? null : (job.asking ?? null);
    if (asking && asking.key !== this.open) this._begin(job, asking);
    else if (!asking && this.open !== null && !this.sending) this._end(job, events);
    this._settled(job, events);
    this._tick();
  }

  /** @param {any} job @param {any} question */
  _begin(job, question) {
    if (this.open !== null) this._end(job, []);
    const fields = fieldsOf(question.schema);
    this.seen.set(question.key, { question, fields, mine: null });
    this.open = question.key;
    setText(this.text, question.question);
    this._blame("");
    const raws = this.talk.drafts.get(this.draft) ?? fields.map((field) => field.initial);
    this.fields = isPressed(fields) ? [] : fields.map((field, at) => new FieldView(field, raws[at]));
    this.form.replaceChildren(...(this.fields.length || !fields.length ? this._typed() : this._buttons(fields[0])));
    this.box.hidden = false;
  }

  _typed() {
    const button = h("button", { class: "primary", data: { testid: "answer" } }, "Answer");
    return [...this.fields.map((field) => field.element), h("div", { class: "row" }, button)];
  }

  /** @param {any} field */
  _buttons(field) {
    const options = field.kind === "yesno" ? [{ value: true, text: "Yes" }, { value: false, text: "No" }] : field.options;
    const buttons = options.map((/** @type {any} */ option) =>
      h("button", { type: "button", data: { testid: "option" }, onclick: () => this._send(option.value) }, option.text));
    return [h("div", { class: "row" }, ...buttons)];
  }

  _draft() {
    this.talk.drafts.set(this.draft, this.fields.map((field) => field.read()));
  }

  _submit() {
    if (this.sending || this.open === null) return;
    const { fields } = /** @type {any} */ (this.seen.get(this.open));
    const { value, problems } = answerOf(fields, this.fields.map((field) => field.read()));
    this._blame("");
    this.fields.forEach((field, at) => field.blame(problems.get(at) ?? ""));
    if (problems.size) this.fields[Math.min(...problems.keys())].focus();
    else this._send(value);
  }

  /** @param {any} value */
  async _send(value) {
    const key = /** @type {string} */ (this.open);
    const held = /** @type {any} */ (this.seen.get(key));
    this._sending(true);
    const refused = await this.talk.answer(this.job, key, value);
    this._sending(false);
    if (refused?.refused !== undefined) this._refuse(refused.refused, held.fields);
    else held.mine = { words: inWords(value, held.fields), lost: refused?.lost ?? "" };
    this.talk.changed();
  }

  /** @param {boolean} sending */
  _sending(sending) {
    const focused = this.form.contains(document.activeElement) ? document.activeElement : null;
    this.sending = sending;
    // A disabled button would lose the focus, and with it the place of whoever uses the keyboard.
    for (const control of this.form.querySelectorAll("button")) control.setAttribute("aria-disabled", String(sending));
    this.form.setAttribute("aria-busy", String(sending));
    if (!sending) this._blame("");
    focused?.focus();
    this._tick();
  }

  /** @param {string} message @param {any[]} fields */
  _refuse(message, fields) {
    const { at, text } = faultIn(message, fields);
    const field = this.fields[at];
    if (!field) return this._blame(text);
    field.blame(text);
    field.focus();
  }

  /** @param {string} text */
  _blame(text) {
    setText(this.problem, text);
    this.problem.hidden = text === "";
  }

  /** @param {any} job @param {any[]} events */
  _end(job, events) {
    const inside = this.box.contains(document.activeElement);
    const key = /** @type {string} */ (this.open);
    this.talk.drafts.delete(this.draft);
    this.open = null;
    this.box.hidden = true;
    this._settled(job, events);
    announce(this._outcome(key, job, events));
    // What had the focus is gone; its successor takes it.
    if (inside) this.settled.focus();
  }

  /** @param {string} key @param {any} job @param {any[]} events */
  _outcome(key, job, events) {
    const held = this.seen.get(key);
    const event = events.find((each) => each.data?.key === key)?.data ?? null;
    return outcomeOf({
      event, job, mine: held?.mine ?? null, question: held?.question ?? null, fields: held?.fields ?? [], now: this.talk.client.serverTime(),
    });
  }

  /** @param {any} job @param {any[]} events */
  _settled(job, events) {
    const told = new Map(events.map((event) => [event.data?.key, event.data?.question ?? ""]));
    for (const [key, { question }] of this.seen) told.set(key, question.question);
    const keys = [...told.keys()].filter((key) => key !== this.open);
    this.settled.hidden = keys.length === 0;
    reconcile(
      this.settled,
      keys,
      (key) => key,
      (key) => h("li", {}, h("span", { class: "hint", text: told.get(key) }), h("span", { data: { testid: "outcome", key } })),
      (item, key) => setText(item.lastElementChild, this._outcome(key, job, events)),
    );
  }

  /** How long there is to answer; not announced, as it changes all the time. */
  _tick() {
    clearTimeout(this.timer);
    if (this.open === null) return;
    const { question } = /** @type {any} */ (this.seen.get(this.open));
    const seconds = question.expires_at === null ? null : question.expires_at - this.talk.client.serverTime();
    let text = "It waits as long as you like; you may close this page.";
    if (this.sending) text = "Sending your answer…";
    else if (seconds !== null) text = seconds > 0 ? `It waits for your answer: ${left(seconds)} left.` : "The time for an answer is over; it goes on without one.";
    setText(this.left, text);
    if (seconds !== null && seconds > 0 && (this.box.isConnected || this.timer === null)) {
      this.timer = setTimeout(() => this._tick(), 1000);
    }
  }
}
