// How the prompt page shows its text: as written, as the model gets it, or its changes; wrapped or not; in the full
// screen; on a narrow screen the editor or "Try it". The choices are data- attributes of the root, so they outlive what
// htmx swaps in. theme.js sets the remembered ones before the first paint.

import { $, $$, on } from "./dom.js";
import { saveNow } from "./drafts.js";
import { nameOf } from "./keys.js";
import { editorField, follow, lastLine, offsetOf, reveal, topOfLine } from "./lines.js";
import { isUnsaved } from "./unsaved.js";

const root = () => document.documentElement;
const DEFAULTS = { view: "written", pane: "edit", wrap: "on", full: "off" };
const REMEMBERED = { view: ["written", "model"], wrap: ["on", "off"] };
const KEYBOARD_PX = 150; // what covers less of the window is no keyboard

let both = null; // the scroll positions of the same place in both views: {written, model}

const chosen = (name) => root().dataset[name] ?? DEFAULTS[name];

/** Choose a value of "view", "pane", "wrap" or "full"; remember it if it is one of those that are remembered. */
export function choose(name, value) {
  const old = chosen(name);
  if (old === value) return;
  root().dataset[name] = value;
  if (REMEMBERED[name]?.includes(value)) remember(name, value);
  showChoices();
  if (name !== "view" || !editorField()) return;
  if (old === "written" && value === "model") scrollModel();
  if (old === "model" && value === "written") scrollWritten();
  if (value !== "written") saveTyped();
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be turned off; then the choice lasts for this page only.
  }
}

/** The other views show the saved text, so save what was typed. */
function saveTyped() {
  const { form } = editorField();
  if (isUnsaved(form)) saveNow(form);
}

/** Show in the filled-in text the place that is at the top of the written one. */
function scrollModel() {
  const [field, filled] = [editorField(), $("#filled")];
  const line = lastLine(field, (each) => topOfLine(field, each) <= field.scrollTop);
  filled.scrollTop = topOf(filled, offsetOf(field, line)) + field.scrollTop - topOfLine(field, line);
  both = { written: field.scrollTop, model: filled.scrollTop };
}

/** Show in the written text the place that is at the top of the filled-in one. */
function scrollWritten() {
  const [field, filled] = [editorField(), $("#filled")];
  const line = lastLine(field, (each) => topOf(filled, offsetOf(field, each)) <= filled.scrollTop);
  field.scrollTop = both?.model === filled.scrollTop ? both.written : topOfLine(field, line);
  follow(field);
}

/** Return how far down in the filled-in text an offset of the written text is, in pixels. */
function topOf(filled, offset) {
  let left = offset;
  for (const node of $("[data-system-prompt]", filled)?.childNodes ?? []) {
    const written = Number(node.dataset?.written ?? node.length);
    if (left < written) return topAt(filled, node, node.dataset ? 0 : left);
    left -= written;
  }
  return 0;
}

function topAt(filled, node, start) {
  const range = document.createRange();
  range.selectNodeContents(node);
  if (!node.dataset) range.setStart(node, start);
  const top = range.getClientRects()[0]?.top ?? 0;
  const padding = Number.parseFloat(getComputedStyle(filled).paddingTop);
  return top - filled.getBoundingClientRect().top + filled.scrollTop - padding;
}

/** Show the choices on their buttons. */
export function showChoices() {
  for (const button of $$("[data-choose]")) {
    button.setAttribute("aria-pressed", chosen(button.dataset.choose) === button.value);
  }
  for (const button of $$("[data-toggle]")) {
    button.setAttribute("aria-pressed", chosen(button.dataset.toggle) === "on");
  }
}

const toggle = (name) => choose(name, chosen(name) === "on" ? "off" : "on");

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || !$(".panes") || $("dialog[open]")) return;
  if (event.key === "F9") choose("view", chosen("view") === "model" ? "written" : "model");
  else if (event.key === "Escape" && chosen("full") === "on" && !$("details.menu[open]")) toggle("full");
  else return;
  event.preventDefault();
}

/** Show "Try it" when its key is pressed on a narrow or full screen; `keyboard.js` then runs the text. */
function showTry(event) {
  if (nameOf(event) !== "Ctrl Enter" || !$(".panes") || $("dialog[open]")) return;
  choose("pane", "try");
  choose("full", "off");
}

/** Tell the layout how much of the window a keyboard on the screen leaves. */
function measure() {
  const { height } = window.visualViewport;
  const isCovered = window.innerHeight - height > KEYBOARD_PX;
  root().toggleAttribute("data-keyboard", isCovered);
  if (!isCovered) return root().style.removeProperty("--left-by-keyboard");
  root().style.setProperty("--left-by-keyboard", `${height}px`);
  const field = editorField();
  if (!field || document.activeElement !== field) return; // the browser shows other fields by itself
  $(".sheet").scrollIntoView({ block: "start" });
  reveal(field, Math.max(0, field.selectionEnd - 1), field.selectionEnd);
}

export function startViews() {
  if ($("#try-given")) choose("pane", "try"); // the page opens with the input of a run
  on("click", ({ target }) => {
    const choice = target.closest("[data-choose]");
    if (choice) choose(choice.dataset.choose, choice.value);
    const name = target.closest("[data-toggle]")?.dataset.toggle;
    if (name) toggle(name);
  });
  on("keydown", onKey);
  on("keydown", showTry, true); // before the key runs what is visible
  window.visualViewport?.addEventListener("resize", measure);
}
