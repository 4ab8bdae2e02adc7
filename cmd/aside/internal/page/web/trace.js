// How a request of the todo view was answered: read from the headers Cache-Status,
// Server-Timing and ETag, and shown for the last twenty requests.

import { h, fill } from "./dom.js";
import { ms } from "./format.js";

const kept = 20;
const traces = []; // the newest first
const watchers = new Set();

// Tiers have a name, a color (c-NAME in page.css) and a sentence.
const tiers = {
  L1: ["L1", "Found in the memory of this server."],
  L2: ["L2", "Found in Redis. This server now has it in memory too."],
  load: ["load", "Not in the cache, so it was loaded from the database. Read it again: now it is cached."],
  database: ["database", "Read from the database, past the cache: lists always are."],
  write: ["write", "Written to the database. This server has no older record from now on, others follow within milliseconds."],
  refused: ["refused", ""],
  failed: ["failed", ""],
};

const reasons = {
  fenced: "A write to it was running: the database was read, and nothing was cached.",
  degraded: "Redis cannot be used now: the database was read.",
  "lease-wait": "Another server took too long to load it: the database was read.",
  "too-large": "The record is too large for Redis: the database was read.",
  "slow-l2": "Redis took too long: the database was read.",
};

// cacheStatus reads the member of aside in a Cache-Status header (RFC 9211).
export function cacheStatus(header) {
  const out = { tier: "", notes: [], coalesced: false, strong: false, bypass: false };
  if (!header) return out;
  for (const part of header.split(";").slice(1)) {
    const [name, raw = ""] = part.trim().split("=", 2);
    const value = part.includes('"') ? part.slice(part.indexOf('"') + 1, part.lastIndexOf('"')) : raw;
    if (name === "collapsed") out.coalesced = true;
    if (name === "fwd") {
      out.strong = value === "request";
      out.bypass = value === "bypass";
    }
    if (name === "detail") [out.tier, ...out.notes] = value.split("/");
  }
  return out;
}

// serverTiming reads the durations of a Server-Timing header, in milliseconds.
export function serverTiming(header) {
  const out = {};
  for (const part of (header ?? "").split(",")) {
    const found = /^\s*([\w-]+)\s*;\s*dur=([\d.]+)/.exec(part);
    if (found) out[found[1]] = Number(found[2]);
  }
  return out;
}

// traceOf makes a trace of a response, or of a problem, which has a response unless the
// server could not be reached. took is the time that the browser measured.
export function traceOf(method, path, response, took, { strong = false, problem } = {}) {
  const headers = response?.headers;
  const status = cacheStatus(headers?.get("Cache-Status"));
  const timing = serverTiming(headers?.get("Server-Timing"));
  const read = method === "GET";
  let tier = status.tier;
  if (!response || response.status >= 500) tier = "failed";
  else if (!read) tier = problem ? "refused" : "write";
  else if (status.bypass) tier = "database";
  else if (!tiers[tier]) tier = problem ? "refused" : "database";
  const negative = status.notes.includes("negative") || (problem?.status === 404 && read);
  const flags = [];
  if (strong && read) flags.push("strong");
  if (status.coalesced) flags.push("coalesced");
  if (negative) flags.push("negative");
  if (status.notes.includes("stale")) flags.push("stale");
  const reason = status.notes.find((n) => reasons[n]);
  if (reason) flags.push(reason);
  if (problem?.status === 412) flags.push("conflict");

  return {
    method, path, tier, flags, timing, took, times: 1, at: Date.now(),
    status: response?.status ?? 0,
    etag: headers?.get("ETag") ?? "",
    total: timing.total ?? took,
    byServer: timing.total != null,
    text: explain({ tier, status, negative, reason, strong, problem, method, path, cached: headers?.has("Cache-Status") }),
  };
}

