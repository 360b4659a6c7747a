"use strict";
// Runs before the first paint: a chosen theme must not flash the other one, and what only a script shows
// must have its place.
(() => {
  document.documentElement.dataset.script = "on";
  let chosen = null;
  try {
    chosen = localStorage.getItem("lori-theme");
  } catch {
    // storage may be forbidden; then the system's theme is used
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
