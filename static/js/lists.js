// Lists that are read row by row: keys move through the rows, rows expand, and no row moves while a person reads.

import { labelOf } from "./declared.js";
import { $, $$, on } from "./dom.js";
import { rowIndex } from "./keys.js";

const ROWS = "#main :is(tbody > tr, .feed > li, [data-row])";

/** Return what gets the focus in a row: the row itself, or the link that opens it. */
const linkOf = (row) => (row.matches("[data-row]") ? row : ($("a.cover", row) ?? $("a[href]", row)));

const isShown = (row) => row.checkVisibility() && linkOf(row)?.checkVisibility();
const rowsOfPage = () => $$(ROWS).filter(isShown);
let last = ""; // the address of the row that had the focus; the rows may have been replaced

/** Return the index of the row that has the focus, or had it last; -1 if there is none. */
function current(rows) {
  const index = rows.indexOf(document.activeElement?.closest(ROWS));
  return index < 0 && last ? rows.findIndex((row) => linkOf(row).href === last) : index;
}

const firstInView = (rows) => rows.findIndex((row) => row.getBoundingClientRect().bottom > 0);

/** Handle a key in a list: j and k go to the next and previous row, and a row may declare others (data-row-key).
 *
 * The focus is on the link of the row, so Enter opens it. Return whether the key was used.
 */
export function pressInRows(key) {
  if (key !== "j" && key !== "k" && !$(`[data-row-key="${CSS.escape(key)}"]`)) return false;
  const rows = rowsOfPage();
  if (!rows.length) return false;
  const index = current(rows);
  if (key === "j" || key === "k") {
    const row = rows[rowIndex(key, index, rows.length, Math.max(0, firstInView(rows)))];
    last = linkOf(row).href;
    linkOf(row).focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  } else $(`[data-row-key="${CSS.escape(key)}"]`, rows[Math.max(0, index)])?.click();
  return true;
}

/** Return label and keys of what rows declare. */
export const rowKeys = () =>
  $$("[data-row-key]", rowsOfPage()[0] ?? document.createElement("p")).map((element) => [
    labelOf(element),
    [element.dataset.rowKey],
  ]);

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
