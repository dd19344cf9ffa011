// Line numbers of a text field, and where its text is on the screen. A hidden copy of the text lies under the field, in
// the same font and width, so the browser wraps both alike: a wrapped line has one number. See
// docs/decisions/0048-the-editor.md.

import { $, $$, on } from "./dom.js";
import { changedLines } from "./places.js";

const copied = new WeakMap(); // the copy -> its lines

export const editorField = () => $(".numbered > textarea");
const copyOf = (field) => $(".lines", field.parentElement);

function lineOf(text) {
  const line = document.createElement("div");
  line.append(document.createElement("span"));
  line.firstChild.append(text); // a text node also for an empty line
  return line;
}

/** Bring the copy up to date; only the lines that changed are touched. */
function number(field) {
  const copy = copyOf(field);
  const now = field.value.split("\n");
  const { from, removed, added } = changedLines(copied.get(copy) ?? [], now);
  copied.set(copy, now);
  for (let count = 0; count < removed; count += 1) copy.children[from].remove();
  const next = copy.children[from] ?? null;
  const lines = document.createDocumentFragment();
  lines.append(...added.map(lineOf));
  copy.insertBefore(lines, next);
  follow(field);
}

/** Let the numbers scroll with the text. */
export function follow(field) {
  const copy = copyOf(field);
  copy.scrollTop = field.scrollTop;
  copy.scrollLeft = field.scrollLeft;
}

/** Return the text node of the copy that has an offset of the text, with the offset in it. */
function nodeAt(copy, offset) {
  let left = offset;
  const lines = copied.get(copy);
  for (const [index, line] of lines.entries()) {
    if (left <= line.length) return [copy.children[index].firstChild.firstChild, left];
    left -= line.length + 1;
  }
  const last = copy.children[lines.length - 1].firstChild.firstChild;
  return [last, last.length];
}

/** Return the boxes of a stretch of the text, in pixels from the top left of the whole text with its numbers. */
export function boxesOf(field, start, end) {
  const copy = copyOf(field);
  const range = document.createRange();
  range.setStart(...nodeAt(copy, start));
  range.setEnd(...nodeAt(copy, end));
  const frame = copy.getBoundingClientRect();
  return [...range.getClientRects()].map(({ left, top, width, height }) => ({
    left: left - frame.left + copy.scrollLeft,
    top: top - frame.top + copy.scrollTop,
    width,
    height,
  }));
}

/** Scroll a stretch of the text into view, if it is not. */
export function reveal(field, start, end) {
  const box = boxesOf(field, start, end)[0];
  if (!box) return;
  const isAbove = box.top < field.scrollTop + 4;
  if (isAbove || box.top + box.height > field.scrollTop + field.clientHeight - 4) {
    field.scrollTop = box.top - field.clientHeight / 3;
  }
  const left = box.left - field.offsetLeft;
  if (left < field.scrollLeft || left + box.width > field.scrollLeft + field.clientWidth) {
    field.scrollLeft = left - field.clientWidth / 3;
  }
  follow(field);
}

/** Select a stretch of the text, and show it. */
export function select(field, start, end) {
  field.focus({ preventScroll: true });
  field.setSelectionRange(start, end);
  reveal(field, start, end);
}

/** Return the offset of the beginning of a line, counted from 0. */
export function offsetOf(field, line) {
  const before = copied.get(copyOf(field)).slice(0, line);
  return before.reduce((length, each) => length + each.length + 1, 0);
}

export const topOfLine = (field, line) => copyOf(field).children[line].offsetTop;

/** Return the last line, counted from 0, for which `isAbove` is true. Lines above it must be, too. */
export function lastLine(field, isAbove) {
  let [low, high] = [0, copied.get(copyOf(field)).length - 1];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (isAbove(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Return the [start, end] of the text that is in view, in whole lines. */
export function inView(field) {
  const first = lastLine(field, (line) => topOfLine(field, line) <= field.scrollTop);
  const last = lastLine(field, (line) => topOfLine(field, line) < field.scrollTop + field.clientHeight);
  return [offsetOf(field, first), offsetOf(field, last + 1)];
}

/** Number the texts of the page, or of a part that has just arrived. */
export function showLines(root = document) {
  for (const field of $$(".numbered > textarea", root)) number(field);
}

export function startLines() {
  on("input", ({ target }) => target.matches?.(".numbered > textarea") && number(target));
  on("scroll", ({ target }) => target.matches?.(".numbered > textarea") && follow(target), true);
}
