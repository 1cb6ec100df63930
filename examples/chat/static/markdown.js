/**
 * Markdown that grows, shown safely and without doing it all again for each piece.
 *
 * marked makes HTML of it and DOMPurify lets through only what the lists below name: no scripts, no
 * styles, no forms, and nothing that the browser would fetch (a picture becomes a link to it). What is
 * finished (blocks before the last blank line) is rendered once; only the tail is rendered again.
 */

import DOMPurify from "./vendor/dompurify/purify.es.js";
import { Marked } from "./vendor/marked/marked.esm.js";
import { h } from "./dom.js";

const TAGS = (
  "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li mark ol p pre q s samp small span " +
  "strong sub summary sup table tbody td th thead tr u ul var"
).split(" ");
const ATTRIBUTES = ["align", "class", "colspan", "href", "open", "rowspan", "start", "title"];

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

const marked = new Marked({
  gfm: true,
  renderer: {
    image({ href, text }) {
      return `<a href="${escaped(href)}">${escaped(text || href)}</a>`;
    },
    checkbox({ checked }) {
      return checked ? "☑ " : "☐ ";
    },
  },
});

const purifier = DOMPurify(window);
purifier.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** @param {string} source @returns {DocumentFragment} */
export function rendered(source) {
  const fragment = purifier.sanitize(/** @type {string} */ (marked.parse(source)), {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ATTRIBUTES,
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
    RETURN_DOM_FRAGMENT: true,
  });
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const MARKER = /^(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;

/**
 * Where blocks begin that no later text can join to what is before them: after a blank line, outside
 * of fences, at the margin, and not a further item of the same list.
 * @param {string} text @returns {number[]}
 */
export function blockStarts(text) {
  const starts = [];
  let fence = "";
  let blank = false;
  let list = false;
  let first = true;
  for (let at = 0; ; ) {
    const end = text.indexOf("\n", at);
    if (end < 0) return starts; // a line that is not whole may yet become anything
    const line = text.slice(at, end);
    const mark = FENCE.exec(line)?.[1];
    if (fence) {
      if (mark && mark[0] === fence[0] && mark.length >= fence.length && line.trim() === mark) fence = "";
    } else if (line.trim() === "") {
      blank = !first;
    } else {
      const item = MARKER.test(line);
      if (blank && /^\S/.test(line) && !(list && item)) {
        starts.push(at);
        list = item;
      } else if (first) {
        list = item;
      }
      blank = false;
      first = false;
      if (mark) fence = mark;
    }
    at = end + 1;
  }
}

/** The view of one output. */
export class MarkdownView {
  /** @param {Element} root */
  constructor(root) {
    this.root = root;
    this.tail = h("div", { class: "block tail" });
    this.root.append(this.tail);
    /** Finished blocks: where each ends in the text. @type {{end: number, element: Element}[]} */
    this.blocks = [];
    this.shown = "";
    this.costMs = 0;
    this.paidAt = 0;
  }

  /** Shows `text`. Returns false if it put that off because rendering has become slow: call again.
   * @param {string} text @param {boolean} final */
  show(text, final) {
    if (text === this.shown && !final) return true;
    const before = performance.now();
    // A huge table is one block: then it is rendered for an eighth of the time, not at every frame.
    if (!final && before - this.paidAt < 8 * this.costMs) return false;
    const from = this.blocks.at(-1)?.end ?? 0;
    const open = text.slice(from);
    let at = 0;
    for (const start of blockStarts(open)) {
      const element = h("div", { class: "block" }, rendered(open.slice(at, start)));
      this.tail.before(element);
      this.blocks.push({ end: from + start, element });
      at = start;
    }
    this.tail.replaceChildren(rendered(open.slice(at)));
    // A link defined in another block than it is used in needs the whole text at once.
    if (final && this.blocks.length && /^ {0,3}\[[^\]]+\]:\s/m.test(text)) this._whole(text);
    this.shown = text;
    this.paidAt = performance.now();
    this.costMs = this.paidAt - before;
    return true;
  }

  /** The text was cut to `length`. A block that ended just there may go on: it is open again.
   * @param {number} length */
  cut(length) {
    while (this.blocks.length && this.blocks[this.blocks.length - 1].end >= length) {
      this.blocks.pop()?.element.remove();
    }
    this.shown = "";
    this.costMs = 0;
  }

  /** @param {string} text */
  _whole(text) {
    for (const { element } of this.blocks.splice(0)) element.remove();
    this.tail.replaceChildren(rendered(text));
  }
}
