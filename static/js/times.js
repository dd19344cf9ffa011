// Times on the page: relative ones stay current, exact ones are in the reader's zone.

import { $$ } from "./dom.js";
import { exactTime, exactTimeWithZone, relativeTime } from "./format.js";

const EVERY_MS = 20_000;

export function showTimes(root = document) {
  for (const time of $$("time[data-relative], time[data-exact]", root)) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    const text = "exact" in time.dataset ? exactTime(moment) : relativeTime(moment, Date.now());
    if (time.textContent !== text) time.textContent = text;
    time.title = exactTimeWithZone(moment);
  }
}

export function startTimes() {
  setInterval(showTimes, EVERY_MS);
}
