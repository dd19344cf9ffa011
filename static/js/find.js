// Going to places in the editor's text. The find bar marks and counts hits; Enter goes to the next one, Escape back to
// the text. The problems of the saved text are in the status line; a press, or F8, selects the place of one.

import { $, $$, on } from "./dom.js";
import { boxesOf, editorField, inView, reveal, select } from "./lines.js";
import { closeMenus } from "./menus.js";
import { foundText, hitsOf, nextHit, placeOf } from "./places.js";
import { announce } from "./toasts.js";
import { choose } from "./views.js";

let hits = [];
let index = -1;

const bar = () => $("#find");
const words = () => $("input", bar());
const isOpen = () => Boolean(bar() && !bar().hidden);

/** Open the bar, with the selected words if they are on one line. */
function open() {
  const field = editorField();
  if (!bar() || !field) return;
  choose("view", "written");
  const selected = field.value.slice(field.selectionStart, field.selectionEnd);
  if (selected && !selected.includes("\n")) words().value = selected;
  bar().hidden = false;
  words().focus();
  words().select();
  search(field.selectionStart);
}

/** Close the bar, and select in the text what was found. */
function close() {
  const field = editorField();
  const [start, end] = hits[index] ?? [field.selectionStart, field.selectionEnd];
  bar().hidden = true;
  hits = [];
  draw();
  select(field, start, end);
}

/** Find the words from an offset of the text on. */
function search(from) {
  hits = hitsOf(editorField().value, words().value);
  index = nextHit(hits, from);
  show();
}

/** Go to the next hit (1) or the previous one (-1). */
function step(by) {
  if (hits.length) index = (index + by + hits.length) % hits.length;
  show();
}

function show() {
  $("[data-found]", bar()).textContent = foundText(words().value, hits.length, index);
  if (hits[index]) reveal(editorField(), ...hits[index]);
  draw();
}

/** Mark the hits that are in view under the text. */
function draw() {
  const copy = $(".lines");
  if (!copy) return;
  $$(".hit", copy).forEach((mark) => mark.remove());
  if (!hits.length) return;
  const field = editorField();
  const [from, to] = inView(field);
  const shown = [...hits.entries()].filter(([, [start, end]]) => end > from && start < to);
  copy.append(...shown.flatMap(([place, hit]) => boxesOf(field, ...hit).map((box) => markOf(box, place === index))));
}

function markOf(box, isCurrent) {
  const mark = document.createElement("i");
  mark.className = isCurrent ? "hit current" : "hit";
  for (const side of ["left", "top", "width", "height"]) mark.style[side] = `${box[side]}px`;
  return mark;
}

function onKey(event) {
  const field = editorField();
  if (!field || event.isComposing || event.defaultPrevented) return;
  const hasModifier = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
  const isFind = hasModifier && event.key.toLowerCase() === "f";
  if (isFind && event.target === field) open(); // in the bar, the same keys open the browser's own
  else if (!isOpen() || !bar().contains(event.target)) return;
  else if (event.key === "Escape") close();
  else if (event.key === "Enter" && event.target === words()) step(event.shiftKey ? -1 : 1);
  else return;
  event.preventDefault();
}

/** Find again in a text that has changed; the view stays. */
function again() {
  const [start] = hits[index] ?? [0];
  hits = hitsOf(editorField().value, words().value);
  index = nextHit(hits, start);
  $("[data-found]", bar()).textContent = foundText(words().value, hits.length, index);
  draw();
}

let last = ""; // the sentence of the problem that F8 went to

function jump(problem) {
  const field = $(`#id_${problem.dataset.jump}`);
  const sentence = problem.textContent.trim();
  closeMenus();
  choose("pane", "edit");
  last = sentence;
  announce(sentence);
  if (field.closest("details")) field.closest("details").open = true;
  const place = placeOf(field.value, sentence);
  if (field.matches(".editor")) {
    choose("view", "written");
    return select(field, ...(place ?? [0, 0]));
  }
  field.focus();
  if (place) field.setSelectionRange(...place);
}

/** Go to the problem after the last one, or before it. */
function jumpOn(by) {
  const problems = $$("[data-jump]");
  if (!problems.length) return false;
  const before = problems.findIndex((problem) => problem.textContent.trim() === last);
  jump(problems[before < 0 ? 0 : (before + by + problems.length) % problems.length]);
  return true;
}

function onProblemKey(event) {
  if (event.key !== "F8" || event.defaultPrevented || $("dialog[open]")) return;
  if (jumpOn(event.shiftKey ? -1 : 1)) event.preventDefault();
}

export function startFind() {
  on("keydown", onKey);
  on("keydown", onProblemKey);
  on("click", ({ target }) => {
    const problem = target.closest("[data-jump]");
    if (problem) jump(problem);
    if (target.closest("[data-find]")) open();
    if (target.closest("[data-find-close]")) close();
    const by = target.closest("[data-find-step]")?.dataset.findStep;
    if (by) step(Number(by));
  });
  on("input", ({ target }) => {
    if (!isOpen()) return;
    if (target === words()) search(editorField().selectionStart);
    else if (target === editorField()) again();
  });
  on("scroll", ({ target }) => isOpen() && target === editorField() && draw(), true);
  window.addEventListener("resize", () => isOpen() && draw());
}
