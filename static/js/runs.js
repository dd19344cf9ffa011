// Runs: the page answers the click itself, before the server does. data-starts names a template that is shown in the
// run's place until the server answers. A template with data-into adds a place, for an answer of "Try it".

import { addAnswers, comparable, removeAnswers } from "./answers.js";
import { $, $$, on } from "./dom.js";
import { isLost, isOpen } from "./connection.js";

const before = new WeakMap(); // place -> its content before, if it had one; restored if the server refuses the run

function start(event) {
  const { target: form, detail } = event;
  if (detail.errors?.length) return;
  if (form.elements.action?.value === "cancel") $("button", form)?.setAttribute("aria-busy", "true");
  const starts = $(form.dataset.starts ?? "#none");
  if (!starts) return;
  const starting = starts.content.firstElementChild.cloneNode(true);
  const { submitter } = detail.triggeringEvent ?? {};
  if (submitter?.name) detail.parameters[submitter.name] = submitter.value;
  if (starts.dataset.into) {
    detail.parameters.against = comparable();
    addAnswers(starting);
    detail.parameters.place = starting.id;
    starting.dataset.starting = isOpen() ? "sent" : "waiting";
    htmx.process(starting);
    return;
  }
  detail.parameters.place = starting.id; // the server names the place in a refusal
  const place = document.getElementById(starting.id);
  const isRunning = "running" in place.dataset;
  if (!place.dataset.starting) before.set(place, { nodes: [...place.childNodes], isRunning });
  place.replaceChildren(...starting.childNodes);
  place.toggleAttribute("data-running", "running" in starting.dataset);
  place.dataset.starting = isOpen() ? "sent" : "waiting"; // for the connection
  htmx.process(place);
}

/** Undo the start at the place with this id, or everywhere if the server could not read the place. */
export function takeBack(id) {
  for (const place of $$("[data-starting]")) {
    if (id && place.id !== id) continue;
    if (!before.has(place)) {
      removeAnswers(place);
      continue;
    }
    const { nodes, isRunning } = before.get(place);
    place.replaceChildren(...nodes);
    place.toggleAttribute("data-running", isRunning);
    delete place.dataset.starting;
  }
}

/** Say that runs ended with the connection: the server cancels the runs of a closed page. */
function endAll() {
  for (const running of $$("[data-running]")) {
    const place = running.closest("[data-starting]");
    if (place?.dataset.starting === "waiting") continue; // it is sent when the connection is back
    delete running.dataset.running;
    const it = place ? "If it had started, it" : "It";
    running.textContent = `The connection was lost, so this run was canceled. ${it} is kept under Runs.`;
    delete place?.dataset.starting;
  }
}

export function startRuns() {
  on("htmx:wsClose", (event) => isLost(event) && endAll());
  on("htmx:wsConfigSend", start);
  on("htmx:oobAfterSwap", (event) => delete event.detail.target?.dataset.starting);
}
