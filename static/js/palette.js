// The command bar: a dialog that finds pages, names and numbers, and does what the page offers. The server has its
// list; no page carries it. What the page offers is read from the page.

import { kbds, pageActions } from "./declared.js";
import { openDialog } from "./dialogs.js";
import { $, $$, on } from "./dom.js";
import { listIndex, rank } from "./keys.js";
import { recent, remember } from "./recent.js";

const SEARCH_MS = 120; // after the last letter, where the server may know more than the page
const FRESH_MS = 10_000; // a list of this age is shown again without asking
const MOST_ANSWERS = 50; // kept until the bar is opened with a list that is no longer fresh

const bar = () => $("#commands");
const list = () => $("#command-list");
const input = () => $("input", bar());
const typed = () => input().value.trim();
const options = () => $$("[role=option]", bar());
const shownOptions = () => options().filter((option) => !option.hidden);
const selected = () => shownOptions().find((option) => option.getAttribute("aria-selected") === "true");

const answers = new Map(); // words -> html
const offered = new Map(); // option -> element of the page
const first = { html: "", at: -Infinity }; // the list without words
let state = "loading"; // of the newest request: "loading", "failed", "signed-out", or "" after an answer
let asked = null; // the words of the newest request; null before the first one
let asking = Promise.resolve(); // until the newest request is answered
let hasChosen = false; // with an arrow, so that an answer on its way does not count
let timer = 0;

/** Open or close the command bar; return false on pages that have none. */
export function toggleBar() {
  if (!bar()) return false;
  if (bar().open) bar().close();
  else if (!$("dialog[open]")) openDialog(bar());
  return true;
}

function select(option) {
  for (const other of options()) other.setAttribute("aria-selected", other === option);
  if (option) input().setAttribute("aria-activedescendant", option.id);
  else input().removeAttribute("aria-activedescendant");
  option?.scrollIntoView({ block: "nearest" });
}

const compared = (one, other) => (one > other) - (one < other);
const inOrder = (a, b) => a.order.map((value, index) => compared(value, b.order[index])).find(Boolean) ?? 0;

/** Put the options that fit the typed words first: the best ones, of these the most recently used ones, on top. */
function sort() {
  const used = recent();
  const ranked = options().map((option) => {
    const [label, hint] = option.children;
    const fit = rank(typed(), label.textContent, `${hint.textContent} ${option.dataset.words ?? ""}`);
    option.hidden = fit === null;
    const place = used.indexOf(option.dataset.id);
    return { option, order: [fit ?? Infinity, option.ariaDisabled === "true", place < 0 ? Infinity : place] };
  });
  list().append(...ranked.toSorted(inOrder).map(({ option }) => option));
}

/** Show what fits the typed words, and one sentence about the list. The option with this id is selected if it fits. */
function show(id = null) {
  sort();
  const shown = shownOptions();
  const isMore = "more" in list().dataset && asked === typed();
  const isComing = state === "loading" || (!state && !hasAllOf(typed()));
  const fallback = shown.length ? isMore && "more" : "none";
  const sentence = isComing ? !shown.some((option) => option.href) && "loading" : state || fallback;
  for (const place of $$("[data-sentence]", bar())) place.hidden = place.dataset.sentence !== sentence;
  for (const link of $$("[data-search]", bar())) link.href = link.dataset.search + encodeURIComponent(typed());
  select((hasChosen && shown.find((option) => option.dataset.id === id)) || shown[0]);
}

function replaceList(html) {
  const id = selected()?.dataset.id;
  list().outerHTML = html;
  placeOffered();
  show(id);
}

const isOfContent = ([, element]) => element.closest("#main");

/** Put what the page offers around the list of the server: its actions above, those of the frame below. */
function placeOffered() {
  list().prepend(...[...offered].filter(isOfContent).map(([option]) => option));
  list().append(...[...offered].filter((entry) => !isOfContent(entry)).map(([option]) => option));
}

function optionOf({ label, element, keys, why }, index) {
  const option = document.createElement("a");
  option.id = `command-here-${index}`;
  option.role = "option";
  option.dataset.id = `here:${label}`;
  if (why) option.ariaDisabled = "true";
  const [name, hint] = [document.createElement("span"), document.createElement("small")];
  name.dir = "auto";
  name.textContent = label;
  const { here, frame } = bar().dataset;
  hint.textContent = why || (element.closest("#main") ? here : frame);
  option.append(name, hint, ...kbds(keys));
  return option;
}

