// Times on the page: relative ones stay current. Exact ones change only if the server did not know the reader's zone.

import { $$ } from "./dom.js";
import { exactTime, relativeTime } from "./format.js";

const EVERY_MS = 20_000;

export function showTimes(root = document) {
  for (const time of $$("time[data-relative], time[data-exact]", root)) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const isRelative = "relative" in time.dataset;
    const text = isRelative ? relativeTime(moment, Date.now()) : exactTime(moment);
    if (time.textContent !== text) time.textContent = text;
    if (isRelative) time.title = exactTime(moment);
  }
}

export function startTimes() {
  setInterval(showTimes, EVERY_MS);
}
