// Variables in the prompt editor: buttons that insert a variable, and a list of completions while a person types one.
// A field with data-inputs, the user template, offers the names of the input, too.

import { $, $$, on } from "./dom.js";
import { dispatchInput } from "./forms.js";
import { listIndex } from "./keys.js";
import { announce } from "./toasts.js";
import { matching, variableAtCaret, written } from "./variables.js";

const MOST_OFFERED = 8; // the list does not scroll; more typing narrows it
const ARIA = ["aria-controls", "aria-autocomplete", "aria-activedescendant"];

let completion = null; // while it is open: {field, box, list, start, end}

const FIELDS = "textarea.editor, textarea[data-inputs]";

const variables = () => $$("[data-insert]").map(({ dataset }) => ({ name: dataset.insert, value: dataset.value }));
const inputsOf = (field) => (field.dataset.inputs?.split(" ") ?? []).map((name) => ({ name, value: "from the input" }));

/** Replace the text between two positions with a variable, like typing, so that the browser can undo it. */
function insert(field, name, start, end) {
  field.focus();
  field.setSelectionRange(start, end);
  const text = written(name);
  if (document.execCommand("insertText", false, text)) return;
  field.setRangeText(text, start, end, "end");
  dispatchInput(field);
}

/** Offer completions while a variable is typed before the caret. */
function complete(field) {
  close();
  const caret = field.selectionStart;
  const typed = caret === field.selectionEnd && variableAtCaret(field.value, caret);
  const offered = typed ? matching([...inputsOf(field), ...variables()], typed.part) : [];
  if (!offered.length) return;
  const { box, list } = listOf(offered);
  $("#main").append(box);
  completion = { field, box, list, start: typed.start, end: typed.end };
  field.setAttribute("aria-controls", list.id);
  field.setAttribute("aria-autocomplete", "list");
  place();
  choose(list.firstChild);
  announce(`${offered.length} variable${offered.length === 1 ? "" : "s"}. Arrow keys choose, Enter inserts.`);
}

function listOf(offered) {
  const box = document.createElement("div");
  box.className = "completion";
  const list = document.createElement("div");
  list.id = "completion";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Variables");
  list.append(...offered.slice(0, MOST_OFFERED).map(optionOf));
  const more = document.createElement("p");
  more.className = "faint";
  more.textContent = offered.length > MOST_OFFERED ? `${offered.length - MOST_OFFERED} more; keep typing` : "";
  box.append(list, more);
  return { box, list };
}

function optionOf({ name, value }) {
  const option = document.createElement("div");
  option.id = `completion-${name}`;
  option.dataset.name = name;
  option.setAttribute("role", "option");
  const title = document.createElement("b");
  title.textContent = name;
  const shown = document.createElement("span");
  shown.dir = "auto";
  shown.textContent = value || "(empty)";
  option.append(title, shown);
  return option;
}

function choose(option) {
  for (const other of completion.list.children) other.setAttribute("aria-selected", other === option);
  completion.field.setAttribute("aria-activedescendant", option.id);
}

/** Place the list under the caret, or above it if there is no room. A hidden copy of the text finds the caret. */
function place() {
  const { field, box, start } = completion;
  const look = getComputedStyle(field);
  const mirror = document.createElement("div");
  mirror.className = "mirror";
  for (const name of ["font", "padding", "tabSize", "letterSpacing", "direction"]) mirror.style[name] = look[name];
  mirror.style.width = `${field.clientWidth}px`;
  const mark = document.createElement("span");
  mark.textContent = "{{";
  mirror.append(field.value.slice(0, start), mark);
  document.body.append(mirror);
  const frame = field.getBoundingClientRect();
  const top = frame.top + mark.offsetTop - field.scrollTop;
  const below = Math.min(Math.max(top + mark.offsetHeight, frame.top), frame.bottom);
  const left = Math.min(frame.left + mark.offsetLeft, innerWidth - box.offsetWidth - 8);
  mirror.remove();
  const fitsBelow = below + box.offsetHeight + 8 < innerHeight;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${fitsBelow ? below + 4 : Math.max(8, top - box.offsetHeight - 4)}px`;
}

function close() {
  if (!completion) return;
  for (const name of ARIA) completion.field.removeAttribute(name);
  completion.box.remove();
  completion = null;
}

function take(option) {
  const { field, start, end } = completion;
  close();
  insert(field, option.dataset.name, start, end);
  close(); // inserting caused an input event
}

function onKey(event) {
  if (!completion || event.target !== completion.field) return;
  if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const options = [...completion.list.children];
  const index = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  const isArrow = event.key === "ArrowDown" || event.key === "ArrowUp";
  if (isArrow) choose(options[listIndex(event.key, index, options.length)]);
  else if (event.key === "Enter" || (event.key === "Tab" && !event.shiftKey)) take(options[index]);
  else if (event.key === "Escape") close();
  else {
    if (/^(Arrow|Home|End|Page)/.test(event.key)) close(); // the caret moves away
    return;
  }
  event.preventDefault();
}

export function startCompletion() {
  on("click", (event) => {
    const button = event.target.closest("[data-insert]");
    const field = button && $("textarea.editor");
    if (field) insert(field, button.dataset.insert, field.selectionStart, field.selectionEnd);
  });
  on("input", (event) => event.target.matches(FIELDS) && complete(event.target));
  on("keydown", onKey);
  on("pointerdown", (event) => {
    const option = completion && event.target.closest?.("#completion [role=option]");
    if (!option) return event.target === completion?.field && close();
    event.preventDefault(); // the focus stays in the text
    take(option);
  });
  on("focusout", (event) => event.target === completion?.field && close());
  on("scroll", close, true);
  window.addEventListener("resize", close);
}
