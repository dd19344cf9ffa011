// A link of the navigation that was pressed looks so at once, because its page comes when the server has made it.

import { $$, on } from "./dom.js";

function mark(link) {
  for (const earlier of $$("[data-opening]")) delete earlier.dataset.opening;
  if (link) link.dataset.opening = "";
}

function onClick(event) {
  const link = event.target.closest?.("nav a[href]");
  const opensHere = !event.defaultPrevented && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  mark(link && opensHere ? link : null);
}

export function startOpening() {
  window.addEventListener("click", onClick); // after all handlers of the document, one of which may keep the page
  on("keydown", () => mark(null), true); // the person stayed
  window.addEventListener("pageshow", () => mark(null)); // the browser kept the page as it was left
}
