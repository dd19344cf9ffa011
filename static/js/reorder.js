// Reordering a list: drag an item by its handle, or press Alt and an arrow on the handle.

import { $, on } from "./dom.js";
import { itemStep } from "./keys.js";
import { announce } from "./toasts.js";

const isItem = (element) => Boolean(element) && element.tagName !== "THEAD"; // a table's rows are below its head
const items = (item) => [...item.parentElement.children].filter(isItem);
const place = (item) => items(item).indexOf(item);
const itemBefore = (item) => (isItem(item.previousElementSibling) ? item.previousElementSibling : null);

/** Return the item whose handle is the target of an event, or null. */
function itemAt(target) {
  const list = target.closest?.("[data-handle]")?.closest("[data-reorder]");
  let item = list && target;
  while (item && item.parentElement !== list) item = item.parentElement;
  return item || null;
}

function sayMoved(item) {
  const name = item.dataset.label ?? item.textContent.trim().slice(0, 40);
  announce(`${name}: position ${place(item) + 1} of ${items(item).length}`);
  item.parentElement.dispatchEvent(new CustomEvent("reordered", { bubbles: true }));
}

function onKey(event) {
  const step = itemStep(event);
  const item = step && itemAt(event.target);
  if (!item) return;
  event.preventDefault();
  const other = step < 0 ? itemBefore(item) : item.nextElementSibling;
  if (!other) return announce(step < 0 ? "This is already the first." : "This is already the last.");
  if (step < 0) other.before(item);
  else other.after(item);
  $("[data-handle]", item).focus(); // an element loses the focus when it moves
  sayMoved(item);
}

const middle = (element) => element.getBoundingClientRect().top + element.offsetHeight / 2;

/** Swap an item with its neighbors until the pointer is between their middles. */
function follow(item, clientY) {
  const previous = () => itemBefore(item);
  const next = () => item.nextElementSibling;
  while (previous() && clientY < middle(previous())) previous().before(item);
  while (next() && clientY > middle(next())) next().after(item);
}

function drag(event) {
  const item = event.button === 0 && itemAt(event.target);
  if (!item) return;
  event.preventDefault();
  $("[data-handle]", item).focus();
  const start = place(item);
  const startedBefore = item.nextElementSibling;
  const stop = new AbortController();
  const listen = (name, handler) => on(name, handler, { signal: stop.signal });
  const end = (isWanted) => {
    stop.abort();
    item.classList.remove("dragging");
    document.body.classList.remove("is-dragging");
    if (!item.isConnected) return; // the list was replaced during the request
    if (!isWanted) item.parentElement.insertBefore(item, startedBefore);
    $("[data-handle]", item).focus();
    if (place(item) !== start) sayMoved(item);
  };
  item.classList.add("dragging");
  document.body.classList.add("is-dragging");
  listen("pointermove", ({ clientY }) => follow(item, clientY));
  listen("pointerup", () => end(true));
  listen("pointercancel", () => end(false));
  listen("keydown", ({ key }) => key === "Escape" && end(false));
}

export function startReorder() {
  on("keydown", onKey);
  on("pointerdown", drag);
}
