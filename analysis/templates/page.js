"use strict";
// Sorting by column, opening what a link names, and all of it in print. Without scripts the page shows the same.
{
  // Ids and commits are no numbers, though some begin with digits.
  const number = (text) =>
    /^[-+\u2212]?\d+(\.\d+)?\*?$/.test(text) ? parseFloat(text.replace("\u2212", "-")) : NaN;

  // What a cell says before its remarks.
  const textOf = (cell) => (cell.firstChild?.textContent ?? "").trim();

  function compare(a, b) {
    const [x, y] = [number(a), number(b)];
    if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
    return a.localeCompare(b, "en", { numeric: true });
  }

  // What has no number (a dash, "missing") comes last in a column of numbers, whichever way it is sorted.
  function sortBy(table, groups, column, direction) {
    const text = new Map(groups.map((group) => [group, textOf(group.rows[0].cells[column])]));
    const isNumeric = [...text.values()].some((value) => !Number.isNaN(number(value)));
    const isGap = (group) => (isNumeric ? Number.isNaN(number(text.get(group))) : text.get(group) === "");
    const sorted = direction === "none" ? groups : [...groups].sort((a, b) =>
      isGap(a) - isGap(b)
      || (direction === "ascending" ? 1 : -1) * (isGap(a) ? 0 : compare(text.get(a), text.get(b))));
    table.append(...sorted);
    table.classList.toggle("sorted", direction !== "none");
  }

  function makeSortable(table) {
    const groups = [...table.tBodies];
    const heads = [...table.tHead.rows].at(-1).cells;
    const next = { none: "descending", descending: "ascending", ascending: "none" };
    for (const [column, head] of [...heads].entries()) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => {
        const direction = next[head.getAttribute("aria-sort")];
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", direction);
        sortBy(table, groups, column, direction);
      });
      head.append(button);
      head.setAttribute("aria-sort", "none");
    }
  }

  function openTarget() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target?.closest("details");
    if (!details) return;
    details.open = true;
    details.querySelector("summary").focus();
    details.scrollIntoView();
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    if (table.tBodies.length > 1) makeSortable(table);
  }
  addEventListener("hashchange", openTarget);
  // The same link once more changes no hash.
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("a")?.hash === location.hash) openTarget();
  });
  openTarget();

  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of closed) details.open = false;
  });
}
