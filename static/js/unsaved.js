// The forms that hold text that the server does not have.

import { on } from "./dom.js";

const unsaved = new Set();

const isGuarded = (form) => form.isConnected && form.matches("[data-guard], [data-autosave]");

export const markUnsaved = (form) => unsaved.add(form);
export const markSaved = (form) => unsaved.delete(form);
export const isUnsaved = (form) => unsaved.has(form);

/** Return the forms on the page whose text would be lost if the page were left. */
export const unsavedForms = () => [...unsaved].filter(isGuarded);

export function startUnsaved() {
  on("input", (event) => event.target.form && markUnsaved(event.target.form));
  on("reset", (event) => markSaved(event.target));
}
