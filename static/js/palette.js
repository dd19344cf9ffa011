// The command bar: a dialog that finds pages and searches texts. The server has its list; no page carries it.

import { $, $$, on } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { listIndex, matches } from "./keys.js";

const SEARCH_MS = 150; // after the last letter, where the server knows more templates than the page
const FRESH_MS = 10_000; // a list of this age is shown again without asking

const bar = () => $("#commands");
const list = () => $("#command-list");
const input = () => $("input", bar());
const typed = () => input().value.trim();
const options = () => $$("[role=option]", bar());
const shownOptions = () => options().filter((option) => !option.hidden);
const selected = () => shownOptions().find((option) => option.getAttribute("aria-selected") === "true");

const first = { html: "", at: -Infinity }; // the list without words
let state = "loading"; // of the newest request: "loading", "failed", "signed-out", or "" after an answer
let asked = null; // the words of the newest request; null before the first one
let asking = Promise.resolve(); // until the newest request is answered
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

/** Show what fits the typed words, and one sentence about the list. `href` is selected if it fits. */
function show(href = null) {
  for (const option of options()) option.hidden = !matches(option.textContent, typed());
  const shown = shownOptions();
  const isMore = "more" in list().dataset && asked === typed();
  const isComing = state === "loading" || (!state && !hasAllOf(typed()));
  const fallback = shown.length ? isMore && "more" : "none";
  const sentence = isComing ? !shown.length && "loading" : state || fallback;
  for (const place of $$("[data-sentence]", bar())) place.hidden = place.dataset.sentence !== sentence;
  for (const link of $$("[data-search]", bar())) link.href = link.dataset.search + encodeURIComponent(typed());
  select(shown.find((option) => option.getAttribute("href") === href) ?? shown[0]);
}

function replaceList(html) {
  const href = selected()?.getAttribute("href");
  list().outerHTML = html;
  show(href);
}

/** Return the list for the words as {html}, or the state that says why there is none. */
async function fetched(words) {
  const address = bar().dataset.list + (words && `?q=${encodeURIComponent(words)}`);
  const headers = { "HX-Request": "true", "HX-Current-URL": location.href };
  try {
    const answer = await fetch(address, { headers });
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
  const { html, failed = "" } = await fetched(words);
  if (html && !words) Object.assign(first, { html, at: performance.now() });
  if (asked !== words) return; // newer words have been asked for
  state = failed;
  if (html) return replaceList(html);
  asked = null; // the next letter tries again
  show();
}

/** Ask the server for the words, unless it has just been asked. */
function ask(words) {
  clearTimeout(timer);
  const isFresh = state === "loading" || words || performance.now() - first.at < FRESH_MS;
  if (asked !== words || !isFresh) asking = request(words);
  return asking;
}

/** Fetch the list before the bar is opened, as soon as a person is about to open it. */
function prepare() {
  if (bar() && asked === null) ask("");
}

/** Return whether the list in the page has everything that fits the words. */
function hasAllOf(words) {
  return state === "" && (asked === words || (asked === "" && !("more" in list().dataset)));
}

function onInput() {
  clearTimeout(timer);
  if (!typed() && first.html && asked) {
    asked = "";
    state = "";
    replaceList(first.html);
  } else if (!hasAllOf(typed()) && asked !== typed()) timer = setTimeout(() => ask(typed()), SEARCH_MS);
  show();
}

/** Open what is selected. If nothing is, first wait for a list that is on its way, or ask for one. */
async function enter() {
  const words = typed();
  while (!shownOptions().length && !hasAllOf(words) && typed() === words) {
    await (state === "loading" && asked !== null ? asking : ask(words));
    if (state && state !== "loading") break;
  }
  if (!bar().open || typed() !== words) return;
  const search = $("[data-search]", bar());
  if (selected() || words) (selected() ?? search).click();
}

function onKey(event) {
  const shown = shownOptions();
  const next = listIndex(event.key, shown.indexOf(selected()), shown.length);
  if (next !== null) {
    event.preventDefault();
    select(shown[next]);
  }
  if (event.key === "Enter" && event.target === input()) enter();
}

export function startPalette() {
  if (!bar()) return;
  input().addEventListener("input", onInput);
  bar().addEventListener("keydown", onKey);
  bar().addEventListener("opened", () => {
    input().value = "";
    if (first.html && asked) list().outerHTML = first.html; // instead of the matches of the last words
    ask("");
    show();
    input().focus();
  });
  for (const event of ["pointerover", "focusin"]) {
    on(event, ({ target }) => target.closest?.("[data-open-dialog='#commands']") && prepare());
  }
  on("keydown", ({ key }) => (key === "Control" || key === "Meta") && prepare());
}
