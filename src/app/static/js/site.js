"use strict";

// Everything works without this file; it only spares a few keystrokes.

for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break; // plain HTTP on another machine
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    const source = document.querySelector(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

const zone = document.querySelector("[data-own-zone]");
if (zone) {
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (own && document.querySelector(`#zones option[value="${CSS.escape(own)}"]`)) zone.value = own;
}
