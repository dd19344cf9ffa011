// The keyboard of all pages: declared keys (declared.js), rows of lists, the field that searches a page, the help.
// Single keys do nothing while a person types. Keys of one part, such as a menu, are in the module of the part.

import { declared, isApple, isDisabled, kbds, keysOf, labelOf, withKey } from "./declared.js";
import { openDialog } from "./dialogs.js";
import { $, $$, on } from "./dom.js";
import { saveNow } from "./drafts.js";
import { Sequence, nameOf } from "./keys.js";
import { pressInRows, rowKeys } from "./lists.js";
import { toggleBar } from "./palette.js";
import { isUnsaved } from "./unsaved.js";

const TYPING = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const SINGLE_KEYS = "single-keys"; // "off" in the browser's storage, for people who dictate

const SAVE_MS = 10_000; // a key that waits for a draft to be saved is forgotten then

const sequence = new Sequence();
// Until the next frame, a browser leaves the focus in the field of a dialog that has just closed.
const isTyping = (target) => target.closest?.(TYPING) && !target.closest("dialog:not([open])");
const draft = () => $("form[data-autosave]");

/** Press an element. A button that waits for a draft to be saved is pressed once that has been tried. */
function press(element, key) {
  const form = draft();
  if (!isDisabled(element)) {
    element.click();
    if (element.matches("label")) element.control?.scrollIntoView({ block: "nearest" });
  } else if (key && form && isUnsaved(form)) {
    const waiting = new AbortController();
    const after = ({ detail }) => {
      if (detail.elt !== form) return;
      waiting.abort();
      const now = !$("dialog[open]") && withKey(key, document);
      if (now) press(now);
    };
    on("htmx:afterRequest", after, { signal: AbortSignal.any([waiting.signal, AbortSignal.timeout(SAVE_MS)]) });
    saveNow(form);
  } else element.focus(); // where the reason is shown, and read out
}

function save() {
  if (draft()) saveNow(draft());
  return Boolean(draft());
}

/** Go to the field that searches this page; without one, open the command bar. */
function search() {
  const fields = $$("#main [role=search] input:not([type=hidden])").filter((field) => field.checkVisibility());
  const field = fields.find(({ name, type }) => name === "q" || type === "search") ?? fields[0];
  if (!field) return toggleBar();
  field.focus();
  field.select();
  return true;
}

const EVERYWHERE = { "Ctrl k": toggleBar, "Ctrl s": save };
const COMMANDS = { "/": search, "?": showHelp };

/** Press what declares the key: by Ctrl, in an open dialog only what is in it. Return whether anything does. */
function pressDeclared(key, event) {
  const element = withKey(key, $("dialog[open]") ?? document);
  // Arrows scroll the focused element. A key that is held down presses once.
  if (!element || (key.startsWith("Arrow") && ![document.body, $("#main")].includes(event.target))) return false;
  if (!event.repeat) press(element, key);
  return true;
}

function pressSequence(key) {
  const now = performance.now();
  const keys = sequence.with(key, now);
  const element = keys && withKey(keys, document);
  sequence.begin(element ? "" : key, now);
  if (element) press(element);
  return Boolean(element);
}

const areSingleKeysOn = () => {
  try {
    return localStorage.getItem(SINGLE_KEYS) !== "off";
  } catch {
    return true;
  }
};

function onKey(event) {
  const key = nameOf(event);
  if (event.defaultPrevented || event.isComposing || !key) return;
  if (key.startsWith("Ctrl ")) {
    if ((EVERYWHERE[key] ?? pressDeclared)(key, event)) event.preventDefault();
  } else if ($("dialog[open]")) return;
  else if (isTyping(event.target)) {
    if (key !== "Escape") return;
    event.target.blur(); // then keys work; a browser would empty a search field
    event.preventDefault();
  } else if (areSingleKeysOn()) {
    const isUsed = pressSequence(key) || pressDeclared(key, event) || pressInRows(key) || COMMANDS[key]?.();
    if (isUsed) event.preventDefault();
  }
}

function rowOf(label, keys) {
  const term = document.createElement("dt");
  term.textContent = label;
  const place = document.createElement("dd");
  place.append(...kbds(keys));
  return [term, place];
}

/** Fill the help: with what the page declares, and with the entries whose `data-works-with` is shown. */
function fillHelp(help) {
  const enabled = declared(document).filter((element) => !isDisabled(element));
  for (const place of $$("[data-keys-of]", help)) {
    const own = enabled.filter((element) => element.closest(place.dataset.keysOf));
    const byLabel = new Map(place.dataset.keysOf === "#main" ? rowKeys() : []);
    for (const element of own) byLabel.set(labelOf(element), keysOf(element));
    place.replaceChildren(...[...byLabel].flatMap(([label, keys]) => rowOf(label, keys)));
    place.hidden = !byLabel.size;
  }
  for (const entry of $$("[data-works-with]", help)) {
    entry.hidden = !$$(entry.dataset.worksWith).some((element) => element.checkVisibility());
  }
  for (const list of $$("dl", help)) list.parentElement.hidden = ![...list.children].some((child) => !child.hidden);
  const singleKeys = $("[data-single-keys]", help);
  if (singleKeys) singleKeys.checked = areSingleKeysOn();
}

/** Open the help with the keys that work on this page; its words are fetched once. Return false on pages without it. */
function showHelp() {
  const help = $("[data-help]");
  if (!help) return false;
  openDialog(help.closest("dialog"));
  if (help.childElementCount) fillHelp(help);
  else htmx.ajax("GET", help.dataset.help, { source: help, target: help }).then(() => fillHelp(help));
  return true;
}

function rememberSingleKeys({ target }) {
  if (!target.matches("[data-single-keys]")) return;
  try {
    localStorage.setItem(SINGLE_KEYS, target.checked ? "on" : "off");
  } catch {
    // Storage may be turned off; then keys work.
  }
}

/** Show the keys of this machine, and name the declared ones to assistive technology. */
export function showKeys(root) {
  if (isApple()) for (const key of $$("[data-mod-key]", root)) key.textContent = `⌘ ${key.dataset.modKey}`;
  for (const element of $$("[data-key]", root)) {
    const keys = keysOf(element).filter((key) => key.startsWith("Ctrl ") || !key.includes(" ")); // no two in a row
    if (keys.length) element.ariaKeyShortcuts = keys.join(" ").replaceAll("Ctrl ", isApple() ? "Meta+" : "Control+");
  }
}

export function startKeyboard() {
  on("keydown", onKey);
  on("change", rememberSingleKeys);
  on("click", ({ target }) => target.closest("[data-open-help]") && showHelp());
}