function explain({ tier, status, negative, reason, strong, problem, method, path }) {
  if (problem?.status === 412) return "Refused: somebody changed the todo after you had read it.";
  if (negative) {
    return tier === "load"
      ? "There is no such todo. The cache remembers that: read it again."
      : `There is no such todo, and ${tier === "L2" ? "Redis" : "the memory of this server"} knew it: the database was not asked.`;
  }
  if (problem) return problem.text;
  if (method === "DELETE") return "Deleted from the database. This server forgot it at once, others follow within milliseconds.";
  let text = tiers[tier][1];
  if (tier === "database" && path.startsWith("/todos/")) text = "Read from the database: this server has no cache.";
  if (status.coalesced) text = "Another request was already loading it. Both got the answer of one load.";
  else if (reason) text = reasons[reason];
  else if (strong && tier === "load") text = "A strong read: it asked the database, whatever the memory of this server had.";
  else if (strong && tier === "L2") text = "A strong read: it did not trust the memory of this server. Redis had the current record.";
  if (status.notes.includes("stale")) text = "A record past its time: the database did not answer, so the old one is shown.";
  return text;
}

// add keeps a trace. Traces with the same name in merge, such as the pages of one search,
// become one if they were answered in the same way.
export function add(trace, merge = "") {
  const same = merge && traces.find((t) => t.merge === merge && t.tier === trace.tier && t.flags.join() === trace.flags.join());
  if (same) {
    same.times++;
    same.total = Math.max(same.total, trace.total);
    for (const [k, v] of Object.entries(trace.timing)) same.timing[k] = Math.max(same.timing[k] ?? 0, v);
  } else {
    traces.unshift({ ...trace, merge });
    traces.length = Math.min(traces.length, kept);
  }
  watchers.forEach((f) => f());
  return trace;
}

// chip shows the tier and the time: L1 0.04 ms.
export function chip(trace) {
  return h("span", { class: "chip c-" + trace.tier },
    h("b", null, tiers[trace.tier][0]), " ", ms(trace.total),
    trace.flags.map((f) => h("span", { class: "flag" }, f)));
}

// The steps of a request, in the order in which they happen.
const steps = [["cache", "L1"], ["l2", "L2"], ["load", "load"]];

function bar(trace, longest) {
  const e = h("div", { class: "bar", "aria-hidden": "true" });
  const part = (name, time) => {
    if (!(time > 0)) return;
    const p = h("span", { class: "c-" + name });
    p.style.width = Math.min(100, Math.max(0.4, 100 * time / longest)) + "%";
    e.append(p);
  };
  if (trace.byServer) {
    let rest = trace.timing.total;
    for (const [name, tier] of steps) {
      const time = Math.min(trace.timing[name] ?? 0, rest);
      part(trace.tier === "database" && name === "load" ? "database" : tier, time);
      rest -= time;
    }
    part("rest", rest);
  } else {
    part(trace.tier, trace.total);
  }
  return e;
}

function line(trace, longest) {
  return h("li", null,
    h("div", { class: "trace-head" }, chip(trace),
      h("code", null, trace.method, " ", trace.path, trace.times > 1 ? ` ×${trace.times}` : "")),
    bar(trace, longest),
    h("div", { class: "trace-foot" },
      trace.status && trace.status !== 200 ? h("span", null, String(trace.status)) : null,
      trace.etag ? h("span", { title: "The ETag: it names this state of the record" }, "ETag ", h("code", null, trace.etag)) : null,
      trace.times > 1 ? h("span", null, "the slowest of them") : null,
      trace.byServer ? null : h("span", null, "measured by the browser")));
}

// panel shows the traces until the signal is aborted.
export function panel(signal) {
  const sentence = h("p", { class: "sentence", role: "status" });
  const list = h("ol", { class: "traces" });
  const show = () => {
    const longest = Math.max(...traces.map((t) => t.total), 0.001);
    fill(list, traces.map((t) => line(t, longest)));
    const text = traces[0]?.text ?? "Open a todo: here you see where its answer came from, and how long that took.";
    if (sentence.textContent !== text) sentence.textContent = text;
  };
  watchers.add(show);
  signal.addEventListener("abort", () => watchers.delete(show), { once: true });
  show();
  return h("section", { class: "card trace-panel", "aria-labelledby": "traces-title" },
    h("h2", { id: "traces-title" }, "How it was answered"),
    sentence, list,
    h("p", { class: "legend" },
      [["L1", "cache"], ["L2", "Redis"], ["load", "database"], ["rest", "HTTP"]].map(([c, text]) =>
        h("span", { class: "swatch c-" + c }, text)),
      h("span", { class: "note" }, "Length: time, against the slowest shown.")));
}
