"use strict";

// Moves the bar of an import as its worker gets on. Without this the page loads itself again every few seconds.

(() => {
  const id = Number(document.querySelector("[data-import]")?.dataset.import);
  if (!id) return;
  const part = (name) => document.querySelector(`#import [data-${name}]`);
  const number = (value) => value.toLocaleString("en-US");
  const ended = (state) => state !== "waiting" && state !== "running";
  let last = Date.now(), heard = 0, tenth = 0, over = false;

  // The page as the server has it now, put in the place of what is shown.
  const refresh = async () => {
    last = Date.now();
    const before = heard;
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("#import");
    if (!fresh || over) return;
    over = ended(fresh.dataset.state);
    if (!over && heard !== before) return; // what has come meanwhile is newer
    const focused = document.activeElement?.closest("#import");
    document.querySelector("#import").replaceWith(fresh);
    if (over) {
      say(document.querySelector("#import .import-end").textContent);
      if (focused) document.querySelector("#main").focus();
      socket?.disconnect();
      clearInterval(timer);
    }
  };

  const say = (text) => {
    const live = document.querySelector("#said");
    if (live.textContent !== text) live.textContent = text;
  };

  const show = (news) => {
    if (!news || news.id !== id || over) return;
    last = Date.now();
    heard += 1;
    if (ended(news.state)) { refresh().catch(() => {}); return; } // the timer asks again
    part("doing").textContent = news.state === "waiting" ? "Waiting for a worker" : news.total === null ? "Reading the file" : "Making links";
    part("made").textContent = number(news.made);
    part("refused").textContent = number(news.refused);
    if (news.total === null) return;
    const bar = document.querySelector("#progress");
    bar.max = news.total;
    bar.value = news.done;
    part("count").textContent = `${number(news.done)} of ${number(news.total)} rows`;
    const tenths = Math.floor((news.done / news.total) * 10);
    if (tenths > tenth) { tenth = tenths; say(`${tenths * 10} percent done`); } // not each batch: that would be read out without an end
  };

  let socket = null;
  if (typeof io !== "undefined") {
    socket = io({ transports: ["websocket"] });
    socket.on("connect", () => {
      socket.emit("watch_import", id, (news) => { document.documentElement.dataset.watching = ""; show(news); });
    });
    socket.on("import", show);
  }
  // Where no news come, the server is asked.
  const timer = setInterval(() => { if (Date.now() - last > 4000) refresh().catch(() => {}); }, 1000);
})();
