// The dashboard: what all nodes do, second by second.

import { charts } from "./charts.js";
import { h, fill } from "./dom.js";
import { count, ms, percent, span } from "./format.js";
import * as live from "./live.js";

const windows = [[60, "1 min"], [300, "5 min"], [900, "15 min"]];
const recent = 10; // seconds that the figures at the top are of

export const readsByTier = {
  name: "tiers", title: "Reads by the tier that answered", note: "per second", stacked: true,
  lines: [["l1", "L1", "c4"], ["l2", "L2", "c1"], ["misses", "loaded", "c2"]],
};
export const responseTime = {
  name: "latency", title: "Response time", unit: "ms",
  lines: [["p50", "50 %", "c4"], ["p95", "95 %", "c1"], ["p99", "99 %", "c2"]],
};

function specs(has) {
  return {
    "Requests": [
      { name: "requests", title: "Requests", note: "per second", lines: [["requests", "requests", "c1"]] },
      responseTime,
      readsByTier,
      {
        name: "special", title: "Reads with a note", note: "per second",
        lines: [["coalesced", "coalesced", "c1"], ["negatives", "negative", "c3"], ["stale", "stale", "c5"], ["failures", "failed", "bad"]],
      },
      {
        name: "writes", title: "Writes", note: "per second",
        lines: [["fences", "fences", "c3"], ["published", "published", "c4"], ["fills_refused", "refused fills", "c2"]],
      },
      {
        name: "errors", title: "Errors", note: "per second",
        lines: [["errors", "HTTP 5xx", "bad"], ["load_failures", "loads", "c2"], ["l2_errors", "Redis", "c1"], ["db_errors", "database", "c3"]],
      },
    ],
    "Database": [
      {
        name: "loads", title: "Loads", note: "started per second, and at the moment",
        lines: [["loads", "loads", "c2"], ["running", "running", "c1"], ["queued", "queued", "bad"]],
      },
      { name: "load-time", title: "Time of a load", unit: "ms", lines: [["load_p50", "50 %", "c4"], ["load_p99", "99 %", "c2"]] },
      { name: "database", title: "Time of a call to the database", unit: "ms", lines: [["db_p50", "50 %", "c4"], ["db_p99", "99 %", "c2"]] },
    ],
    "What other nodes and the database tell": [
      {
        name: "invalidations", title: "Invalidations", note: "per second; pending at the moment",
        lines: [["inv_in", "in", "c1"], ["inv_out", "out", "c4"], ["pending", "pending", "bad"]],
      },
      { name: "feed", title: "Changes seen by the feed", note: "per second", lines: [["feed_changes", "changes", "c1"]], hidden: () => !has.feed },
      { name: "feed-lag", title: "Lag of the feed", unit: "ms", lines: [["feed_lag", "lag", "c2"]], hidden: () => !has.feed },
    ],
    "Memory and Redis": [
      { name: "entries", title: "Entries in L1", lines: [["l1_entries", "entries", "c4"]] },
      { name: "evictions", title: "Removed from L1", note: "per second", lines: [["evictions", "evicted", "c2"], ["flushes", "flushes", "bad"]] },
      { name: "redis", title: "Time of a call to Redis", unit: "ms", lines: [["l2_p50", "50 %", "c4"], ["l2_p99", "99 %", "c2"]], hidden: () => !has.redis },
    ],
  };
}

// stateOf tells how a node is, for people: [good | warn | bad, text].
function stateOf(name) {
  const s = live.node(name)?.samples.at(-1);
  if (!s) return ["warn", "no sample yet"];
  if (live.gone(name)) return ["bad", `not seen for ${span(live.now - s.t)}`];
  if (s.degraded) return ["bad", `degraded: ${s.degraded}`];
  if (s.feed === "not fed") return ["warn", `not fed: ${s.feed_reason || "the feed has not caught up"}`];
  return ["good", "serving"];
}

const feedText = (s) => s.feed === "fed" ? `fed, lag ${ms(s.feed_lag)}` : s.feed;

