"use strict";

// Moves the bar of an import; at its end the page is loaded again.

(() => {
  const id = Number(document.querySelector("[data-import]")?.dataset.import);
  if (!id || typeof io === "undefined") return;
  let last = Date.now();
  const show = (news) => {
    if (!news || news.id !== id) return;
    last = Date.now();
    if (news.state !== "waiting" && news.state !== "running") { location.reload(); return; }
    const bar = document.querySelector("#progress");
    bar.max = news.total;
    bar.value = news.done;
    document.querySelector("[data-made]").textContent = news.made.toLocaleString("en-US");
    document.querySelector("[data-refused]").textContent = news.refused.toLocaleString("en-US");
  };
  const socket = io({ transports: ["websocket"] });
  socket.on("connect", () => socket.emit("watch_import", id, show));
  socket.on("import", show);
  setInterval(() => { if (Date.now() - last > 5000) location.reload(); }, 1000);
})();
