// The answers of "Try it": the newest first, pinned ones above. They stay until they are dropped; a reload fetches the
// pinned ones again. Only numbers of runs are stored, no text. Starting runs is in runs.js.

import { $, $$, on } from "./dom.js";
import { miss } from "./hints.js";
import { readJson, remove, writeJson } from "./storage.js";

const pinsName = () => `pins:${document.body.dataset.user}:${location.pathname}`;
const numberOf = (card) => $("[data-run-number]", card)?.dataset.runNumber;
const startedAt = (card) => Number(card.id.split("-")[1]);
const isPinned = (card) => Boolean(card.closest("#try-pinned"));
const isRunning = (card) => Boolean($("[data-running]", card));
const cards = () => $$("#try-result .answer");

let rest = { id: "", by: 0 }; // pixels by which an answer is off, because a box scrolls by whole pixels

/** Return the box in which the answers scroll. */
function scroller(element) {
  for (let box = element.parentElement; box; box = box.parentElement) {
    if (/auto|scroll/.test(getComputedStyle(box).overflowY) && box.scrollHeight > box.clientHeight) return box;
  }
  return document.scrollingElement;
}

/** Return the answer that a person reads: the first one in view, if the list begins above. null: nothing is held. */
function held() {
  const list = $("#try-result");
  if (!list) return null;
  const box = scroller(list);
  const top = box === document.scrollingElement ? 0 : box.getBoundingClientRect().top;
  if (list.getBoundingClientRect().top >= top) return null;
  const card = cards().find((each) => each.getBoundingClientRect().bottom > top + 8);
  return card && { box, id: card.id, top: card.getBoundingClientRect().top - (rest.id === card.id ? rest.by : 0) };
}

function hold(place) {
  const card = place && document.getElementById(place.id);
  if (!card) return;
  place.box.scrollTop += card.getBoundingClientRect().top - place.top;
  rest = { id: card.id, by: card.getBoundingClientRect().top - place.top };
}

/** Change the list without moving the answer that a person reads. */
function inPlace(change) {
  const place = held();
  change();
  hold(place);
}

/** Remove empty groups and the oldest answers above the limit, and show which answers are pinned. */
function tidy() {
  const list = $("#try-result");
  if (!list) return;
  const old = cards().filter((card) => !isPinned(card) && !isRunning(card));
  while (old.length && cards().length > Number(list.dataset.most)) old.pop().remove();
  for (const group of $$("#try-list > .answers")) if (!$(".answer", group)) group.remove();
  for (const button of $$("[data-pin]", list)) button.setAttribute("aria-pressed", isPinned(button.closest(".answer")));
  $("[data-answers-head]", list).hidden = !cards().length;
  $("[data-clear]", list).disabled = !cards().some((card) => !isPinned(card) && !isRunning(card));
}

function storePins() {
  const numbers = $$("#try-pinned .answer").map(numberOf).filter(Boolean);
  if (numbers.length) writeJson(pinsName(), numbers);
  else remove(pinsName());
}

/** Put an answer back among the others, by the time of its run. */
function unpin(card) {
  const group = document.createElement("div");
  group.className = "answers";
  const older = $$("#try-list > .answers").find((other) => startedAt($(".answer", other)) < startedAt(card));
  $("#try-list").insertBefore(group, older ?? null);
  group.append(card);
}

function press({ target }) {
  const button = target.closest("#try-result button");
  const card = button?.closest(".answer");
  if (!button) return;
  if ("pin" in button.dataset) {
    inPlace(() => {
      if (isPinned(card)) unpin(card);
      else $("#try-pinned").prepend(card);
      tidy();
    });
    storePins();
    button.focus({ preventScroll: true });
  } else if ("drop" in button.dataset) drop([card], cards()[cards().indexOf(card) + 1]);
  else if ("clear" in button.dataset) drop(cards().filter((each) => !isPinned(each) && !isRunning(each)));
  else if (button.dataset.view) show(card, button.dataset.view);
}

