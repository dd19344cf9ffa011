// The problems of the saved text, in the status line: a press, or F8, selects the place that a problem names.

import { $, $$, on } from "./dom.js";
import { select } from "./lines.js";
import { closeMenus } from "./menus.js";
import { placeOf } from "./places.js";
import { announce } from "./toasts.js";
import { choose } from "./views.js";

let last = ""; // the sentence of the problem that F8 went to

function jump(problem) {
  const field = $(`#id_${problem.dataset.jump}`);
  const sentence = problem.textContent.trim();
  closeMenus();
  choose("pane", "edit");
  last = sentence;
  announce(sentence);
  if (field.closest("details")) field.closest("details").open = true;
  const place = placeOf(field.value, sentence);
  if (field.matches(".editor")) {
    choose("view", "written");
    return select(field, ...(place ?? [0, 0]));
  }
  field.focus();
  if (place) field.setSelectionRange(...place);
}

/** Go to the problem after the last one, or before it. */
function jumpOn(by) {
  const problems = $$("[data-jump]");
  if (!problems.length) return false;
  const index = problems.findIndex((problem) => problem.textContent.trim() === last);
  jump(problems[index < 0 ? 0 : (index + by + problems.length) % problems.length]);
  return true;
}

export function startProblems() {
  on("click", ({ target }) => {
    const problem = target.closest("[data-jump]");
    if (problem) jump(problem);
  });
  on("keydown", (event) => {
    if (event.key !== "F8" || event.defaultPrevented || $("dialog[open]")) return;
    if (jumpOn(event.shiftKey ? -1 : 1)) event.preventDefault();
  });
}
