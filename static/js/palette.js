// The command bar: a dialog that finds pages and searches texts.

import { $, $$ } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { listIndex } from "./keys.js";

const bar = () => $("#commands");

/** Open or close the command bar; return false on pages that have none. */
export function toggleBar() {
  if (!bar()) return false;
  if (bar().open) bar().close();
  else if (!$("dialog[open]")) openDialog(bar());
  return true;
}

export function startPalette() {
  if (!bar()) return;
  const dialog = bar();
  const input = $("input", dialog);
  const search = $("[data-search]", dialog);
  const options = $$("[role=option]", dialog);
  const shownOptions = () => options.filter((option) => !option.hidden);

  const select = (option) => {
    options.forEach((other) => other.setAttribute("aria-selected", other === option));
    if (option) input.setAttribute("aria-activedescendant", option.id);
    else input.removeAttribute("aria-activedescendant");
    option?.scrollIntoView({ block: "nearest" });
  };

  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const option of options) {
      const text = option.textContent.toLowerCase();
      option.hidden = !words.every((word) => text.includes(word));
    }
    const [first] = shownOptions();
    $(".none", dialog).hidden = Boolean(first);
    search.href = search.dataset.search + encodeURIComponent(input.value.trim());
    select(first);
  };

  input.addEventListener("input", filter);
  dialog.addEventListener("keydown", (event) => {
    const shown = shownOptions();
    const index = shown.findIndex((option) => option.getAttribute("aria-selected") === "true");
    const next = listIndex(event.key, index, shown.length);
    if (next !== null) {
      event.preventDefault();
      select(shown[next]);
    }
    if (event.key === "Enter" && event.target === input) (shown[index] ?? search).click();
  });
  dialog.addEventListener("opened", () => {
    input.value = "";
    filter();
    input.focus();
  });
}
