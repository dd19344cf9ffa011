// Short forms for the document: finding elements and listening. Nothing here depends on a page's content.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** Listen on the document, so that a handler also covers what htmx swaps in later. */
export const on = (event, handler, options) => document.addEventListener(event, handler, options);

/** The address of the sign-in page; undefined on pages for people who are signed out. */
export const signInPage = () => document.body.dataset.signIn;
