// A form that the server sends in a new shape after a choice, marked with data-reshapes. What is typed or pressed while
// the new shape is on its way counts in the new shape.

import { $, on } from "./dom.js";

const loads = new Map(); // form -> { request, before, pressed } of the shape that is on its way

const isChoice = ({ type }) => type === "checkbox" || type === "radio";
const valueOf = (field) => (isChoice(field) ? field.checked : field.value);
const valuesOf = (form) => new Map([...form.elements].map((field) => [field, valueOf(field)]));

/** Return the form whose new shape a request asked for; undefined if it asked for something else. */
const shapedBy = (request) => [...loads.keys()].find((form) => loads.get(form).request === request);

/** Note what a form holds. A second choice replaces the request of the first one, and what was pressed still waits. */
function begin({ detail: { elt, xhr } }) {
  if (!elt.matches("[data-reshapes]")) return;
  const form = elt.closest("form");
  form.setAttribute("aria-busy", "true");
  loads.set(form, { request: xhr, before: valuesOf(form), pressed: loads.get(form)?.pressed });
}

/** Let a button of the form wait for the new shape, which has the fields that its request should send. */
function wait(event) {
  const { elt } = event.detail;
  const form = elt.closest("form");
  if (!loads.has(form) || elt.matches("[data-reshapes]")) return;
  event.preventDefault();
  loads.get(form).pressed = elt === form ? `#${form.id} button:not([type=button])` : `#${elt.id}`;
}

function put(field, twin) {
  if (isChoice(field)) twin.checked = field.checked;
  else twin.value = field.value;
  if (typeof field.selectionStart === "number") twin.setSelectionRange(field.selectionStart, field.selectionEnd);
}

function twinOf(field, form) {
  const twins = [...form.elements].filter(({ name }) => name === field.name);
  return isChoice(field) ? twins.find(({ value }) => value === field.value) : twins[0];
}

/** Put what was typed since the request into the new shape. */
function carry({ detail: { xhr } }) {
  const form = shapedBy(xhr);
  if (!form) return;
  const shaped = document.getElementById(form.id);
  for (const [field, value] of loads.get(form).before) {
    const twin = valueOf(field) !== value && twinOf(field, shaped);
    if (twin) put(field, twin);
  }
}

/** Press what waited. */
function finish({ detail: { xhr, successful } }) {
  const form = successful && shapedBy(xhr);
  if (!form) return;
  const { pressed } = loads.get(form);
  loads.delete(form);
  if (pressed) $(pressed)?.click();
}

/** Press nothing after a failure: its message says so. */
function fail({ detail: { xhr } }) {
  const form = shapedBy(xhr);
  form?.removeAttribute("aria-busy");
  loads.delete(form);
}

export function startReshaping() {
  on("htmx:configRequest", wait);
  on("htmx:beforeRequest", begin);
  on("htmx:afterSwap", carry);
  on("htmx:afterRequest", finish);
  ["htmx:responseError", "htmx:sendError", "htmx:timeout"].forEach((name) => on(name, fail));
}
