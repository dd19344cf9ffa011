// Buttons for reading a page: copy, print, remove a notice, and unfold the unchanged lines of a difference.

import { $, $$, on } from "./dom.js";
import { toast } from "./toasts.js";

async function copy(event) {
  const button = event.target.closest("[data-copy]");
  const source = button && $(button.dataset.copy);
  if (!source) return;
  try {
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    toast("Copied.", "success");
  } catch {
    toast("The browser did not allow copying. Select the text and copy it by hand.", "warning");
  }
}

/** Unfold the hidden text in a line of a difference on both sides at once. */
function unfoldBoth({ target: gap }) {
  if (!gap.matches?.("details.gap")) return;
  for (const other of $$(`details.gap[data-gap="${gap.dataset.gap}"]`, gap.closest(".line"))) other.open = gap.open;
}

export function startReading() {
  on("toggle", unfoldBoth, true); // the event does not bubble
  on("click", (event) => event.target.closest("[data-print]") && print());
  on("click", copy);
  on("click", ({ target }) => $(target.closest("[data-removes]")?.dataset.removes ?? "#none")?.remove());
}
