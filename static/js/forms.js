// Small helpers in forms: samples, sliders, choices that submit at once, counters of characters. Sending, saving and
// keeping text is in leaving.js, requests.js, drafts.js and kept.js.

import { $, $$, on } from "./dom.js";
import { textSize } from "./format.js";
import { closeMenus } from "./menus.js";

/** Dispatch the event that typing into a field would. */
export const dispatchInput = (field) => field.dispatchEvent(new Event("input", { bubbles: true }));

/** Put a sample into its field as if it were typed. */
function fill(event) {
  const sample = event.target.closest("[data-fill]");
  if (!sample) return;
  const target = $(sample.dataset.fill);
  const fields = target.matches("fieldset") ? $$("textarea", target) : [target];
  // A sample of several fields is one JSON object.
  const values = target === fields[0] ? null : JSON.parse(sample.dataset.value);
  for (const field of fields) {
    field.value = values ? (values[field.name.replace("field-", "")] ?? "") : sample.dataset.value;
    dispatchInput(field);
  }
  closeMenus();
  fields[0].focus();
}

/** Show the next hidden row of a form, and put the cursor into it. */
function reveal(event) {
  const button = event.target.closest("[data-reveals]");
  if (!button) return;
  const row = $(button.dataset.reveals);
  row.hidden = false;
  button.hidden = !$(button.dataset.reveals);
  row.querySelector("input").focus();
}

/** Show the sizes of all texts, or of the one in `field`. */
export function showCounts(field) {
  for (const counter of $$("[data-count-for]")) {
    const source = $(counter.dataset.countFor);
    if (source && (!field || field === source)) counter.textContent = textSize(source.value);
  }
}

/** Give a choice the options of another one. The page carries a long list only once. */
function borrowOptions() {
  for (const select of $$("select[data-options-from]")) {
    const { value } = select;
    select.replaceChildren(...$(select.dataset.optionsFrom).cloneNode(true).childNodes);
    select.value = value;
  }
}

/** Press what a part of a form names for Enter. A browser would press the first button of the whole form. */
function pressForPart(event) {
  const { target, key, isComposing, repeat } = event;
  if (key !== "Enter" || isComposing || !target.matches("input")) return;
  const part = target.closest("[data-enter]");
  const button = part && $(part.dataset.enter);
  if (!button) return;
  event.preventDefault();
  if (!repeat) button.click();
}

/** Empty a form after the server accepted it. */
function empty({ target: form, detail }) {
  if (detail.successful && form.matches?.("form[data-empties]")) form.reset();
}

export function startForms() {
  borrowOptions();
  on("click", fill);
  on("click", reveal);
  on("keydown", pressForPart);
  on("htmx:afterRequest", empty);
  // A slider and the number beside it show the same value.
  on("input", (event) => {
    const twin = $(event.target.dataset?.twin ?? "#none");
    if (twin) twin.value = event.target.value;
  });
  on("input", (event) => showCounts(event.target));
  on("change", (event) => event.target.closest("[data-submits]")?.form.requestSubmit());
}
