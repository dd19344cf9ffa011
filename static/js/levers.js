// The strip of the levers: it counts down, and hides a lever that has expired, also while the server is away.

import { $$ } from "./dom.js";
import { timeLeft } from "./format.js";

export function showLevers(root = document, now = Date.now()) {
  for (const lever of $$("[data-lever]", root)) {
    const ends = $$("[data-ends]", lever)[0];
    const left = new Date(ends.dataset.ends).getTime() - now;
    lever.hidden = left <= 0;
    const text = `(${timeLeft(left)} left)`;
    if (ends.textContent !== text) ends.textContent = text;
  }
}

export function startLevers() {
  setInterval(() => showLevers(), 1000);
}
