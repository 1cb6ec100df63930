/** Small things around the DOM that every view uses. */

/** @param {string} id @returns {any} */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element. `props`: `class`, `text`, `on<event>`, `data` (a map), else attributes (null and
 * false leave one out). Text is always text: nothing here parses HTML.
 * @param {string} tag @param {Record<string, any>} [props] @param {...any} children @returns {any}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Sets a text only if it is another one, so that nothing is announced or laid out for nothing.
 * @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in order; the element of a key stays the same one,
 * so focus, selection and scroll position survive.
 * @template T
 * @param {Element} parent @param {T[]} items @param {(item: T) => string} key
 * @param {(item: T) => any} create @param {(element: any, item: T) => void} [update]
 */
export function reconcile(parent, items, key, create, update = () => {}) {
  const held = /** @type {any} */ (parent)._keyed ?? (/** @type {any} */ (parent)._keyed = new Map());
  const wanted = new Set();
  let next = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    wanted.add(id);
    let element = held.get(id);
    if (!element) held.set(id, (element = create(item)));
    update(element, item);
    if (element === next) next = next?.nextElementSibling ?? null;
    else parent.insertBefore(element, next);
  }
  for (const [id, element] of held) {
    if (wanted.has(id)) continue;
    element.remove();
    held.delete(id);
  }
}

/** @type {Set<() => void>} */
const waiting = new Set();
let asked = false;

/**
 * Calls once, at the next frame. A hidden tab gets no frames, but what it holds must be right when
 * somebody (a person, a screen reader, a test) looks: so a timer does it too, the first one wins.
 * @param {() => void} call
 */
export function soon(call) {
  waiting.add(call);
  if (asked) return;
  asked = true;
  let done = false;
  const run = () => {
    if (done) return;
    done = true;
    asked = false;
    const calls = [...waiting];
    waiting.clear();
    for (const each of calls) each();
  };
  requestAnimationFrame(run);
  setTimeout(run, 250);
}

/** Tells those who listen rather than look. @param {string} text */
export function announce(text) {
  byId("announce").textContent = text;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** @param {number} seconds Since the epoch. */
export function time(seconds) {
  const at = new Date(seconds * 1000);
  return at.toDateString() === new Date().toDateString() ? clock.format(at) : day.format(at);
}

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** How much time is left, the less the finer. @param {number} seconds Above 0. */
export function left(seconds) {
  if (seconds <= 90) return `${Math.ceil(seconds)} s`;
  // What an item was under way is missing in the server's time: 15 minutes must not begin as 16.
  const up = (/** @type {number} */ unit) => Math.ceil((seconds - 3) / unit);
  if (seconds <= 90 * 60) return `${up(60)} min`;
  return seconds <= 36 * 3600 ? `${up(3600)} h` : `${up(86_400)} days`;
}

/** @param {string} text @param {number} most */
export function short(text, most) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}
