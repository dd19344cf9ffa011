// Scrolling: boxes that the keyboard can reach; and positions, open <details> and the focus, which survive a refresh.

import { $, $$, on } from "./dom.js";
import { controlAt, finderOf } from "./twins.js";

/** Make boxes that scroll reachable by keyboard if nothing inside them is. */
export function letScroll() {
  for (const box of $$(".table-wrap, .boxed, .scroll")) {
    const scrolls = box.scrollHeight > box.clientHeight + 1 || box.scrollWidth > box.clientWidth + 1;
    if (scrolls && !$("a, button, input, select, textarea, summary", box)) box.tabIndex = 0;
  }
}

/** Keep the scroll positions, open <details> and the focus of the page between two events. */
function keepBetween(before, after) {
  let scrollTops = null; // set when a change begins
  let openDetails = {};
  let findFocused = null;
  on(before, () => {
    const focused = controlAt(document.activeElement);
    findFocused = focused && finderOf(focused); // htmx finds it only by its id
    scrollTops = Object.fromEntries($$("[data-keep-scroll]").map((box) => [box.id, box.scrollTop]));
    openDetails = Object.fromEntries($$("details[id]").map((details) => [details.id, details.open]));
  });
  on(after, () => {
    if (!scrollTops) return;
    for (const box of $$("[data-keep-scroll]")) box.scrollTop = scrollTops[box.id] ?? 0;
    for (const details of $$("details[id]")) details.open = openDetails[details.id] ?? details.open;
    if (document.activeElement === document.body) findFocused?.()?.focus({ preventScroll: true });
    scrollTops = null;
  });
}

/** Bring the current items of the navigation and of tabs into view. */
export function showCurrent() {
  $(".side [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  for (const tabs of $$(".tabs")) {
    tabs.scrollLeft = ($("[aria-current]", tabs)?.offsetLeft ?? 0) - tabs.offsetLeft; // across only
  }
}

export function startScrolling() {
  window.addEventListener("resize", letScroll);
  on("toggle", letScroll, true); // a <details> that opens; the event does not bubble
}

export function startKeepingScroll() {
  keepBetween("htmx:beforeSwap", "htmx:afterSwap");
  keepBetween("promptops:beforeShow", "htmx:afterSwap");
  keepBetween("htmx:oobBeforeSwap", "htmx:oobAfterSwap");
}
