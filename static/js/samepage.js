// A redirect to the page that is open, as after publishing: the new content replaces the old one in place. Elements
// marked with hx-preserve stay as they are, such as "Try it" with its fields, its answer and a run in progress.

import { $, on } from "./dom.js";
import { restoreFocus } from "./leaving.js";

const READ_MS = 1_000;

/** Return whether a redirect to `address` leads to the page that is open, with something to preserve. */
export const isSamePage = (address) =>
  Boolean(address && $("main [hx-preserve]")) && new URL(address, location.href).pathname === location.pathname;

/** Show the page at `address` in place of this one; load it as a whole if that fails. */
export async function showInPlace(address) {
  const page = await fetchPage(address);
  if (!page) return location.assign(address);
  history.replaceState(history.state, "", address);
  document.title = page.title;
  await readsEnd();
  const { scrollX, scrollY } = window;
  $("#review").close();
  document.body.dispatchEvent(new CustomEvent("promptops:beforeShow", { bubbles: true })); // keeps scroll positions
  htmx.swap($("main"), $("main", page).innerHTML, { swapStyle: "innerHTML", settleDelay: 0, swapDelay: 0 });
  document.body.dataset.layout = page.body.dataset.layout;
  renewChoices(page);
  $("#toasts").replaceChildren(...$("#toasts", page).childNodes); // as on a new page
  htmx.process($("#toasts"));
  window.scrollTo(scrollX, scrollY);
  restoreFocus();
}

const isOver = (part) => part.closest("[hx-preserve]") || !part.classList.contains("htmx-request");

/** Wait until the parts of this page that read now have their answers, which would find no place later. */
async function readsEnd() {
  const ends = Date.now() + READ_MS;
  const reads = [...document.querySelectorAll("main [hx-get].htmx-request")];
  await new Promise((over) => {
    const timer = setInterval(() => {
      if (Date.now() < ends && !reads.every(isOver)) return;
      clearInterval(timer);
      over();
    }, 10);
  });
}

/** Return the page at `address` as a document; null if this address has no page now. */
async function fetchPage(address) {
  try {
    const answer = await fetch(address);
    if (!answer.ok || answer.redirected) return null;
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return null;
  }
}

/** Renew the options of preserved choices marked with data-renewed. What is chosen stays chosen. */
function renewChoices(page) {
  for (const select of document.querySelectorAll("[hx-preserve] select[data-renewed]")) {
    const { value } = select;
    select.replaceChildren(...$(`#${select.id}`, page).childNodes);
    select.value = value;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  }
}

export function startSamePage() {
  on("click", (event) => {
    const link = event.target.closest("a[data-in-place]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    showInPlace(link.href);
  });
}
