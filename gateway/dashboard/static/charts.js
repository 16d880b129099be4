// The charts of the overview, from the figures in the page, which the stream keeps fresh.
"use strict";

(() => {
  const PLOTS = {
    throughput: { unit: "/min", series: [["ended", "accent"], ["submitted", "faint"], ["failed", "bad"]] },
    latency: { unit: "s", series: [["in the queue", "accent"], ["running", "faint"]] },
  };
  const drawn = {};
  let figures = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  function read() {
    const place = document.querySelector("#figures [data-figures]");
    figures = place ? JSON.parse(place.dataset.figures) : null;
  }

  function short(value, unit) {
    if (value == null) return "–";
    if (unit === "s") {
      if (value < 1) return `${Math.round(value * 1000)} ms`;
      return value < 100 ? `${value.toPrecision(3)} s` : `${Math.round(value / 60)} min`;
    }
    if (value >= 1e6) return `${(value / 1e6).toPrecision(3)}M`;
    if (value >= 1e4) return `${(value / 1e3).toPrecision(3)}k`;
    return value >= 100 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(2));
  }

  function clock(ticks) {
    const close = ticks.length > 1 && ticks[1] - ticks[0] < 60;
    const form = { hour: "2-digit", minute: "2-digit", hour12: false, ...(close ? { second: "2-digit" } : {}) };
    return ticks.map((at) => new Date(at * 1000).toLocaleTimeString(undefined, form));
  }

  function tell(name, place) {
    const plot = PLOTS[name];
    const legend = document.querySelector(`[data-legend="${name}"]`);
    const columns = figures[name];
    const at = place ?? columns[0].length - 1;
    legend.replaceChildren(...plot.series.map(([label, tone], number) => {
      const item = document.createElement("span");
      item.className = `k-${tone}`;
      const value = document.createElement("b");
      value.textContent = short(columns[number + 1][at], plot.unit);
      item.append(document.createElement("i"), `${label} `, value);
      return item;
    }));
  }

  function options(name, place) {
    const plot = PLOTS[name];
    const axis = { stroke: colour("muted"), font: "11px Inter, sans-serif", ticks: { show: false }, grid: { stroke: colour("line"), width: 1 } };
    return {
      width: place.clientWidth - 16,
      height: place.clientHeight - 8,
      legend: { show: false },
      padding: [10, 6, 0, 0],
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
      scales: { x: { time: true }, y: { range: (_, __, most) => [0, (most || 1) * 1.12] } },
      axes: [
        { ...axis, grid: { show: false }, space: 70, size: 26, values: (_, ticks) => clock(ticks) },
        { ...axis, size: 46, space: 36, values: (_, ticks) => ticks.map((value) => short(value, plot.unit)) },
      ],
      series: [
        {},
        ...plot.series.map(([label, tone], number) => ({
          label,
          stroke: colour(tone),
          width: number ? 1.3 : 1.8,
          fill: number ? undefined : `${colour(tone)}14`,
          points: { show: false },
          spanGaps: false,
        })),
      ],
      hooks: { setCursor: [(chart) => tell(name, chart.cursor.idx ?? undefined)] },
    };
  }

  function draw(name, place) {
    drawn[name]?.destroy();
    delete drawn[name];
    place.replaceChildren();
    if (!figures || figures[name][0].length < 2) {
      const note = document.createElement("p");
      note.className = "chart-empty";
      note.textContent = "Collecting: this gateway has just been started, or nobody has looked.";
      place.append(note);
      return;
    }
    drawn[name] = new uPlot(options(name, place), figures[name], place);
    tell(name);
  }

  function drawAll() {
    for (const place of document.querySelectorAll("[data-plot]")) draw(place.dataset.plot, place);
  }

  function refresh() {
    const before = JSON.stringify(figures);
    read();
    if (!figures || JSON.stringify(figures) === before) return;
    for (const place of document.querySelectorAll("[data-plot]")) {
      const name = place.dataset.plot;
      if (drawn[name]) { drawn[name].setData(figures[name]); tell(name); } else draw(name, place);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    read();
    drawAll();
    const sizes = new ResizeObserver(() => {
      for (const place of document.querySelectorAll("[data-plot]")) {
        drawn[place.dataset.plot]?.setSize({ width: place.clientWidth - 16, height: place.clientHeight - 8 });
      }
    });
    document.querySelectorAll("[data-plot]").forEach((place) => sizes.observe(place));
  });
  document.addEventListener("htmx:after:swap", refresh);
  document.addEventListener("theme", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
