// Runs before the first paint, so that a chosen theme never flashes. The theme menu is in js/menus.js.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be turned off; the system's theme applies.
}
// The server shows times in the reader's zone from the next page on.
document.cookie = `tz=${Intl.DateTimeFormat().resolvedOptions().timeZone ?? ""}; path=/; max-age=31536000; samesite=lax`;
