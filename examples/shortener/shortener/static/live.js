"use strict";

// Adds visits to the figures of the page as they happen.

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
})();
