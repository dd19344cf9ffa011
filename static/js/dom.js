// Short forms for the document: finding elements and listening. Nothing here depends on a page's content.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Listen on the document, so that a handler also covers what htmx swaps in later. */
export const on = (event, handler, options) => document.addEventListener(event, handler, options);

/** The address of the sign-in page; undefined on pages for people who are signed out. */
export const signInPage = () => document.body.dataset.signIn;

/** Return the value that the server sent for a field. A select has it in its options. */
export function sentValue({ options, defaultValue }) {
  if (!options) return defaultValue;
  return ([...options].find((option) => option.defaultSelected) ?? options[0])?.value;
}

/** Take `value` for what the server would send now. */
export function setSentValue(field, value) {
  if (!field.options) field.defaultValue = value;
  else for (const option of field.options) option.defaultSelected = option.value === value;
}
