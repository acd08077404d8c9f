"use strict";

// Draws #chart from its data-chart; days are seconds since 1970, midnight UTC.

(() => {
  const figure = document.getElementById("chart");
  if (!figure) return;
  const { days, clicks } = JSON.parse(figure.dataset.chart);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let plot = null;

  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: color("--ink-soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
    if (plot) plot.destroy();
    plot = new uPlot({
      width: figure.clientWidth,
      height: 260,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: {
        x: { range: (u, low, high) => [low - 43200, high + 43200] },
        y: { range: (u, low, high) => [0, Math.max(4, Math.ceil(high * 1.1))] },
      },
      series: [
        { label: "Day", value: (u, seconds) => (seconds == null ? "–" : day.format(seconds * 1000)) },
        {
          label: "Clicks",
          fill: color("--accent"),
          stroke: color("--accent"),
          width: 0,
          points: { show: false },
          paths: uPlot.paths.bars({ size: [0.7, 36], radius: 0.15 }),
        },
      ],
      axes: [
        { ...axis, grid: { show: false }, values: (u, ticks) => ticks.map((seconds) => day.format(seconds * 1000)), space: 64 },
        { ...axis, size: 48, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5, 1e6] },
      ],
    }, [days, clicks], figure);
  };

  figure.hidden = false;
  document.querySelector("details.figures").open = false;
  draw();
  dark.addEventListener("change", draw);
  let width = figure.clientWidth;
  new ResizeObserver(() => {
    if (figure.clientWidth !== width) {
      width = figure.clientWidth;
      plot.setSize({ width, height: 260 });
    }
  }).observe(figure);
})();
