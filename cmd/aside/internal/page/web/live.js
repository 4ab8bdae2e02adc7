// The samples of all nodes, from the server's events. The stream is open only while a view
// that shows them is visible: a browser has few connections for each server.

import { follow } from "./stream.js";

const kept = 900; // seconds
const nodes = new Map(); // name -> { info, samples, seen }
const watchers = new Set();
let ending;
let state = "";

const visible = () => document.visibilityState === "visible";

function check() {
  if (watchers.size && visible() && !ending) {
    ending = new AbortController();
    follow("/page/events", { signal: ending.signal, onevent, onstate: (s, reason) => tell(s === "open" ? "" : reason) });
  } else if (ending && (!watchers.size || !visible())) {
    ending.abort();
    ending = undefined;
  }
}

function tell(text) {
  state = text;
  watchers.forEach((f) => f());
}

// now is the time by the servers' clocks: that of the newest sample.
export let now = 0;

function onevent(name, data) {
  if (name === "history") {
    nodes.clear();
    now = 0;
  }
  for (const [node, { info, samples, sample }] of Object.entries(data.nodes ?? {})) {
    let n = nodes.get(node);
    if (!n) nodes.set(node, n = { info, samples: [] });
    n.info = info ?? n.info;
    for (const s of samples ?? [sample]) {
      if (!s || s.t <= (n.samples.at(-1)?.t ?? 0)) continue; // what another node has announced may come twice
      n.samples.push(s);
      now = Math.max(now, s.t);
    }
    if (n.samples.length > kept) n.samples.splice(0, n.samples.length - kept);
  }
  for (const [node, n] of nodes) {
    if (now - (n.samples.at(-1)?.t ?? 0) > kept * 1000) nodes.delete(node);
  }
  tell("");
}

document.addEventListener("visibilitychange", check);

// watch calls f at each change until the signal is aborted.
export function watch(f, signal) {
  watchers.add(f);
  signal.addEventListener("abort", () => {
    watchers.delete(f);
    // The next view may want the stream too.
    setTimeout(check, 0);
  }, { once: true });
  check();
  f();
}

export const trouble = () => state;
export const names = () => [...nodes.keys()].sort();
export const node = (name) => nodes.get(name);
export const gone = (name) => now - (nodes.get(name)?.samples.at(-1)?.t ?? 0) > 5000;

// Counts of several nodes are added, of times and delays the longest counts.
const longest = new Set(["p50", "p95", "p99", "load_p50", "load_p99", "l2_p50", "l2_p99", "db_p50", "db_p99", "feed_lag"]);
// Where nothing was measured there is no time: a line with gaps instead of zeros.
const measured = { p50: "requests", p95: "requests", p99: "requests", load_p50: "loads", load_p99: "loads", l2_p50: "l2_ops", l2_p99: "l2_ops", db_p50: "db_ops", db_p99: "db_ops" };

// series returns the seconds of the last while, and a function that returns the values of a
// field in these seconds, of one node or of all together ("").
export function series(which, seconds) {
  const end = Math.floor(now / 1000);
  const begin = end - seconds + 1;
  const at = Array.from({ length: seconds }, (_, i) => begin + i);
  const rows = (which ? [nodes.get(which)] : [...nodes.values()]).filter(Boolean).map((n) => n.samples);
  return {
    at,
    of: (field) => {
      const out = new Array(seconds).fill(null);
      const counted = measured[field];
      for (const samples of rows) {
        for (let j = samples.length - 1; j >= 0; j--) {
          const s = samples[j], i = Math.floor(s.t / 1000) - begin;
          if (i < 0) break;
          const v = s[field];
          if (i >= seconds || v == null || counted && !s[counted]) continue;
          out[i] = longest.has(field) ? Math.max(out[i] ?? 0, v) : (out[i] ?? 0) + v;
        }
      }
      return out;
    },
  };
}

// sum adds up a field over the last seconds, and says of how many seconds something is known.
export function sum(which, field, seconds) {
  const { of } = series(which, seconds);
  const known = of(field).filter((v) => v != null);
  return { sum: known.reduce((a, b) => a + b, 0), seconds: known.length };
}
