// Hints: events such as live:revision, on which parts of the page fetch their changes, and parts sent with a hint.
// Nothing under a pressed pointer is replaced, because the click would be lost. If a form takes a new shape then, its
// new control is clicked; elsewhere that could act on what nobody has seen. live.js reads hints from the socket.

import { $, on } from "./dom.js";
import { eventsOf, hintName } from "./protocol.js";
import { controlAt, finderOf } from "./twins.js";

const MISSED_EVERY_MS = 5000;
const CLICK_PX = 8; // a pointer that moves further drags, selects or leaves

const missed = new Set(); // hints whose refresh failed; repeated when the connection is back
const heardAt = new Map(); // name of a hint -> when it came
const spreading = new Map(); // hints whose requests are delayed
const partsUnderPointer = new Map(); // id -> HTML that came for a part while it was pressed
let pressed = null; // the element that is being pressed
let findPressed = null; // finds the pressed control again
let pressedAt = { x: 0, y: 0 };

const give = (name, detail) => document.body.dispatchEvent(new CustomEvent(name, { detail }));
export const listens = (root, name) => {
  const listener = `[hx-trigger*="${name} "]`;
  return root.matches?.(listener) || $(listener, root);
};

/** Return the hint that caused a request, or null. */
export function hintOf(event) {
  const name = event.detail.requestConfig?.triggeringEvent?.type ?? "";
  return name.startsWith("live:") ? name : null;
}

/** Repeat a hint later. */
export const miss = (name) => missed.add(name);

export function giveMissed() {
  const names = [...missed];
  missed.clear();
  names.forEach((name) => give(name));
}

/** Announce a hint to the page. If many pages are open, they fetch at different moments. */
export function hear(hint) {
  if (!hint.spread) return hearNow(hint);
  const name = hintName(hint);
  const isWaiting = spreading.has(name); // a page that is about to fetch need not fetch twice
  spreading.set(name, hint);
  if (isWaiting) return;
  setTimeout(() => {
    const newest = spreading.get(name);
    spreading.delete(name);
    hearNow(newest);
  }, Math.random() * hint.spread);
}

function hearNow(hint) {
  const [name, ...more] = eventsOf(hint);
  heardAt.set(name, performance.now());
  give(name, hint);
  more.forEach((other) => give(other));
}

/** Repeat hints that came between the request for a part and its answer, which may be older. */
function catchUp({ target, detail }) {
  for (const [name, at] of heardAt) if (at > detail.xhr?.begun && listens(target, name)) give(name);
}

/** Replace parts of the page by those of the same id in `html`. */
export function showParts(html) {
  const parsed = document.createElement("template");
  parsed.innerHTML = html;
  for (const part of parsed.content.children) {
    const old = document.getElementById(part.id);
    if (old && pressed && old.contains(pressed)) partsUnderPointer.set(part.id, part.outerHTML);
    else if (old) {
      partsUnderPointer.delete(part.id);
      document.body.dispatchEvent(new CustomEvent("promptops:beforeShow", { bubbles: true }));
      htmx.swap(old, part.outerHTML, { swapStyle: "outerHTML", settleDelay: 0, swapDelay: 0 });
    }
  }
}

function showPressedParts() {
  for (const part of partsUnderPointer.values()) showParts(part);
}

function onPress({ target, button, pointerType, x, y }) {
  pressed = target;
  pressedAt = { x, y };
  const isOfShape = button === 0 && pointerType === "mouse" && $("[data-reshapes]", target.closest("form") ?? target);
  const control = isOfShape && controlAt(target); // a tap clicks what is there at its end
  findPressed = control ? finderOf(control) : null;
}

/** Click what has replaced the pressed control, which may be elsewhere now. A browser clicks only what was pressed. */
function clickTwin(event) {
  if (!pressed || pressed.isConnected) return;
  const hasStayed = Math.hypot(event.x - pressedAt.x, event.y - pressedAt.y) < CLICK_PX;
  if (hasStayed) findPressed?.()?.dispatchEvent(new MouseEvent("click", event));
}

function onRelease(event) {
  if (event.type === "pointerup") clickTwin(event);
  pressed = null;
  setTimeout(giveMissed); // after the click
  setTimeout(showPressedParts);
}

function spareThePressed(event) {
  const name = hintOf(event);
  if (!name || !pressed || !event.detail.target.contains(pressed)) return;
  event.detail.shouldSwap = false;
  miss(name);
}

export function startHints() {
  setInterval(giveMissed, MISSED_EVERY_MS);
  on("pointerdown", onPress, true);
  for (const end of ["pointerup", "pointercancel", "dragend"]) on(end, onRelease, true);
  on("htmx:beforeSwap", spareThePressed);
  on("htmx:beforeRequest", ({ detail }) => (detail.xhr.begun = performance.now()));
  on("htmx:afterSettle", catchUp);
}
