// A form that the server sends in a new shape after a choice, marked with data-reshapes. What is typed or pressed while
// the new shape is on its way counts in the new shape.

import { on } from "./dom.js";

let loading = null; // { form, request, before, pressed } of the shape that is on its way

const isChoice = ({ type }) => type === "checkbox" || type === "radio";
const valueOf = (field) => (isChoice(field) ? field.checked : field.value);
const valuesOf = (form) => new Map([...form.elements].map((field) => [field, valueOf(field)]));

function begin({ detail: { elt, xhr } }) {
  if (!elt.matches("[data-reshapes]")) return;
  const form = elt.closest("form");
  form.setAttribute("aria-busy", "true");
  loading = { form, request: xhr, before: valuesOf(form), pressed: null };
}

/** Let a button of the form wait for the new shape, which has the fields that its request should send. */
function wait(event) {
  const { elt } = event.detail;
  if (!loading || elt.matches("[data-reshapes]") || elt.closest("form") !== loading.form) return;
  event.preventDefault();
  loading.pressed = elt.id;
}

function put(field, value) {
  if (isChoice(field)) field.checked = value;
  else field.value = value;
}

function twinOf(field, form) {
  const twins = [...form.elements].filter(({ name }) => name === field.name);
  return isChoice(field) ? twins.find(({ value }) => value === field.value) : twins[0];
}

/** Put what was typed since the request into the new shape. */
function carry({ detail: { xhr } }) {
  if (!loading || loading.request !== xhr) return;
  const shaped = document.getElementById(loading.form.id);
  for (const [field, value] of loading.before) {
    const twin = valueOf(field) !== value && twinOf(field, shaped);
    if (twin) put(twin, valueOf(field));
  }
}

/** Press what waited. If the request failed, its message says so, and nothing is pressed. */
function finish({ detail: { xhr, successful } }) {
  if (!loading || loading.request !== xhr) return;
  const { form, pressed } = loading;
  loading = null;
  form.removeAttribute("aria-busy"); // of a form that stays, because the request failed
  if (!successful || !pressed) return;
  if (pressed === form.id) document.getElementById(pressed).requestSubmit();
  else document.getElementById(pressed)?.click();
}

export function startReshaping() {
  on("htmx:configRequest", wait);
  on("htmx:beforeRequest", begin);
  on("htmx:afterSwap", carry);
  on("htmx:afterRequest", finish);
}
