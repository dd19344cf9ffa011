// Leaving the page: the question before text is lost, the way to the sign-in page, and ordinary (not htmx) forms, with
// the data that the next page needs about them.

import { $, $$, on, signInPage } from "./dom.js";
import { saveOnTheWay } from "./drafts.js";
import { keptNamesOf } from "./kept.js";
import { FOCUS, SENT, clear, cookie, readJson, remove, writeJson } from "./storage.js";
import { markSaved, unsavedForms } from "./unsaved.js";

const TYPING_MS = 2000; // after this pause a person is not in the middle of a word

let typedAt = 0;
let signedOut = false;

/** Return whether the page is on its way to the sign-in page. */
export const isSignedOut = () => signedOut;

/** Go to the sign-in page once the person stops typing: the next keys would go there, and be missing here. */
export function toSignIn(address) {
  if (signedOut) return;
  signedOut = true;
  const ended = new URL(address, location.href);
  ended.searchParams.set("ended", "1"); // the sign-in page then says why it is shown
  const go = () => {
    const left = typedAt + TYPING_MS - Date.now();
    if (left > 0) setTimeout(go, left);
    else location.assign(ended);
  };
  go();
}

function askBeforeLoss(event) {
  if (signedOut) return; // the kept text comes back after signing in
  if (unsavedForms().filter((form) => !saveOnTheWay(form)).length) event.preventDefault();
}

const isHtmx = (form) => form.matches("[hx-post], [hx-put], [hx-patch], [hx-delete], [hx-get]");

function onSubmit(event) {
  const form = event.target;
  if (event.defaultPrevented || isHtmx(form)) return;
  markSaved(form); // its text is on its way
  const token = form.elements.csrfmiddlewaretoken;
  if (token) token.value = cookie("csrftoken") ?? token.value; // as with htmx: the token of the page may be stale
  writeJson(SENT, keptNamesOf(form));
  if (form.matches("[data-forgets]")) clear();
  const button = event.submitter;
  if (!button?.matches("[data-busy]")) return;
  button.setAttribute("aria-busy", "true");
  setTimeout(() => (button.disabled = true)); // after the browser has read the form, which would skip a disabled button
}

/** Make the page usable again when the browser shows it from its cache. */
function onPageShow(event) {
  if (!event.persisted) return;
  remove(SENT);
  for (const button of $$("[data-busy][aria-busy]")) {
    button.removeAttribute("aria-busy");
    button.disabled = false;
  }
}

/** Forget the text of an ordinary form once the server has accepted it.
 *
 * The server then answers with a redirect, but not to the sign-in page; otherwise it shows the form again or an error.
 */
export function settleSent() {
  const sent = readJson(SENT);
  remove(SENT);
  const isRedirected = performance.getEntriesByType("navigation")[0]?.redirectCount > 0;
  if (sent && isRedirected && signInPage()) sent.forEach(remove);
}

/** Remember the element that gets the focus on the next page: the opener of the panel, or else the editor. */
export function rememberFocus() {
  writeJson(FOCUS, { path: location.pathname, opener: $("dialog:modal")?.dataset.opener });
}

export function restoreFocus() {
  const { path, opener } = readJson(FOCUS) ?? {};
  remove(FOCUS);
  if (path === location.pathname) ($(opener || "#none") ?? $("textarea.editor"))?.focus({ preventScroll: true });
}

export function startLeaving() {
  window.addEventListener("beforeunload", askBeforeLoss);
  on("submit", onSubmit);
  window.addEventListener("pageshow", onPageShow);
  on("input", () => (typedAt = Date.now()), true);
}
