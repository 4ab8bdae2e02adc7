"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const log = document.getElementById("log");
  const time = data.timeline;
  const height = 230;
  let charts = [];

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  const clock = (s) => {
    const pad = (n) => String(n).padStart(2, "0");
    const whole = Math.round(s * 10) / 10;
    if (whole < 60) return whole + " s";
    const min = Math.floor(whole / 60), sec = Math.floor(whole % 60);
    return min < 60 ? min + ":" + pad(sec) : Math.floor(min / 60) + ":" + pad(min % 60) + ":" + pad(sec);
  };
  const short = (v) => {
    if (v == null) return "";
    const a = Math.abs(v);
    if (a >= 1e6) return +(v / 1e6).toPrecision(3) + "M";
    if (a >= 1e4) return +(v / 1e3).toPrecision(3) + "k";
    return String(+v.toPrecision(3));
  };
  const exact = (v) => v == null ? "–" : v >= 100 ? Math.round(v).toLocaleString("en") : String(+v.toPrecision(4));

  const axis = (more) => ({
    stroke: color("quiet"), font: "12px system-ui, sans-serif",
    grid: { stroke: color("grid"), width: 1 }, ticks: { stroke: color("line"), width: 1, size: 5 }, ...more,
  });
  // powers marks a logarithmic axis at 1, 10, 100 and so on alone.
  const powers = {
    splits: (u) => {
      const { min, max } = u.scales.y, ticks = [];
      for (let e = Math.ceil(Math.log10(min) - 1e-9); e <= Math.log10(max) + 1e-9; e++) ticks.push(10 ** e);
      return ticks;
    },
    values: (u, ticks) => ticks.map(short),
  };
  const line = (label, name, more) => ({
    label, stroke: color(name), width: 1.6, value: (u, v) => exact(v), points: { size: 5 }, ...more,
  });
  // The colors are #rrggbb; two more digits are the opacity.
  const fill = (name, percent) => color(name) + Math.round(percent * 2.55).toString(16).padStart(2, "0");

  // draw makes a chart in the element and remembers it under its name.
  const draw = (name, options, values) => {
    const element = document.getElementById(name);
    const chart = new uPlot({
      width: element.clientWidth, height, cursor: { drag: { x: true, y: false } }, ...options,
    }, values, element);
    charts.push({ name, element, chart });
  };

  const overTime = (name, series, values, more = {}) => draw(name, {
    scales: { x: { time: false }, y: { range: (u, min, max) => [0, max > 0 ? max * 1.08 : 1] }, ...more.scales },
    axes: [
      axis({ values: (u, ticks) => ticks.map(clock), incrs: [0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600] }),
      axis({ values: (u, ticks) => ticks.map(short), size: 56, ...more.axis }),
    ],
    cursor: { drag: { x: true, y: false }, sync: { key: "time", setSeries: false } },
    bands: more.bands,
    series: [{ label: "after", value: (u, v) => v == null ? "–" : clock(v) }, ...series],
  }, [time.at, ...values]);

  const tierColors = { L1: "c4", L2: "c1", hit: "c3", miss: "c2", bypass: "c5", unknown: "c6" };

  // Shares are stacked: each line is drawn at the sum of those below it.
  const tiers = () => {
    const names = Object.keys(time.tiers);
    if (names.length === 0) {
      document.getElementById("tiers").textContent = "There were no successful reads.";
      return;
    }
    const sums = time.at.map((_, i) => names.reduce((sum, n) => sum + time.tiers[n][i], 0));
    const share = (n, i) => sums[i] > 0 ? 100 * time.tiers[n][i] / sums[i] : null;
    let below = time.at.map(() => 0);
    const stacked = names.map((n) => {
      below = below.map((b, i) => share(n, i) == null ? null : b + share(n, i));
      return below;
    });
    overTime("tiers",
      names.map((n, s) => line(n, tierColors[n] || "c6", {
        fill: s === 0 ? fill(tierColors[n] || "c6", 35) : undefined,
        value: (u, v, si, i) => i == null ? "–" : exact(share(n, i)) + " %",
      })),
      stacked,
      {
        scales: { y: { range: [0, 100] } }, axis: { values: (u, ticks) => ticks.map((v) => v + " %") },
        bands: names.slice(1).map((n, s) => ({ series: [s + 2, s + 1], fill: fill(tierColors[n] || "c6", 35) })),
      });
  };

  const distribution = () => {
    const { up_to: upTo, share } = data.bars;
    if (upTo.length === 0) {
      document.getElementById("distribution").textContent = "No request succeeded.";
      return;
    }
    const places = upTo.map((_, i) => i);
    const name = (i) => upTo[i] === undefined ? "" : short(upTo[i]);
    draw("distribution", {
      scales: { x: { time: false, range: [-1, upTo.length] }, y: { range: (u, min, max) => [0, max * 1.08] } },
      axes: [
        axis({ values: (u, ticks) => ticks.map((i) => Number.isInteger(i) ? name(i) : ""), label: "ms", labelSize: 18, labelFont: "12px system-ui, sans-serif" }),
        axis({ values: (u, ticks) => ticks.map((v) => short(v) + " %"), size: 56 }),
      ],
      series: [
        { label: "up to", value: (u, v) => v == null ? "–" : name(v) + " ms" },
        line("requests", "c1", { fill: fill("c1", 45), paths: uPlot.paths.bars({ size: [0.9, 40] }), points: { show: false }, value: (u, v) => v == null ? "–" : exact(v) + " %" }),
      ],
    }, [places, share]);
  };

  const percentiles = () => {
    const { nines, p, series } = data.curve;
    if (nines.length === 0) {
      document.getElementById("percentiles").textContent = "No request succeeded.";
      return;
    }
    const colors = { all: "text", "from sending": "c3", ...tierColors };
    const names = Object.keys(series).filter((n) => n !== "all").concat("all"); // which is drawn over the others
    const labels = [[0, "0 %"], [Math.log10(2), "50 %"], [1, "90 %"], [2, "99 %"], [3, "99.9 %"], [4, "99.99 %"], [5, "99.999 %"], [6, "99.9999 %"]];
    draw("percentiles", {
      scales: { x: { time: false }, y: { distr: 3 } },
      axes: [
        axis({ splits: (u) => labels.map((l) => l[0]).filter((v) => v <= u.scales.x.max), values: (u, ticks) => ticks.map((v) => (labels.find((l) => l[0] === v) || [0, ""])[1]) }),
        axis({ ...powers, size: 56 }),
      ],
      series: [
        { label: "percentile", value: (u, v, si, i) => i == null ? "–" : p[i] + " %" },
        ...names.map((n) => line(n, colors[n] || "c6", { points: { show: false }, value: (u, v) => v == null ? "–" : exact(v) + " ms" })),
      ],
    }, [nines, ...names.map((n) => series[n])]);
  };

  const all = () => {
    charts.forEach((c) => c.chart.destroy());
    charts = [];
    overTime("throughput", [line("successful", "c1", { fill: fill("c1", 12) })], [time.rate]);
    const latency = log.checked
      ? { scales: { y: { distr: 3 } }, axis: powers }
      : {};
    overTime("latency",
      [line("50 %", "c4"), line("95 %", "c1"), line("99 %", "c2"), line("max", "c6", { width: 1, show: false })],
      [time.p50, time.p95, time.p99, time.max], latency);
    tiers();
    overTime("failures", [line("failed", "bad", { fill: fill("bad", 18) })], [time.failed]);
    overTime("users",
      [line("users", "c1"), ...(data.open_loop ? [line("backlog", "bad", { fill: fill("bad", 12) })] : [])],
      [time.users, ...(data.open_loop ? [time.backlog] : [])]);
    distribution();
    percentiles();
    // For tests: what is drawn, and from what.
    window.charts = Object.fromEntries(charts.map((c) => [c.name, c.chart]));
  };

  all();
  dark.addEventListener("change", all);
  log.addEventListener("change", all);
  let resize;
  addEventListener("resize", () => {
    cancelAnimationFrame(resize);
    resize = requestAnimationFrame(() => charts.forEach((c) => c.chart.setSize({ width: c.element.clientWidth, height })));
  });
})();
