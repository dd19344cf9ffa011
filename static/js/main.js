// Starts the page. Each module has one concern and is bound to data- attributes through events on the document, so that
// it also works in what htmx swaps in later. No build step, no eval, no inline handlers (the security policy forbids
// them). Modules do nothing on import. The order below is the order in which they hear of the same event.

import { startAnswers } from "./answers.js";
import { startCompletion } from "./completion.js";
import { startConnection, takeOverSocket } from "./connection.js";
import { startDialogs } from "./dialogs.js";
import { $$, on, sentValue } from "./dom.js";
import { startDrafts } from "./drafts.js";
import { startFind } from "./find.js";
import { showCounts, startForms, dispatchInput } from "./forms.js";
import { startHints } from "./hints.js";
import { keptFields, restoreKept, startKept } from "./kept.js";
import { showKeys, startKeyboard } from "./keyboard.js";
import { restoreFocus, settleSent, startLeaving } from "./leaving.js";
import { showLevers, startLevers } from "./levers.js";
import { showLines, startLines } from "./lines.js";
import { startLists } from "./lists.js";
import { startLive } from "./live.js";
import { startMenus } from "./menus.js";
import { startOpening } from "./opening.js";
import { startPalette } from "./palette.js";
import { startPrinting } from "./printing.js";
import { startReading } from "./reading.js";
import { startReorder } from "./reorder.js";
import { startRequests } from "./requests.js";
import { startReshaping } from "./reshaping.js";
import { startRuns } from "./runs.js";
import { startSamePage } from "./samepage.js";
import { letScroll, showCurrent, startKeepingScroll, startScrolling } from "./scrolling.js";
import { showTimes, startTimes } from "./times.js";
import { startToasts } from "./toasts.js";
import { isUnsaved, startUnsaved } from "./unsaved.js";
import { showChoices, startViews } from "./views.js";

/** Show what depends on the browser, in the whole page or in a part that has just arrived. */
function refresh(root) {
  for (const part of $$("noscript", root)) part.remove(); // in a swapped part its buttons exist, and Enter presses one
  showTimes(root);
  showLevers();
  showCounts();
  restoreKept(root);
  showLines(root);
  showChoices();
  letScroll();
  showKeys(root);
}

/** Report text that was typed before this script ran, but not text that the browser restores on going back. */
function reportEarlyInput() {
  if (performance.getEntriesByType("navigation")[0]?.type !== "navigate") return;
  for (const field of keptFields()) {
    if (field.form && !isUnsaved(field.form) && field.value !== sentValue(field)) dispatchInput(field);
  }
}

// Before modules that keep what is read in its place: a time in short words takes fewer lines.
on("htmx:oobAfterSwap", (event) => refresh(event.detail.target?.parentElement ?? document));
startToasts();
startForms();
startCompletion();
startLines();
startFind(); // handles its keys before the full screen does
startMenus();
startDialogs();
startTimes();
startLevers();
startUnsaved(); // before the modules that use it
startKept();
startLeaving();
startRequests();
startReshaping();
startDrafts();
startConnection();
startLive();
startHints();
startRuns();
startAnswers();
startPalette();
startViews(); // after completion, find and menus, which handle Escape first, and before a field is left by it
startKeyboard(); // after completion and menus, which handle their keys first
startLists();
startOpening();
startPrinting();
startSamePage();
startReading();
startReorder();
startScrolling();
settleSent();
restoreFocus();
if (window.htmx) {
  takeOverSocket();
  htmx.onLoad((element) => {
    if (!element.isConnected) return;
    refresh(element.parentElement ?? element);
    if (element === document.body) reportEarlyInput();
  });
}
startKeepingScroll(); // after dialogs, hints and lists, which may stop a swap
showTimes();
showLevers();
showCounts();
showLines();
showChoices();
letScroll();
showCurrent();
