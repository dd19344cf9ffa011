// Toasts (short messages in the corner) and announcements to screen readers.

import { $, $$, on } from "./dom.js";

const TOAST_MS = 8000;

/** Show a sentence; `level` is success, info, warning or error. Errors stay until dismissed. No duplicates. */
export function toast(text, level = "info") {
  const box = $("#toasts");
  if (!box || $$(".toast p", box).some((p) => p.textContent === text)) return;
  const item = document.createElement("div");
  item.className = `toast ${level}`;
  item.dataset.toast = "";
  if (level === "error") item.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.dir = "auto";
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn quiet small icon-only";
  close.dataset.dismiss = "";
  close.setAttribute("aria-label", "Dismiss");
  close.textContent = "×";
  item.append(words, close);
  box.append(item);
  expire(item);
}

/** Remove a toast after a while, but not an error, and not while the pointer or the focus is on it. */
function expire(item) {
  if (item.matches(".error, .warning")) return;
  setTimeout(() => (item.matches(":hover, :focus-within") ? expire(item) : item.remove()), TOAST_MS);
}

/** Say a sentence to screen readers only. */
export function announce(text) {
  const region = $("#announce");
  if (region) region.textContent = text;
}

/** Move the toasts into the open dialog, if any: outside of it, clicks and screen readers cannot reach them.
 *
 * Toasts that would cover a part of the dialog, such as its buttons, get a row of their own.
 */
export function placeToasts() {
  const toasts = $("#toasts");
  const home = $("dialog:modal") ?? document.body;
  if (toasts.parentElement !== home) home.append(toasts);
  toasts.classList.remove("within");
  if (home === document.body || !toasts.childElementCount) return;
  const [box, over] = [home, toasts].map((element) => element.getBoundingClientRect());
  toasts.classList.toggle("within", over.top < box.bottom && over.left < box.right);
}

/** Take the toasts out of an element that is about to be replaced. */
export function rescueToasts(target) {
  if (target?.contains($("#toasts"))) document.body.append($("#toasts"));
}

export function startToasts() {
  on("click", (event) => event.target.closest("[data-dismiss]")?.closest("[data-toast]")?.remove());
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) {
      for (const node of addedNodes) if (node.matches?.("[data-toast]")) expire(node);
    }
    placeToasts();
  }).observe($("#toasts"), { childList: true });
  $$("[data-toast]").forEach(expire);
}
