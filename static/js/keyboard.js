// Keyboard shortcuts of all pages: Ctrl or Cmd chords, single keys, sequences of two keys. Single keys do nothing while
// a person types. Keys of one part, such as a menu, are in the module of the part.

import { $, $$, on } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { saveNow } from "./drafts.js";
import { Sequence, chord } from "./keys.js";
import { pressInRows } from "./lists.js";
import { toggleBar } from "./palette.js";

const sequence = new Sequence();

const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const isTyping = (target) => target.closest?.(TYPING);
const visible = (selector) => $$(selector, $("dialog[open]") ?? document).find((element) => element.checkVisibility());

function run() {
  const button = visible("[data-run]");
  if (button && !button.disabled) button.click();
  return Boolean(button);
}

function save() {
  const button = visible("[data-save]");
  const form = $("form[data-autosave]");
  if (button) button.click();
  else if (form) saveNow(form);
  return Boolean(button || form);
}

const COMMANDS = { bar: toggleBar, save, run };

/** Press a link or button by one key (data-press, several separated by spaces). Arrows scroll the focused element. */
function press({ key, target, shiftKey }) {
  if (shiftKey || (key.startsWith("Arrow") && ![document.body, $("#main")].includes(target))) return false;
  const element = $(`[data-press~="${CSS.escape(key)}"]`);
  element?.click();
  return Boolean(element);
}

/** Follow a link by two keys in a row, or press a button by one. */
function follow(event) {
  const now = performance.now();
  const keys = sequence.with(event.key, now);
  const link = keys && $(`[data-key="${CSS.escape(keys)}"]`);
  sequence.begin(link ? "" : event.key, now);
  // A key that is held down votes once.
  const button = !event.repeat && $(`[data-single-key="${CSS.escape(event.key.toLowerCase())}"]`);
  (link || button)?.click?.();
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    if (COMMANDS[chord(event)]?.()) event.preventDefault();
    return;
  }
  if (isTyping(event.target) || $("dialog[open]")) return;
  if (event.key === "?") return openDialog($("#shortcuts"));
  if (pressInRows(event.key) || press(event)) return event.preventDefault();
  follow(event);
}

/** Show the keys of this machine: on Apple's, Cmd takes the place of Ctrl. */
export function showKeys(root) {
  if (!/Mac|iPhone|iPad/.test(navigator.platform)) return;
  for (const key of $$("[data-mod-key]", root)) key.textContent = `⌘ ${key.dataset.modKey}`;
}

export function startKeyboard() {
  on("keydown", onKey);
}
