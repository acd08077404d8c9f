// Keeps the page up to date: the server says that something has happened, the page is fetched again, and what has
// changed in its parts marked data-live is changed here too. Elements stay the same, so that the focus, a selection,
// an open <details> and the place that one has scrolled to stay as they are.

import { patch } from "./patch.js";

const PAUSE_MS = 1500; // at least, between two fetches
const body = document.body;
const wanted = body.dataset.refresh.split(" ");
const light = document.getElementById("live");
let fetching = false;
let again = false;
let timer = null;
let last = 0;

function say(text, away = false) {
  light.hidden = false;
  light.classList.toggle("away", away);
  if (light.textContent !== text) light.textContent = text;
}

async function refresh() {
  timer = null;
  if (fetching || document.hidden) {
    again = true;
    return;
  }
  fetching = true;
  again = false;
  last = performance.now();
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (!answer.redirected && answer.headers.get("Content-Type")?.startsWith("text/html")) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.getElementById(part.id);
        if (fresh) patch(part, fresh);
      }
      body.dataset.refreshed = String(Number(body.dataset.refreshed || 0) + 1);
    }
  } catch {
    // The next event, or the stream's new connection, tries again.
  } finally {
    fetching = false;
    if (again && !document.hidden) plan();
  }
}

function plan() {
  again = true;
  if (timer === null && !fetching) timer = setTimeout(refresh, Math.max(50, last + PAUSE_MS - performance.now()));
}

const PATIENCE_MS = 4000; // a stream ends now and then, and begins again at once
let lost = false;
let missing = null;
const stream = new EventSource(body.dataset.stream);
stream.addEventListener("hello", () => {
  clearTimeout(missing);
  missing = null;
  say("Live");
  if (lost) plan();
  lost = false;
});
for (const name of wanted) stream.addEventListener(name, plan);
stream.addEventListener("workers", () => say("Live"));
stream.addEventListener("away", () => say("Redis does not answer", true));
stream.addEventListener("error", () => {
  lost = true;
  missing ??= setTimeout(() => say("Not connected", true), PATIENCE_MS);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && again) plan();
});