/** Remove answers; the focus goes to the next one, or to the button that runs. */
function drop(dropped, next) {
  for (const card of dropped) card.remove();
  tidy();
  storePins();
  ($("[data-drop]", next) ?? $('#try [name="runs"]'))?.focus({ preventScroll: true });
}

function show(card, view) {
  for (const part of $$("[data-view-of]", card)) part.hidden = part.dataset.viewOf !== view;
  for (const button of $$("[data-view]", card)) button.setAttribute("aria-pressed", button.dataset.view === view);
}

/** Put a group of answers that has just started on top. */
export function addAnswers(group) {
  let at = Date.now();
  while (document.getElementById(`try-${at}`)) at += 1;
  group.id = `try-${at}`;
  $(".answer", group).id = `${group.id}-1`;
  inPlace(() => {
    $("#try-list").prepend(group);
    tidy();
  });
}

/** Remove a group that did not start. */
export function removeAnswers(group) {
  group.remove();
  tidy();
}

/** Return the numbers of the runs to compare a new answer with: pinned ones, then the newest. */
export const comparable = () => cards().map(numberOf).filter(Boolean).join(",");

/** Fetch the pinned answers again, and take over the input of the run that the address names. */
function restore() {
  const list = $("[data-answers]");
  const numbers = list && readJson(pinsName());
  if (numbers?.length) {
    const query = numbers.map((number) => `run=${Number(number)}`).join("&");
    htmx.ajax("GET", `${list.dataset.answers}?${query}`, { target: "#try-pinned", swap: "innerHTML" });
  }
  const given = $("[data-given]");
  if (!given) return;
  given.click();
  const address = new URL(location.href);
  address.searchParams.delete("run"); // a reload keeps what is typed from now on
  history.replaceState(history.state, "", address);
}

const bases = () => $$("#try-result [data-base]");

/** Return those of the runs that are erased, as a map from their number to their card. */
async function erasedOf(numbers) {
  const query = numbers.map((number) => `run=${Number(number)}`).join("&");
  const answer = await fetch(`${$("[data-answers]").dataset.answers}?${query}`, { headers: { "HX-Request": "true" } });
  if (!answer.ok) throw new Error(answer.statusText);
  const parsed = document.createElement("template");
  parsed.innerHTML = await answer.text();
  const found = $$(".answer", parsed.content).filter((card) => $("[data-erased]", card));
  return new Map(found.map((card) => [numberOf(card), card]));
}

/** Remove the words of the run with which an answer was compared. */
function forgetBase(view) {
  const card = view.closest(".answer");
  show(card, "answer");
  view.remove();
  $('[data-view="changes"]', card)?.remove();
}

/** Remove the texts of erased runs from the page: their own cards', and what other cards show of them. */
async function forgetErased({ detail }) {
  const shown = [...cards().map(numberOf), ...bases().map((view) => view.dataset.base)];
  const numbers = [...new Set(shown)].filter((number) => Number(number));
  const asked = detail?.number ? numbers.filter((number) => Number(number) === detail.number) : numbers;
  if (!asked.length) return;
  try {
    const erased = await erasedOf(asked);
    inPlace(() => {
      for (const view of bases()) if (erased.has(view.dataset.base)) forgetBase(view);
      for (const card of cards().filter((each) => erased.has(numberOf(each)))) {
        const instead = erased.get(numberOf(card));
        instead.id = card.id;
        card.replaceWith(instead);
      }
      tidy();
    });
  } catch {
    miss("live:erased"); // all cards are asked for when it is repeated
  }
}

export function startAnswers() {
  if (!window.htmx) return;
  let place = null;
  on("click", press);
  document.body.addEventListener("live:erased", forgetErased);
  on("htmx:oobBeforeSwap", () => (place = held()));
  on("htmx:oobAfterSwap", () => {
    tidy();
    hold(place);
  });
  let before = null;
  on("htmx:wsBeforeMessage", () => (before = held()));
  on("htmx:wsAfterMessage", () => hold(before)); // htmx sets the classes of swapped parts last
  on("htmx:afterSwap", ({ target }) => target.id === "try-pinned" && tidy());
  addEventListener("load", restore);
}
