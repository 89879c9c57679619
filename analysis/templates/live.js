"use strict";
// Asks the server now and then whether the page is another by now; keeps what is open over the reload.
{
  const own = document.documentElement.dataset.version;
  const kept = `lai-open:${location.pathname}`;
  const seconds = 5;

  function restore() {
    const state = JSON.parse(sessionStorage.getItem(kept) ?? "null");
    sessionStorage.removeItem(kept);
    for (const id of state?.open ?? []) document.getElementById(id)?.closest("details")?.setAttribute("open", "");
    if (state) scrollTo(0, state.y);
  }

  function reload() {
    const open = [...document.querySelectorAll("details[open] > [id]")].map((part) => part.id);
    sessionStorage.setItem(kept, JSON.stringify({ open, y: scrollY }));
    location.reload();
  }

  async function ask() {
    const news = document.getElementById("news");
    try {
      const answer = await fetch("version", { cache: "no-store" });
      const version = answer.ok ? (await answer.text()).trim() : own;
      news.textContent = answer.ok ? "Live: this page follows the study." : await answer.text();
      if (version !== own) return reload();
    } catch {
      news.textContent = "The server has ended; this page stays as it is.";
    }
    setTimeout(ask, 1000 * seconds);
  }

  restore();
  setTimeout(ask, 1000 * seconds);
}
