// Menus: <details class="menu"> that close like menus, and the theme menu. static/theme.js applies the theme before the
// first paint.

import { $, $$, on } from "./dom.js";

export function closeMenus(but) {
  for (const menu of $$("details.menu[open]")) if (menu !== but) menu.open = false;
}

function showTheme() {
  const theme = document.documentElement.dataset.theme ?? "";
  for (const choice of $$("[data-theme-choice]")) {
    choice.setAttribute("aria-pressed", choice.dataset.themeChoice === theme);
  }
}

function chooseTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // Storage may be turned off; then the choice lasts for this page only.
  }
  showTheme();
}

export function startMenus() {
  on("click", (event) => {
    const theme = event.target.closest("[data-theme-choice]")?.dataset.themeChoice;
    if (theme !== undefined) chooseTheme(theme);
  });
  showTheme();
  on("click", (event) => closeMenus(event.target.closest("details.menu")));
  on("click", ({ target }) => {
    const menu = target.closest(".choice[hx-post]")?.closest("details.menu[open]");
    if (!menu) return; // such a choice opens the review panel, which gives the focus back to what has it now
    menu.open = false;
    $("summary", menu).focus();
  });
  on("keydown", (event) => {
    const menu = event.key === "Escape" && $("details.menu[open]");
    if (!menu) return;
    event.preventDefault(); // the same key would leave the full screen
    menu.open = false;
    $("summary", menu).focus();
  });
}
