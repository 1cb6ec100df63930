/**
 * Markdown that grows, shown safely and without doing it all again for each piece.
 *
 * marked makes HTML of it and DOMPurify lets through only what the lists below name: no scripts, no
 * styles, no forms, nothing that the browser would fetch (a picture becomes a link to it), and nothing by
 * which the page's own rules or scripts would take it for a part of the page (a class, data for them). What
 * is finished (blocks before the last blank line) is rendered once; only the tail is rendered again.
 */

import DOMPurify from "./vendor/dompurify/purify.es.js";
import { Marked } from "./vendor/marked/marked.esm.js";
import { blockStarts } from "./blocks.js";
import { h } from "./dom.js";

const TAGS = (
  "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li mark ol p pre q s samp small span " +
  "strong sub summary sup table tbody td th thead tr u ul var"
).split(" ");
const ATTRIBUTES = ["align", "class", "colspan", "href", "open", "rowspan", "start", "title"];
/** The one class that is let through, on `code`: marked says so what language it is in. */
const LANGUAGE = /^language-[^\s]+$/;

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
purifier.addHook("uponSanitizeAttribute", (node, attribute) => {
  if (attribute.attrName === "class" && !(node.nodeName === "CODE" && LANGUAGE.test(attribute.attrValue))) {
    attribute.keepAttr = false;
  }
});
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
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
    ADD_URI_SAFE_ATTR: ["align", "colspan", "rowspan", "start"], // else they would have to be addresses
    RETURN_DOM_FRAGMENT: true,
  });
  for (const table of fragment.querySelectorAll("table")) {
    const frame = h("div", { class: "table" });
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

/** Where the text is looked through for blocks, and how much becomes one element: UTF-16 units. */
const CHUNK = 1 << 15;
const GROUP = 1 << 12;
/** Time for blocks within one frame; what is left then waits for the next. */
const BUDGET_MS = 10;
/** A text that is larger is not rendered again as a whole. */
const WHOLE = 1 << 18;

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
    this.final = false;
    this.tailMs = 0;
    this.tailAt = 0;
  }

  /** Shows `text`. Returns false if some of it is left for later: call again, at the next frame.
   * @param {string} text @param {boolean} final @returns {boolean} */
  show(text, final) {
    if (text === this.shown && final === this.final) return true;
    if (!this._blocks(text, performance.now() + BUDGET_MS)) return false;
    const before = performance.now();
    // A huge table is one block, and is rendered for an eighth of the time, not at every frame.
    if (!final && before - this.tailAt < 8 * this.tailMs) return false;
    // A link that is defined in another block than it is used in needs the whole text at once.
    const joined = final && this.blocks.length && text.length <= WHOLE && /^ {0,3}\[[^\]]+\]:\s/m.test(text);
    if (joined) this.cut(0);
    this.tail.replaceChildren(rendered(text.slice(this._end)));
    this.shown = text;
    this.final = final;
    this.tailAt = performance.now();
    this.tailMs = this.tailAt - before;
    return true;
  }

  /** The text was cut to `length`. A block that ended just there may go on: it is open again.
   * @param {number} length */
  cut(length) {
    while (this.blocks.length && this._end >= length) this.blocks.pop()?.element.remove();
    this.shown = "";
    this.tailMs = 0;
  }

  get _end() {
    return this.blocks.at(-1)?.end ?? 0;
  }

  /** Renders what is finished and not yet shown; says whether it came to the end of that.
   * @param {string} text @param {number} deadline */
  _blocks(text, deadline) {
    for (let size = CHUNK; ; ) {
      const from = this._end;
      const starts = blockStarts(text.slice(from, from + size));
      let at = 0;
      starts.forEach((start, index) => {
        // Few larger elements rather than many small ones, where there is much to do.
        if (index + 1 < starts.length && starts[index + 1] - at <= GROUP) return;
        if (at > 0 && performance.now() > deadline) return;
        const element = h("div", { class: "block" }, rendered(text.slice(from + at, from + start)));
        this.tail.before(element);
        this.blocks.push({ end: from + start, element });
        at = start;
      });
      if (starts.length && at < starts[starts.length - 1]) return false;
      if (from + size >= text.length) return true;
      if (performance.now() > deadline && starts.length) return false;
      if (!starts.length) size *= 4;
    }
  }
}
