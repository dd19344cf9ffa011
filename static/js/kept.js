// Text that survives a reload, a closed dialog and an expired login, in this tab and for this person: fields with
// data-keep, fields of guarded forms, the note of the review panel. Passwords and keys are never kept. The reasons are
// in docs/decisions/0017-what-is-typed-is-kept.md.

import { $, $$, on } from "./dom.js";
import { dispatchInput } from "./forms.js";
import { fieldPlace, keptName, noteName, otherName, read, readJson, remove, write, writeJson } from "./storage.js";
import { toast } from "./toasts.js";

const KEPT = "[data-keep], form[data-guard] :is(textarea, input:not([type]), [type=text], [type=url], [type=number])";
const BACK_OVER_CHANGE =
  "Your unsaved text is restored, but this page has changed since you typed it. Check before you save.";

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

/** Keep the text of a field, with the text that it was typed on top of. */
export function keep(field) {
  const { base, seen } = field.form?.elements ?? {}; // of an editor: the version that its text is based on
  const from = readJson(nameFor(field))?.from ?? field.defaultValue; // a refused form shows what was sent
  if (field.value === from) return forget(field);
  return writeJson(nameFor(field), { from, text: field.value, base: base?.value, seen: seen?.value });
}

function putBack(field, kept) {
  field.value = kept.text;
  dispatchInput(field);
}

/** Restore kept text in its fields, and say so for forms that do not save by themselves. */
export function restoreKept(root) {
  const restored = [];
  for (const field of keptFields(root)) {
    const kept = readJson(nameFor(field));
    const notice = field.form && $(`[data-kept-of="#${field.form.id}"]`);
    if (kept?.text === field.value) {
      if (notice && field.value === field.defaultValue) forget(field); // the server has it
    } else if (kept && notice && kept.from !== field.defaultValue) {
      // It was typed on top of another text than the server shows now: ask before restoring it.
      writeJson(otherNameFor(field), kept);
      forget(field);
    } else if (kept) {
      if (field.form?.matches("[data-guard]")) restored.push({ field, isOver: kept.from !== field.defaultValue });
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

/** Restore the offered text, or drop it. */
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
    // As if the earlier page saved it now: the server then shows and merges the changes in between.
    form.elements.base.value = other.base;
    form.elements.seen.value = other.seen;
    form.elements.page.value = Math.random().toString(16).slice(2);
    putBack(field, other);
  }
  notice.hidden = true;
  if (isWanted) document.body.dispatchEvent(new CustomEvent("live:revision")); // shows what is live since that base
}

const currentNote = () => noteName(document.body.dataset.user, location.pathname, $("#review h2").textContent);

export const forgetNote = () => remove(currentNote());

/** Restore the note in a review panel that opens again for the same change. */
export function restoreNote() {
  const field = $("#review-note");
  if (field && !field.value) field.value = read(currentNote()) ?? "";
}

export function startKept() {
  on("input", ({ target }) => isKept(target) && keep(target));
  on("click", answerOffer);
  on("input", ({ target }) => target.id === "review-note" && write(currentNote(), target.value));
}
