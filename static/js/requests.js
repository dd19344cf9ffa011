// Requests of htmx: the token, busy buttons, forgetting accepted text, and the message for a failure.

import { $, on } from "./dom.js";
import { hintOf, miss } from "./hints.js";
import { forgetForm, forgetNote } from "./kept.js";
import { rememberFocus, toSignIn } from "./leaving.js";
import { failureReason, loginExpired, redirect, succeeded } from "./responses.js";
import { isSamePage, showInPlace } from "./samepage.js";
import { cookie } from "./storage.js";
import { toast } from "./toasts.js";
import { markSaved } from "./unsaved.js";

let busyFocus = null; // the button that had the focus when it became busy

function setBusy(event, isBusy) {
  const elt = event.detail.elt;
  const submitter = event.detail.requestConfig?.triggeringEvent?.submitter;
  const button = [elt, submitter].find((element) => element?.matches("[data-busy]"));
  if (!button) return;
  if (isBusy) {
    busyFocus = document.activeElement === button ? button : busyFocus;
    button.setAttribute("aria-busy", "true");
  } else button.removeAttribute("aria-busy");
  button.disabled = isBusy;
  // A disabled button loses the focus; it gets the focus back unless another element has it now.
  if (isBusy || busyFocus !== button || document.activeElement !== document.body) return;
  (button.isConnected ? button : document.getElementById(button.id))?.focus(); // the button may have been replaced
}

/** Forget the text of a form once the server has accepted it; an opened review panel has accepted nothing yet. */
function settle({ elt: form, xhr, target, requestConfig }) {
  if (!succeeded(xhr)) return;
  const leaves = Boolean(redirect(xhr));
  if ($("#review-note") && leaves) forgetNote();
  if (form.dataset?.drops) {
    const dropped = $(form.dataset.drops); // the server has its text, or it was discarded
    markSaved(dropped);
    forgetForm(dropped);
  }
  if (leaves) rememberFocus();
  if (form.nodeName !== "FORM" || form.matches("[data-autosave]") || requestConfig.verb === "get") return;
  if (target.matches("[data-opens-itself]") && !leaves) return;
  markSaved(form);
  forgetForm(form);
}

/** Send an answer to the part of the page that has the id of its target now: a refresh may have replaced the target. */
function retarget(detail) {
  if (!detail.target.isConnected) detail.target = document.getElementById(detail.target.id) ?? detail.target;
}

function onAnswer(event) {
  const { xhr } = event.detail;
  retarget(event.detail);
  const address = redirect(xhr);
  if (loginExpired(xhr)) {
    event.preventDefault(); // htmx would leave at once, in the middle of a word
    return toSignIn(address);
  }
  settle(event.detail);
  if (!isSamePage(address)) return;
  event.preventDefault(); // htmx would load the whole page again
  showInPlace(address);
}

function onFailure(event) {
  const missed = hintOf(event);
  if (missed) return miss(missed);
  if (event.detail.elt.matches("[data-autosave]")) return; // its save state says so
  toast(failureReason(event.detail.xhr), "error");
}

export function startRequests() {
  on("htmx:configRequest", (event) => {
    // The token of the page is stale after a sign-in in another tab; the cookie never is.
    const token = cookie("csrftoken");
    if (token) event.detail.headers["X-CSRFToken"] = token;
  });
  on("htmx:beforeRequest", (event) => setBusy(event, true));
  on("htmx:afterRequest", (event) => setBusy(event, false));
  on("htmx:beforeOnLoad", onAnswer);
  on("click", ({ target }) => {
    const asking = $(target.closest("[data-aborts]")?.dataset.aborts ?? "#none");
    if (asking) htmx.trigger(asking, "htmx:abort");
  });
  ["htmx:responseError", "htmx:sendError", "htmx:timeout"].forEach((name) => on(name, onFailure));
}
