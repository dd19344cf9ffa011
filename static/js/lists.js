// Lists that are read row by row: keys move through the rows, rows expand, and no row moves while a person reads.

import { $, $$, on } from "./dom.js";
import { rowIndex } from "./keys.js";

/** Handle a key in a list: j and k move through rows, e expands one, o opens it. Return whether the key was used. */
export function pressInRows(key) {
  const rows = $$("[data-rows] > [data-row]");
  if (!rows.length || !["j", "k", "e", "o"].includes(key)) return false;
  const index = rows.indexOf(document.activeElement.closest("[data-row]"));
  if (key === "j" || key === "k") {
    const row = rows[rowIndex(key, index, rows.length)];
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  } else $(key === "e" ? "[data-expand]" : "[data-open-row]", rows[Math.max(0, index)])?.click();
  return true;
}

function expand(event) {
  const button = event.target.closest("[data-expand]");
  if (!button) return;
  const isOpen = button.closest("[data-row]").classList.toggle("expanded");
  button.setAttribute("aria-expanded", isOpen);
}

/** Return whether new rows would move the list while a person reads it: then they are only counted. */
const movesUnasked = (element) =>
  element.hidden && element.closest("[data-news]") && $("#list").matches(":hover, :focus-within");

/** Ask only for the number of new rows if a person reads the list. */
function askForNews({ target, detail }) {
  if (movesUnasked(target)) detail.parameters.news = "count";
}

/** Check again when the answer arrives, since a person may have started to read after the request. */
function spareTheReader({ detail }) {
  const { elt, parameters } = detail.requestConfig;
  if (!detail.shouldSwap || parameters.news !== "rows" || !movesUnasked(elt)) return;
  detail.shouldSwap = false;
  htmx.ajax("GET", elt.getAttribute("hx-get"), { source: elt });
}

export function startLists() {
  on("click", expand);
  on("htmx:configRequest", askForNews);
  on("htmx:beforeSwap", spareTheReader);
}
