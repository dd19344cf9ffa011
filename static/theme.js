// Runs before the first paint, so that nothing that a person has chosen in this browser flashes: the theme
// (js/menus.js), and how the editor shows its text (js/views.js).
"use strict";
try {
  const choices = { theme: ["light", "dark"], view: ["model"], wrap: ["off"] };
  for (const [name, values] of Object.entries(choices)) {
    const chosen = localStorage.getItem(name);
    if (values.includes(chosen)) document.documentElement.dataset[name] = chosen;
  }
} catch {
  // Storage may be turned off; the system's theme applies.
}
// The server shows times in the reader's zone from the next page on.
document.cookie = `tz=${Intl.DateTimeFormat().resolvedOptions().timeZone ?? ""}; path=/; max-age=31536000; samesite=lax`;
