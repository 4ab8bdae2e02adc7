// The story: what the tutorial warns of, done to this server at the press of a button, and
// what the charts show of it.

import { ask, get, Problem } from "./api.js";
import { charts } from "./charts.js";
import { readsByTier, responseTime } from "./dashboard.js";
import { h, fill, button, busy } from "./dom.js";
import { count, ms } from "./format.js";
import * as live from "./live.js";
import { lines } from "./stream.js";

const seconds = 120; // that the charts show

export async function story(view, { signal, config }) {
  const title = h("h1", { tabindex: -1 }, "Story");
  if (!config.story) {
    fill(view, title, h("p", null, "The story runs in ", h("code", null, "aside demo"), " only: it overloads the server, and takes Redis away from it."));
    return;
  }
  const drawn = charts([
    readsByTier,
    responseTime,
    { name: "story-loads", title: "Loads, and errors", note: "per second", lines: [["loads", "loads", "c2"], ["errors", "HTTP 5xx", "bad"], ["l2_errors", "Redis errors", "c1"]] },
  ], signal);
  const state = h("p", { class: "sentence", role: "status" });
  const fault = h("p", { class: "bad", role: "alert" });
  const chapters = h("div");
  fill(view, title,
    h("p", { class: "quiet" }, "Each button does on this server what a cache-aside has to withstand. The charts show what happens."),
    fault,
    h("div", { class: "split" }, chapters,
      h("section", { class: "card trace-panel", "aria-labelledby": "charts-title" },
        h("h2", { id: "charts-title" }, "The last two minutes"), state,
        ["tiers", "latency", "story-loads"].map((n) => drawn.element(n)))));
  live.watch(() => {
    const s = live.node(config.node)?.samples.at(-1);
    const text = live.trouble() || (!s ? "" : s.degraded ? `Degraded: ${s.degraded}` : s.feed === "not fed" ? `Not fed: ${s.feed_reason}` : "Serving.");
    if (state.textContent !== text) state.textContent = text;
    if (live.now) drawn.draw(live.series("", seconds));
  }, signal);

  try {
    fill(chapters, (await get("/story", { signal })).map((c) => chapter(c, signal)));
  } catch (e) {
    if (!signal.aborted) fault.textContent = e instanceof Problem ? e.text : String(e);
  }
}

function chapter({ name, title, what, available, reason }, signal) {
  const log = h("ol", { class: "steps", "aria-label": `Steps of: ${title}` });
  const outcome = h("div", { class: "outcome", role: "status" });
  const run = button("Run", (e) => busy(e.target, play), { class: "main", "aria-label": `Run: ${title}`, disabled: !available, "data-story": name });

  async function play() {
    fill(log);
    fill(outcome, h("p", { class: "quiet" }, "Running."));
    try {
      const response = await ask("POST", "/story/" + encodeURIComponent(name), { headers: { "Content-Type": "application/json" }, body: "{}", signal });
      let done = false;
      await lines(response.body, (step) => {
        if (step.done) {
          done = true;
          const facts = Object.entries(step.facts ?? {});
          fill(outcome, h("p", { class: "final " + (step.level ?? "good") }, step.text),
            facts.length ? h("dl", { class: "facts" }, facts.map(([k, v]) => [h("dt", null, k.replaceAll("_", " ")), h("dd", null, typeof v === "number" ? count(v) : String(v))])) : null);
          return;
        }
        log.append(h("li", { class: step.level === "good" || step.level === "bad" ? step.level : null },
          h("time", null, ms(step.t_ms)), h("span", null, step.text)));
      });
      if (!done) fill(outcome, h("p", { class: "bad" }, "The server ended it before the end."));
    } catch (e) {
      if (!signal.aborted) fill(outcome, h("p", { class: "bad" }, e instanceof Problem ? e.text : "The connection to the server was lost."));
    }
  }

  return h("section", { class: "card chapter" },
    h("h2", null, title), h("p", null, what),
    h("p", { class: "buttons" }, run, available ? null : h("span", { class: "quiet" }, `Not here: ${reason}`)),
    log, outcome);
}
