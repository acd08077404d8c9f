"use strict";

// Adds clicks to the figures of the page as they happen, and shows what a link leads to once a worker has looked.
// After a reload all of it is there without this.

(() => {
  const figures = [...document.querySelectorAll("[data-live]")];
  if (!figures.length || typeof io === "undefined") return;
  const slugs = [...new Set(figures.map((figure) => figure.dataset.live))];
  const socket = io({ transports: ["websocket"] });
  socket.on("connect", () => {
    socket.emit("watch", slugs, () => { document.documentElement.dataset.watching = ""; });
  });
  socket.on("clicks", ({ slug, clicks }) => {
    for (const figure of figures.filter((one) => one.dataset.live === slug)) {
      const count = Number(figure.dataset.count) + clicks;
      figure.dataset.count = count;
      figure.textContent = count.toLocaleString("en-US");
      const unit = figure.parentElement.querySelector("[data-unit]");
      if (unit) unit.textContent = count === 1 ? "visit" : "visits";
    }
  });
  socket.on("preview", ({ slug, ...parts }) => {
    for (const place of document.querySelectorAll("[data-preview-of]")) {
      const text = parts[place.dataset.part];
      if (place.dataset.previewOf !== slug || (place.matches("h1") && !text)) continue;
      place.textContent = text ?? "";
      place.closest("p, h1").hidden = !text;
    }
  });
})();
