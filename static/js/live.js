// Messages of the server: HTML, which htmx swaps, and hints, which say that something changed.

import { on, signInPage } from "./dom.js";
import { hear, showParts } from "./hints.js";
import { toSignIn } from "./leaving.js";
import { htmlTargets, isHead, isHint, isOfOtherEpoch, isOld, startEpoch } from "./protocol.js";
import { takeBack } from "./runs.js";
import { toast } from "./toasts.js";
import { unsavedForms } from "./unsaved.js";

function onMessage(event) {
  const { message } = event.detail;
  if (isHint(message)) {
    event.preventDefault();
    return receive(JSON.parse(message));
  }
  const { replaces, addsTo } = htmlTargets(message);
  // The element of the HTML may be gone with a closed panel or a dropped answer.
  const isGone = [replaces, addsTo].some((id) => id && !document.getElementById(id));
  // The last words of a run do not belong to the next run, which has started in its place.
  const isLate = document.getElementById(addsTo)?.closest("[data-starting]");
  if (isGone || isLate) event.preventDefault();
}

function receive(hint) {
  if (hint.event === "reload") return reload("Your role was changed. Save");
  if (hint.event === "signed_out") {
    return toSignIn(`${signInPage()}?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (hint.event === "fragment") return showParts(hint.html);
  if (hint.event === "refused") return takeBack(hint.place);
  const shown = document.body.dataset;
  if (isOfOtherEpoch(hint, shown)) {
    if (reload("A backup was restored. Copy")) return;
    startEpoch(hint.epoch, shown);
  }
  if (isOld(hint, shown)) return;
  if (isHead(hint)) shown[hint.event] = hint.number;
  hear(hint);
}

/** Reload the page, or ask for it while something is unsaved: `why` begins the sentence. Return whether it reloads. */
function reload(why) {
  const isSafe = !unsavedForms().length;
  if (isSafe) location.reload();
  else toast(`${why} what you are writing, then reload this page.`, "warning");
  return isSafe;
}

export function startLive() {
  on("htmx:wsBeforeMessage", onMessage);
}
