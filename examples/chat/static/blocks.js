/** Where a growing Markdown text can be cut into pieces that are rendered once and for all. No DOM. */

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
      }
      list ||= item; // a list may also begin under a heading or code, without a blank line
      blank = false;
      first = false;
      if (mark) fence = mark;
    }
    at = end + 1;
  }
}