/** Offer what the page offers now. */
function offerActions() {
  for (const option of offered.keys()) option.remove();
  offered.clear();
  for (const [index, action] of pageActions().entries()) offered.set(optionOf(action, index), action.element);
  placeOffered();
}

/** Return the list for the words as {html}, or the state that says why there is none. */
async function fetched(words) {
  const query = new URLSearchParams(words ? { q: words } : recent().slice(0, 10).map((id) => ["recent", id]));
  const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
  try {
    const answer = await fetch(`${bar().dataset.list}${query.size ? `?${query}` : ""}`, { headers });
    const signIn = answer.headers.get("HX-Redirect");
    if (signIn) $("[data-sign-in]", bar()).href = signIn;
    if (signIn) return { failed: "signed-out" };
    return answer.ok ? { html: await answer.text() } : { failed: "failed" };
  } catch {
    return { failed: "failed" };
  }
}

async function request(words) {
  asked = words;
  state = "loading";
  const { html, failed = "" } = answers.has(words) ? { html: answers.get(words) } : await fetched(words);
  if (html && !words) Object.assign(first, { html, at: performance.now() });
  if (html && words && answers.size < MOST_ANSWERS) answers.set(words, html);
  if (asked !== words) return; // newer words have been asked for
  state = failed;
  if (html) return replaceList(html);
  asked = null; // the next letter tries again
  show();
}

const isFresh = () => performance.now() - first.at < FRESH_MS;

/** Ask the server for the words, unless it has just been asked. */
function ask(words) {
  clearTimeout(timer);
  if (asked !== words || !(state === "loading" || words || isFresh())) asking = request(words);
  return asking;
}

/** Fetch the list before the bar is opened, as soon as a person is about to open it. */
function prepare() {
  if (bar() && asked === null) ask("");
}

/** Return whether the list in the page has everything that fits the words. It never has all that have numbers. */
function hasAllOf(words) {
  return state === "" && (asked === words || (asked === "" && !("more" in list().dataset) && !/\d/.test(words)));
}

function onInput() {
  clearTimeout(timer);
  hasChosen = false;
  if (!typed() && first.html && asked) {
    asked = "";
    state = "";
    replaceList(first.html);
  } else if (!hasAllOf(typed()) && asked !== typed()) timer = setTimeout(() => ask(typed()), SEARCH_MS);
  show();
}

/** Open what is selected. Unless a person has chosen it, first wait for the list that has all that fits. */
async function enter() {
  const words = typed();
  const isDecided = () => hasChosen || hasAllOf(words) || typed() !== words;
  while (!isDecided()) {
    await (state === "loading" && asked === words ? asking : ask(words));
    if (state && state !== "loading") break;
  }
  if (!bar().open || typed() !== words) return;
  const search = $("[data-search]", bar());
  if (selected() || words) (selected() ?? search).click();
}

/** Remember what is opened, and press what the page offers. */
function choose(event) {
  const option = event.target.closest("[role=option]");
  if (!option) return;
  const element = offered.get(option);
  if (option.ariaDisabled === "true") return;
  remember(option.dataset.id);
  if (!element) return;
  bar().close();
  element.click();
}

function onKey(event) {
  if (event.isComposing || !bar().open) return;
  const shown = shownOptions();
  const next = listIndex(event.key, shown.indexOf(selected()), shown.length);
  if (next !== null) {
    event.preventDefault();
    hasChosen = true;
    select(shown[next]);
  }
  if (event.key === "Enter" && event.target === input()) enter();
}

function onOpened() {
  input().value = "";
  hasChosen = false;
  if (!isFresh()) answers.clear();
  if (first.html && asked) list().outerHTML = first.html; // instead of the matches of the last words
  offerActions();
  ask("");
  show();
  input().focus();
}

export function startPalette() {
  if (!bar()) return;
  input().addEventListener("input", onInput);
  bar().addEventListener("keydown", onKey);
  bar().addEventListener("click", choose);
  bar().addEventListener("opened", onOpened);
  for (const event of ["pointerover", "focusin"]) {
    on(event, ({ target }) => target.closest?.("[data-open-dialog='#commands']") && prepare());
  }
  on("keydown", ({ key }) => (key === "Control" || key === "Meta") && prepare());
}
