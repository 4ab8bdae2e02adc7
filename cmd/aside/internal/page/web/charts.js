// Charts over time, drawn by uPlot. Their numbers stand beside them as text.

import { h } from "./dom.js";
import { clock, count, ms } from "./format.js";

const height = 150;
const dark = matchMedia("(prefers-color-scheme: dark)");
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
// The colors are #rrggbb; two more digits are the opacity.
const faint = (name, percent) => color(name) + Math.round(percent * 2.55).toString(16).padStart(2, "0");

const short = (v) => {
  if (v == null) return "";
  if (Math.abs(v) >= 1e6) return +(v / 1e6).toPrecision(3) + "M";
  if (Math.abs(v) >= 1e4) return +(v / 1e3).toPrecision(3) + "k";
  return String(+v.toPrecision(3));
};

// charts draws several charts that share their time.
//   name     for tests and labels
//   title    text above it
//   unit     "ms", or nothing for counts
//   lines    [field, label, color]
//   stacked  draws each line at the sum of those before it
export function charts(specs, signal) {
  const made = specs.map((spec) => new Chart(spec));
  let sizing;
  const resized = new ResizeObserver(() => {
    cancelAnimationFrame(sizing);
    sizing = requestAnimationFrame(() => made.forEach((c) => c.size()));
  });
  made.forEach((c) => resized.observe(c.canvas));
  const again = () => made.forEach((c) => c.make());
  dark.addEventListener("change", again);
  signal.addEventListener("abort", () => {
    resized.disconnect();
    dark.removeEventListener("change", again);
    made.forEach((c) => c.plot?.destroy());
  }, { once: true });
  return {
    element: (name) => made.find((c) => c.spec.name === name).element,
    draw: (data) => made.forEach((c) => c.draw(data)),
    all: Object.fromEntries(made.map((c) => [c.spec.name, c])),
  };
}

class Chart {
  constructor(spec) {
    this.spec = spec;
    this.values = spec.lines.map(() => h("b", null, "–"));
    this.canvas = h("div", { class: "plot", role: "img", "aria-label": spec.title });
    this.element = h("figure", { class: "chart", "data-chart": spec.name },
      h("figcaption", null, spec.title, spec.note ? h("small", null, spec.note) : null),
      h("p", { class: "numbers" }, spec.lines.map(([, label, c], i) =>
        h("span", { class: "swatch k-" + c }, label, " ", this.values[i]))),
      this.canvas);
  }

  text(v) {
    return v == null ? "–" : this.spec.unit === "ms" ? ms(v) : count(v);
  }

  draw({ at, of }) {
    this.at = at;
    this.raw = this.spec.lines.map(([field]) => of(field));
    this.element.hidden = this.spec.hidden?.() ?? false;
    let below = null;
    const drawn = !this.spec.stacked ? this.raw : this.raw.map((values) =>
      below = values.map((v, i) => v == null ? null : v + (below?.[i] ?? 0)));
    this.data = [at, ...drawn];
    if (!this.plot) this.make();
    else if (!this.element.hidden) this.plot.setData(this.data);
    if (!this.hovered) this.numbers(null);
  }

  // numbers shows the values of one second, or of the last one that has values.
  numbers(i) {
    if (!this.raw) return;
    this.hovered = i != null;
    const last = this.at.length - 1;
    this.raw.forEach((values, n) => {
      let j = i ?? last;
      // The second that just ends is not known of all nodes yet.
      if (i == null && values[j] == null && j > 0) j--;
      const text = this.text(values[j]);
      if (this.values[n].textContent !== text) this.values[n].textContent = text;
    });
    if (i == null) {
      this.canvas.setAttribute("aria-label", `${this.spec.title}, line chart. ` + this.spec.lines.map(([, label], n) => {
        const known = this.raw[n].filter((v) => v != null);
        return `${label}: now ${this.values[n].textContent}, highest ${known.length ? this.text(Math.max(...known)) : "–"}`;
      }).join("; ") + ".");
    }
  }

  size() {
    const width = this.canvas.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height });
  }

  make() {
    this.plot?.destroy();
    this.plot = undefined;
    const width = this.canvas.clientWidth;
    if (!this.data || width === 0) return; // hidden; the next draw tries again
    const axis = (more) => ({
      stroke: color("quiet"), font: "11px system-ui, sans-serif",
      grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, ...more,
    });
    const { lines, stacked } = this.spec;
    this.plot = new uPlot({
      width, height,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "time", setSeries: false }, points: { size: 6 } },
      scales: { x: { time: true }, y: { range: (u, min, max) => [0, max > 0 ? max * 1.1 : 1] } },
      axes: [
        axis({ values: (u, ticks) => ticks.map((t, i) => clock(t * 1000).slice(0, ticks[1] - ticks[0] >= 60 ? 5 : 8)), size: 24, space: 64 }),
        axis({ values: (u, ticks) => ticks.map(short), size: 40, space: 34 }),
      ],
      series: [{}, ...lines.map(([, label, c], i) => ({
        label, stroke: color(c), width: 1.5, points: { show: false },
        fill: i === 0 && (stacked || lines.length === 1) ? faint(c, stacked ? 30 : 14) : undefined,
      }))],
      bands: stacked ? lines.slice(1).map(([, , c], i) => ({ series: [i + 2, i + 1], fill: faint(c, 30) })) : undefined,
      hooks: { setCursor: [(u) => {
        const i = u.cursor.idx ?? null; // it is that of every chart
        if (i !== this.last) this.numbers(this.last = i);
      }] },
    }, this.data, this.canvas);
  }
}
