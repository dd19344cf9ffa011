// Text that survives a reload, a closed dialog and an expired login, in this tab and for this person: fields with
// data-keep, fields of guarded forms, the note of the review panel. Passwords and keys are never kept. See
// docs/decisions/0017-what-is-typed-is-kept.md.

import { $, $$, on, sentValue } from "./dom.js";
import { dispatchInput } from "./forms.js";
import { fieldPlace, keptName, noteName, otherName, read, readJson, remove, write, writeJson } from "./storage.js";
import { toast } from "./toasts.js";

const KEPT = "[data-keep], form[data-guard] :is(textarea, input:not([type]), [type=text], [type=url], [type=number])";
const BACK_OVER_CHANGE =
  "Your unsaved text is restored, but the saved text has changed since. Check it before you save.";

const isKept = (field) => Boolean(field.name && field.matches?.(KEPT));

export const keptFields = (root = document) => $$(KEPT, root).filter(isKept);
const keptFieldsOf = (form) => [...form.elements].filter(isKept);

function nameFor(field) {
  const address = `${location.pathname}${location.search}`;
  const place = fieldPlace({ keep: field.dataset.keep, address, form: field.form?.id, name: field.name });
  return keptName(document.body.dataset.user, place);
}
const otherNameFor = (field) => otherName(nameFor(field));

/** Return the names under which a form's text is kept. */
export const keptNamesOf = (form) => keptFieldsOf(form).map(nameFor);

export const forget = (field) => remove(nameFor(field));
export const forgetForm = (form) => keptFieldsOf(form).forEach(forget);

/** Keep the text of a field, with the text that it started from. */
export function keep(field) {
  const { base, seen } = field.form?.elements ?? {}; // of an editor: what its text started from
  const from = readJson(nameFor(field))?.from ?? sentValue(field); // a refused form shows the sent text
  if (field.value === from) return forget(field);
  return writeJson(nameFor(field), { from, text: field.value, base: base?.value, seen: seen?.value });
}

function putBack(field, kept) {
  field.value = kept.text;
  dispatchInput(field);
}

/** Restore kept text into its fields, with a toast for forms that do not autosave. */
export function restoreKept(root) {
  const restored = [];
  for (const field of keptFields(root)) {
    const kept = readJson(nameFor(field));
    const notice = field.form && $(`[data-kept-of="#${field.form.id}"]`);
    if (kept?.text === field.value) {
      if (notice && field.value === sentValue(field)) forget(field); // it is saved
    } else if (kept && notice && kept.from !== sentValue(field)) {
      // The text started from something other than the saved text of now, so ask before restoring it.
      writeJson(otherNameFor(field), kept);
      forget(field);
    } else if (kept) {
      if (field.form?.matches("[data-guard]")) restored.push({ field, isOver: kept.from !== sentValue(field) });
      putBack(field, kept);
    }
    if (notice) offerOther(field, notice);
  }
  if (restored.length) sayRestored(restored);
}

function sayRestored(restored) {
  for (const { field } of restored) if (field.closest("details")) field.closest("details").open = true;
  const isOverChange = restored.some(({ isOver }) => isOver);
  if (isOverChange) toast(BACK_OVER_CHANGE, "warning");
  else toast("Your unsaved text is restored. It is not saved yet.");
}

function offerOther(field, notice) {
  const other = readJson(otherNameFor(field));
  if (!other) return;
  notice.hidden = false;
  if (field.nodeName === "TEXTAREA") $("[data-kept-text]", notice).textContent = other.text;
}

/** Restore the offered text, or discard it. */
function answerOffer(event) {
  const isWanted = Boolean(event.target.closest("[data-kept-back]"));
  if (!isWanted && !event.target.closest("[data-kept-drop]")) return;
  const notice = event.target.closest("[data-kept-of]");
  const form = $(notice.dataset.keptOf);
  for (const field of form.elements) {
    const other = field.dataset.keep && readJson(otherNameFor(field));
    if (!other) continue;
    remove(otherNameFor(field));
    if (!isWanted) continue;
    // As if that earlier page saved it, so that the server shows and merges later changes.
    form.elements.base.value = other.base;
    form.elements.seen.value = other.seen;
    form.elements.page.value = Math.random().toString(16).slice(2);
    putBack(field, other);
  }
  notice.hidden = true;
  if (isWanted) document.body.dispatchEvent(new CustomEvent("live:revision")); // refreshes the notice of what is live
}

const currentNote = () => noteName(document.body.dataset.user, location.pathname, $("#review h2").textContent);

export const forgetNote = () => remove(currentNote());

/** Restore the note of a review panel that opens again for the same change. */
export function restoreNote() {
  const field = $("#review-note");
  if (field && !field.value) field.value = read(currentNote()) ?? "";
}

export function startKept() {
  on("input", ({ target }) => isKept(target) && keep(target));
  on("click", answerOffer);
  on("input", ({ target }) => target.id === "review-note" && write(currentNote(), target.value));
}
