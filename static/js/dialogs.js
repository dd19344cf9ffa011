// Dialogs: opening, closing, the focus, and the review panel that opens itself when the server fills it.

import { $, $$, on } from "./dom.js";
import { restoreNote } from "./kept.js";
import { closeMenus } from "./menus.js";
import { letScroll } from "./scrolling.js";
import { placeToasts, rescueToasts } from "./toasts.js";

const shownSince = new WeakMap(); // panel -> when the request for what it shows began

/** Return a selector that finds the opener of a dialog again after it, or the whole page, has been replaced. */
function selectorOf({ id, form }) {
  if (id) return `#${CSS.escape(id)}`;
  return form?.id ? `#${CSS.escape(form.id)} button:not([type=button])` : "";
}

/** Open a dialog. `opener` made the request for it; while the request ran, the opener could not have the focus. */
export function openDialog(dialog, opener = null) {
  if (!dialog || dialog.open) return;
  closeMenus();
  const { activeElement } = document;
  dialog.dataset.opener = selectorOf((activeElement === document.body && opener) || activeElement);
  dialog.showModal(); // traps the focus and returns it on close
  dialog.dispatchEvent(new Event("opened"));
  letScroll();
  placeToasts();
}

/** Return the focus to the opener. The browser does so, too, but the opener may have been replaced. */
function giveFocusBack({ target }) {
  const { activeElement, body } = document;
  if (activeElement === body || target.contains(activeElement)) $(target.dataset.opener || "#none")?.focus();
}

/** Empty the review panel when it closes: a one-time link must not stay in the page. */
function emptyPanel({ target }) {
  if (!target.matches("[data-opens-itself]")) return;
  for (const cancel of $$("[data-running] form[ws-send]", target)) cancel.requestSubmit(); // nobody would see its end
  target.replaceChildren();
}

/** Open a panel that the server has filled; close one that it has emptied. */
function showPanel(event) {
  const dialog = event.detail.target?.closest?.("dialog[data-opens-itself]");
  placeToasts();
  if (!dialog) return;
  if (!dialog.querySelector(":scope > :not(#toasts)")) return dialog.close();
  const { elt, triggeringEvent } = event.detail.requestConfig ?? {};
  openDialog(dialog, triggeringEvent?.submitter ?? elt);
  restoreNote();
}

/** Ignore an answer for a panel that shows the answer to a later press, which a person is about to confirm. */
function spareLaterPanel({ target, detail }) {
  if (!target.matches("[data-opens-itself]") || !detail.shouldSwap) return;
  const { begun } = detail.xhr;
  if (target.open && begun < shownSince.get(target)) detail.shouldSwap = false;
  else shownSince.set(target, begun);
}

/** Keep the focus on the place of the confirming button, which asks to look again after somebody else's release. */
function keepFocusOnConfirming({ target }) {
  const confirming = target.matches(".review-news") && $(".confirming", target.parentElement);
  if (confirming && confirming.contains(document.activeElement)) $(".looks-again", confirming).focus();
}

/** Press what the review panel offers. The form of a note is on the page, and Enter would press its first button. */
function confirmByEnter(event) {
  const { target, key, isComposing, repeat } = event;
  if (key !== "Enter" || isComposing || !target.matches("#review-note")) return;
  const offered = $$(".confirming > button", target.closest("dialog") ?? document);
  const button = offered.find((each) => each.checkVisibility({ visibilityProperty: true }));
  event.preventDefault();
  if (!repeat) button?.click();
}

/** Close a dialog by a click on its backdrop; the browser reports such a click on the dialog itself. */
function closeFromBackdrop({ target, clientX, clientY }) {
  const { left, right, top, bottom } = target.getBoundingClientRect();
  const isInside = clientX >= left && clientX <= right && clientY >= top && clientY <= bottom;
  if (!isInside) target.close();
}

export function startDialogs() {
  on("close", placeToasts, true); // the event does not bubble
  window.addEventListener("resize", placeToasts);
  const growing = new ResizeObserver(placeToasts); // a panel's content may arrive in parts
  $$("dialog").forEach((dialog) => growing.observe(dialog));
  on("close", giveFocusBack, true);
  on("close", emptyPanel, true);
  on("keydown", confirmByEnter);
  on("click", (event) => {
    const opener = event.target.closest("[data-open-dialog]");
    if (opener) openDialog($(opener.dataset.openDialog));
    if (event.target.closest("[data-close-dialog]")) event.target.closest("dialog")?.close();
  });
  let pressed = null; // a click that began inside the dialog, such as selecting text, does not close it
  on("pointerdown", (event) => (pressed = event.target));
  on("click", (event) => {
    if (event.target.nodeName === "DIALOG" && pressed === event.target) closeFromBackdrop(event);
  });
  on("htmx:beforeSwap", (event) => rescueToasts(event.detail.target));
  on("htmx:beforeSwap", spareLaterPanel);
  on("htmx:afterSettle", showPanel);
  on("htmx:afterSwap", keepFocusOnConfirming);
}