export function dashboard(view, { signal, config }) {
  let which = ""; // a node, "" is all
  let seconds = 900;
  const has = { feed: false, redis: false };
  const groups = specs(has);
  const drawn = charts(Object.values(groups).flat(), signal);

  const trouble = h("p", { class: "banner", role: "status", hidden: true });
  const tiles = h("dl", { class: "tiles" });
  const rows = h("tbody");
  const choice = h("select", { id: "node", onchange: (e) => { which = e.target.value; show(); } });
  const span15 = h("select", { id: "window", onchange: (e) => { seconds = Number(e.target.value); show(); } },
    windows.map(([s, text]) => h("option", { value: s, selected: s === seconds }, text)));

  function figures() {
    const per = (field) => {
      const { sum, seconds } = live.sum(which, field, recent);
      return seconds ? sum / seconds : NaN;
    };
    const reads = per("l1") + per("l2") + per("misses");
    const slow = live.series(which, recent).of("p99").filter((v) => v != null);
    const bad = per("errors");
    const list = [
      ["requests/s", count(per("requests"))],
      ["answered by the cache", reads > 0 ? percent((per("l1") + per("l2")) / reads) : "–"],
      ["99 % within", slow.length ? ms(Math.max(...slow)) : "–"],
      ["loads/s", count(per("loads"))],
      ["errors/s", count(bad), bad > 0],
    ];
    fill(tiles, list.map(([name, value, isBad]) => h("div", { class: isBad ? "tile bad" : "tile" }, h("dt", null, name), h("dd", null, value))));
  }

  function table() {
    const cell = (label, ...content) => h("td", { "data-label": label }, content);
    fill(rows, live.names().map((name) => {
      const { info, samples } = live.node(name);
      const s = samples.at(-1);
      const [level, text] = stateOf(name);
      return h("tr", null,
        h("th", { scope: "row" }, name !== config.node && /^https?:\/\//.test(info?.url ?? "") ? h("a", { href: info.url }, name) : name, name === config.node ? h("small", null, " (this one)") : null),
        cell("State", h("span", { class: "state " + level }, text)),
        cell("Requests/s", s ? count(s.requests) : "–"),
        cell("Entries in L1", s ? count(s.l1_entries) : "–"),
        cell("Feed", s ? feedText(s) : "–"),
        cell("Breaker", s?.breaker ?? "–"),
        cell("Version", info?.version ?? "–"),
        cell("Up", info?.started ? span(Math.max(0, live.now - startOf(info))) : "–"));
    }));
    const names = live.names();
    if (choice.options.length !== names.length + 1) {
      fill(choice, h("option", { value: "" }, "all nodes"), names.map((n) => h("option", { value: n }, n)));
      if (which && !names.includes(which)) which = "";
      choice.value = which;
    }
  }

  function show() {
    const samples = live.names().map((n) => live.node(n).samples.at(-1)).filter(Boolean);
    has.feed = samples.some((s) => s.feed !== "off");
    has.redis = samples.some((s) => s.breaker !== "none") || live.sum("", "l2_ops", seconds).sum > 0;
    const reason = live.trouble();
    if (trouble.textContent !== reason) trouble.textContent = reason;
    trouble.hidden = !reason;
    figures();
    table();
    if (live.now) drawn.draw(live.series(which, seconds));
  }

  fill(view,
    h("h1", { tabindex: -1 }, "Dashboard"),
    h("p", { class: "quiet" }, `Store: ${config.store}. Cache: ${config.cache}. One sample a second, of the last 15 minutes.`),
    trouble, tiles,
    h("div", { class: "scroll", role: "region", "aria-label": "Nodes", tabindex: 0 },
      h("table", { class: "nodes" },
        h("thead", null, h("tr", null, ["Node", "State", "Requests/s", "Entries in L1", "Feed", "Breaker", "Version", "Up"].map((t) => h("th", { scope: "col" }, t)))),
        rows)),
    h("p", { class: "choices" },
      h("span", null, h("label", { for: "node" }, "Show"), " ", choice),
      h("span", null, h("label", { for: "window" }, "Last"), " ", span15)),
    Object.entries(groups).map(([title, list]) => h("section", null,
      h("h2", null, title),
      h("div", { class: "charts" }, list.map((s) => drawn.element(s.name))))));
  live.watch(show, signal);
}

// startOf is when a node began, in ms, from either form that info may have.
const startOf = (info) => typeof info.started === "number" ? info.started : Date.parse(info.started);
