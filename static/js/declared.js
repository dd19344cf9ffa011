// Keys are declared once, on the link, button or label that they press: data-key="r|Ctrl Enter". The keyboard, the help
// and the command bar read this. A key is one key, two keys in a row ("g p"), or "Ctrl" and a key (Cmd on Apple's).

import { $$ } from "./dom.js";
import { keysIn } from "./keys.js";

const DECLARED = "[data-key]";
// The commands of the top of a page are in the command bar even without a key.
const ACTIONS = `#main ${DECLARED}, #main .head :is(a.btn, button.btn), [data-action]`;

export const keysOf = (element) => keysIn(element.dataset.key ?? "");
export const isDisabled = (element) => element.disabled || element.getAttribute("aria-disabled") === "true";

/** Return what a person can press in `root` by a key. */
export const declared = (root) =>
  $$(DECLARED, root).filter((element) => element.checkVisibility({ visibilityProperty: true }));

/** Return the element that `key` presses, one that is not disabled if there is one. */
export function withKey(key, root) {
  const found = declared(root).filter((element) => keysOf(element).includes(key));
  return found.find((element) => !isDisabled(element)) ?? found[0];
}

/** Return the name of an element in the help and the command bar: its text without keys and icons. */
export function labelOf(element) {
  const { label } = element.dataset;
  if (label || element.ariaLabel) return label || element.ariaLabel;
  const copy = element.cloneNode(true);
  for (const part of $$("kbd, svg", copy)) part.remove();
  return copy.textContent.replace(/\s+/g, " ").trim();
}

/** Return the sentence that says why an element is disabled; "" if it is not, or if nothing says why. */
export function whyNot(element) {
  if (!isDisabled(element)) return "";
  const [id] = (element.getAttribute("aria-describedby") ?? "none").split(" ");
  return document.getElementById(id)?.textContent.replace(/\s+/g, " ").trim() ?? "";
}

const isOffered = (element) => element.checkVisibility() || "action" in element.dataset;

/** Return the actions of the page, those with a key first, each with its own name. */
export function pageActions() {
  const byLabel = new Map();
  for (const element of $$(ACTIONS)) {
    const label = labelOf(element);
    if (label && isOffered(element) && !byLabel.has(label)) byLabel.set(label, element);
  }
  const actions = [...byLabel].map(([label, element]) => {
    return { label, element, keys: keysOf(element), why: whyNot(element) };
  });
  return actions.toSorted((a, b) => Boolean(b.keys.length) - Boolean(a.keys.length));
}

const SHOWN = { ArrowLeft: "←", ArrowRight: "→" };
export const isApple = () => /Mac|iPhone|iPad/.test(navigator.platform);

/** Show a key as people read it: on Apple's machines, Cmd takes the place of Ctrl. */
const shownKey = (key) => SHOWN[key] ?? (isApple() ? key.replace("Ctrl ", "⌘ ") : key);

/** Return the <kbd> elements of some keys. */
export const kbds = (keys) =>
  keys.map((key) => {
    const kbd = document.createElement("kbd");
    kbd.textContent = shownKey(key);
    return kbd;
  });
