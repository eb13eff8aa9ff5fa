// Keeps the page of the box fresh: part by part, and not the one that somebody is in with the keyboard.

const EVERY_MS = 10_000;

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch("/", { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) return location.reload();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-part]")) {
    const next = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
    const isInUse = part.contains(document.activeElement) || part.querySelector("details[open]");
    if (next && !isInUse && next.innerHTML !== part.innerHTML) part.replaceChildren(...next.childNodes);
  }
}

setInterval(() => refresh().catch(() => {}), EVERY_MS); // the box is away for a moment: the next time tells
