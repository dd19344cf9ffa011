// Printing: a browser prints only the visible part of a text field, so its whole text is printed in its place.

import { $$ } from "./dom.js";

function showWholeTexts() {
  removeWholeTexts(); // of a print that has not ended
  for (const field of $$("main textarea")) {
    const whole = document.createElement("pre");
    whole.className = "printed";
    whole.dir = "auto";
    whole.textContent = field.value;
    field.after(whole);
  }
}

const removeWholeTexts = () => $$("pre.printed").forEach((whole) => whole.remove());

export function startPrinting() {
  window.addEventListener("beforeprint", showWholeTexts);
  window.addEventListener("afterprint", removeWholeTexts);
}
