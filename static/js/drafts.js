// Drafts: forms with data-autosave save while a person types, show their state, and retry after a failure.

import { $, $$, on, setSentValue } from "./dom.js";
import { forget, forgetForm, keep } from "./kept.js";
import { saveFailure, succeeded } from "./responses.js";
import { cookie } from "./storage.js";
import { isUnsaved, markSaved, markUnsaved } from "./unsaved.js";

const SAVE_AGAIN_MS = 5000;
const KEEPALIVE_BYTES = 60_000; // browsers refuse a little more

const saves = new WeakMap(); // form -> {typed, sent, retry}: how many inputs there were, how many the last save held
const saveOf = (form) => saves.get(form) ?? saves.set(form, { typed: 0, sent: 0, retry: 0 }).get(form);
const autosavedForm = (event) => (event.detail.elt.matches?.("form[data-autosave]") ? event.detail.elt : null);

export const saveNow = (form) => form.isConnected && htmx.trigger(form, "save");

/** Save all unsaved drafts of the page. */
export function saveUnsaved() {
  for (const form of $$("form[data-autosave]")) if (isUnsaved(form)) saveNow(form);
}

/** Return what the save state of a saved form says. A text that cannot be published has more than "Saved". */
function savedText(place) {
  if (!$("#discard")) return place.dataset.clean;
  return $(place.dataset.problems) ? "Saved, but not ready to publish" : "Saved";
}

/** Show the number of problems again after the checks of a saved form have changed, as with a variable. */
function showChecked({ target }) {
  if (target.id !== "problems") return;
  for (const form of $$("form[data-autosave]")) if (!isUnsaved(form) && !saveOf(form).failed) showSave(form, "saved");
}

/** Show the save state of a form. Without a text, the form is saved or has no changes. */
function showSave(form, state, text) {
  const places = [...$$("[data-save-state]", form), ...(form.id ? $$(`[data-save-state="#${form.id}"]`) : [])];
  for (const place of places) {
    place.dataset.state = state;
    const shown = text ?? savedText(place);
    place.toggleAttribute("data-has-problems", !text && $("#discard") && shown !== "Saved");
    if (place.textContent === shown) continue;
    place.textContent = shown;
    place.title = shown; // a narrow line cuts a long sentence off
  }
}

/** Send a form in a request that outlives the page. Return false if that is not reliable. */
export function saveOnTheWay(form) {
  if (!form.matches("[data-autosave]") || saveOf(form).failed || !navigator.onLine) return false;
  const body = new URLSearchParams(new FormData(form)).toString();
  if (body.length > KEEPALIVE_BYTES) return false;
  const headers = { "Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": cookie("csrftoken") ?? "" };
  fetch(form.getAttribute("hx-post"), { method: "POST", body, headers, keepalive: true }).catch(() => {});
  return true;
}

function beforeSave(event) {
  const form = autosavedForm(event);
  if (!form) return;
  const save = saveOf(form);
  if (!isUnsaved(form)) {
    // Without changes a request is not needed. Its answer would replace the button that is being pressed.
    event.preventDefault();
    return showSave(form, "saved");
  }
  if (save.conflict && !form.elements.overwrite.value) {
    // Saving again would replace the buttons of the choice.
    event.preventDefault();
    return showSave(form, "failed", save.conflict);
  }
  save.sent = save.typed;
  clearTimeout(save.retry);
  showSave(form, "saving", "Saving…");
}

function afterSave(event) {
  const form = autosavedForm(event);
  if (!form) return;
  const save = saveOf(form);
  const { xhr } = event.detail;
  save.failed = !succeeded(xhr);
  save.conflict = "";
  if (!save.failed) return settleSave(form, save, event.detail.requestConfig.parameters);
  const { text, isConflict, retries } = saveFailure(xhr);
  if (isConflict && form.elements.overwrite) save.conflict = text;
  showSave(form, "failed", text);
  if (retries) save.retry = setTimeout(saveNow, SAVE_AGAIN_MS, form);
}

/** Remove kept text that the server has saved; keep text that was typed after sending. */
function settleSave(form, save, parameters) {
  if (form.elements.overwrite) form.elements.overwrite.value = "";
  const hasMore = save.sent !== save.typed;
  for (const field of form.elements) {
    if (!field.dataset.keep) continue;
    // This is what the server would show now. Only text that was typed later needs restoring.
    setSentValue(field, parameters[field.name]);
    forget(field);
    if (hasMore) keep(field);
  }
  if (hasMore) return showSave(form, "waiting", "Not saved yet");
  markSaved(form);
  forgetForm(form);
  showSave(form, "saved");
}

/** Overwrite the draft that another window has saved. */
function overwrite(event) {
  const form = $(event.target.closest("[data-overwrite]")?.dataset.overwrite ?? "#none");
  if (!form) return;
  form.elements.overwrite.value = "1";
  markUnsaved(form);
  saveNow(form);
}

export function startDrafts() {
  // A phone may end a page in the background without warning. A page that is left becomes hidden too, after `pagehide`.
  let isLeft = false;
  window.addEventListener("pagehide", () => (isLeft = true));
  window.addEventListener("pageshow", () => (isLeft = false));
  on("visibilitychange", () => {
    if (!isLeft && document.visibilityState === "hidden") saveUnsaved();
  });
  on("click", overwrite);
  on("input", (event) => {
    const form = event.target.form;
    if (!form?.matches("[data-autosave]")) return;
    saveOf(form).typed += 1;
    showSave(form, "waiting", "Not saved yet");
  });
  on("htmx:beforeRequest", beforeSave);
  on("htmx:afterRequest", afterSave);
  on("htmx:oobAfterSwap", (event) => showChecked(event.detail));
}
