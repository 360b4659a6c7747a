"use strict";
// What pages gain where scripts run: the theme's switch, filters of tables, times in words. Nothing needs it.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const now = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const told = () => document.dispatchEvent(new CustomEvent("lori:theme"));

  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    const name = () => {
      const other = now() === "dark" ? "light" : "dark";
      button.setAttribute("aria-label", `Switch to the ${other} theme`);
      button.title = `Switch to the ${other} theme`;
      button.dataset.to = other;
    };
    button.hidden = false;
    name();
    button.addEventListener("click", () => {
      root.dataset.theme = now() === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("lori-theme", root.dataset.theme);
      } catch {
        // the choice then holds for this page alone
      }
      name();
      told();
    });
    dark.addEventListener("change", () => {
      name();
      told();
    });
  }

  // <input type="search" data-filters="table-id">: rows that do not hold the text are hidden
  for (const input of document.querySelectorAll("input[data-filters]")) {
    const table = document.getElementById(input.dataset.filters);
    if (!table) continue;
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const label = input.closest("label, .field");
    if (label) label.hidden = false;
    input.hidden = false;
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      rows.forEach((row, place) => {
        row.hidden = !texts[place].includes(wanted);
      });
    });
  }

  // a table that scrolls tells where there is more
  const edges = (box) => {
    const left = box.scrollLeft > 1;
    const right = box.scrollLeft + box.clientWidth < box.scrollWidth - 1;
    box.classList.toggle("more-left", left);
    box.classList.toggle("more-right", right);
  };
  for (const box of document.querySelectorAll(".scroll")) {
    box.addEventListener("scroll", () => edges(box), { passive: true });
    new ResizeObserver(() => edges(box)).observe(box);
  }
})();
