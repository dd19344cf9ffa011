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
  measure();
}

/** Say how high the strip is, so that what sticks to the bottom of the page comes above it. */
function measure() {
  const height = document.getElementById("levers")?.offsetHeight ?? 0;
  document.body.toggleAttribute("data-levers", height > 0);
  if (height) document.documentElement.style.setProperty("--levers", `${height}px`);
}

export function startLevers() {
  setInterval(() => showLevers(), 1000);
  window.addEventListener("resize", measure);
}
