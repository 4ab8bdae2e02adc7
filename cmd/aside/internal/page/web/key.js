// The key: what each tier has of one record, and whether that is what the database has.

import { opsGet, opsPost, token, todoPath, Problem } from "./api.js";
import { h, fill, button, busy } from "./dom.js";
import { bytes, clock, date, ms, span } from "./format.js";
import { follow } from "./stream.js";
import { cacheStatus, serverTiming } from "./trace.js";

const watchedMost = 200;

// Verdicts: [good | warn | bad, heading]
const verdicts = {
  same: ["good", "The cache has what the database has"],
  older: ["bad", "The cache is older than the database"],
  newer: ["warn", "The cache is newer than what the database answered"],
  "being-written": ["warn", "It is being written"],
  "being-loaded": ["warn", "It is being loaded"],
  "not-cached": ["good", "It is not cached"],
  absent: ["good", "There is no such record"],
  unknown: ["warn", "It cannot be told"],
};

export function key(view, { signal, config, param }) {
  const id = h("input", { id: "key-id", autocomplete: "off", value: param, placeholder: "42" });
  const form = h("form", {
    class: "tools", onsubmit: (e) => {
      e.preventDefault();
      const which = id.value.trim();
      if (!which) return id.focus();
      const hash = "#/key/" + encodeURIComponent(which);
      if (location.hash === hash) inspect();
      else location.hash = hash;
    },
  },
  h("span", { class: "field" }, h("label", { for: "key-id" }, "Id of the todo"),
    h("span", { class: "joined" }, id, h("button", { class: "main" }, "Look"))));

  const fault = h("p", { class: "bad", role: "alert" });
  const said = h("p", { class: "said", role: "status" });
  const result = h("div", { "aria-busy": "false" });
  const actions = h("p", { class: "buttons", hidden: true },
    button("Look again", (e) => busy(e.target, inspect)),
    button("Strong read", (e) => busy(e.target, strong), { title: "GET with Cache-Control: no-cache: the answer has every write that was confirmed before" }),
    button("Drop it from the cache", (e) => busy(e.target, drop), { class: "drop" }));
  const events = h("ol", { class: "events", "aria-label": "Events, the newest first" });
  const watching = h("p", { class: "quiet", role: "status" });
  const watcher = button("Watch it live", () => toggle(), { "aria-pressed": "false" });
  const watchArea = h("section", { hidden: true }, h("h2", null, "Live"), h("p", { class: "buttons" }, watcher), watching, events);

  fill(view, h("h1", { tabindex: -1 }, "Key"),
    h("p", { class: "quiet" }, "Where one record is cached on this node and in Redis, and whether that is what the database has. Looking changes nothing."),
    form, config.ops === "token" ? tokenForm() : null, fault, said, actions, result, watchArea);

  if (config.ops === "none") {
    fill(view, h("h1", { tabindex: -1 }, "Key"),
      h("p", null, "Entries are not shown here: this server shows them to operators only."),
      h("p", null, "Use ", h("code", null, "aside inspect ID --admin URL"), " with the address of its admin listener, or start it with ",
        h("code", null, "--page-token-file FILE"), " and enter the token here."));
    return;
  }

  function tokenForm() {
    const input = h("input", { id: "token", type: "password", autocomplete: "off", value: token.get() });
    return h("form", {
      class: "tools", onsubmit: (e) => {
        e.preventDefault();
        token.set(input.value.trim());
        if (id.value.trim()) inspect();
        else id.focus();
      },
    }, h("span", { class: "field" }, h("label", { for: "token" }, "Operators' token"),
      h("span", { class: "joined" }, input, h("button", null, "Use it"))));
  }

  const tell = (e) => {
    if (e?.name === "AbortError") return;
    fault.textContent = !e ? "" : e.status === 401 || e.status === 403 ? `${e.text} Enter the operators' token.` : e instanceof Problem ? e.text : String(e);
  };

  async function inspect() {
    const which = id.value.trim();
    tell();
    result.setAttribute("aria-busy", "true");
    try {
      show(await opsGet("/ops/inspect?id=" + encodeURIComponent(which), signal));
      actions.hidden = watchArea.hidden = false;
    } catch (e) {
      tell(e);
    }
    result.setAttribute("aria-busy", "false");
  }

  async function strong() {
    tell();
    const from = performance.now();
    try {
      const response = await fetch(todoPath(id.value.trim()), { headers: { "Cache-Control": "no-cache" }, signal });
      const { tier } = cacheStatus(response.headers.get("Cache-Status"));
      const total = serverTiming(response.headers.get("Server-Timing")).total ?? performance.now() - from;
      const body = await response.json();
      if (response.ok) said.textContent = `Strong read: version ${body.version}, from ${tier === "L2" ? "Redis" : "the database"} in ${ms(total)}.`;
      else said.textContent = `Strong read: ${body.detail ?? response.status}`;
    } catch (e) {
      tell(e);
    }
    await inspect();
  }

  async function drop() {
    tell();
    try {
      await opsPost("/ops/drop?id=" + encodeURIComponent(id.value.trim()));
      said.textContent = "Dropped from this node, from Redis, and from the memory of all other nodes.";
    } catch (e) {
      if (e.code !== "cache_unavailable") return tell(e);
      said.textContent = e.text; // dropped on this node alone
    }
    await inspect();
  }

  function show(r) {
    const [level, heading] = verdicts[r.verdict] ?? ["warn", r.verdict];
    fill(result,
      h("div", { class: "verdict " + level, role: "status" }, h("h2", null, heading), h("p", null, r.explain)),
      h("div", { class: "places" },
        place("L1, the memory of this node", r.l1 ? entry(r.l1, r) : h("p", null, "Nothing.")),
        place("L2, Redis", r.l2_error ? h("p", { class: "bad" }, r.l2_error) : r.l2 ? entry(r.l2, r) : h("p", null, r.l2_key ? "Nothing." : "This server has no Redis.")),
        place("Database", primary(r.primary ?? {}))),
      h("p", { class: "quiet" }, "Key ", h("code", null, r.key), r.l2_key ? [", in Redis ", h("code", null, r.l2_key)] : null));
  }

  const place = (title, content) => h("section", { class: "card" }, h("h3", null, title), content);

  const facts = (list) => h("dl", { class: "facts" }, list.filter(([, v]) => v != null && v !== "" && v !== false).map(([k, v]) => [h("dt", null, k), h("dd", null, v)]));

  const who = (node, name) => name || (node ? `node ${node}` : "");

  function entry(e, r) {
    const kinds = {
      value: "a value", negative: "that there is no such record", lease: "a lease: a node loads it",
      fence: "a fence: it is being written", unknown: "something that is not known",
    };
    const same = r.primary?.found && e.kind === "value" && JSON.stringify(e.value) === JSON.stringify(r.primary.record);
    return [
      facts([
        ["Holds", kinds[e.kind] ?? e.kind],
        ["Version", e.kind === "value" ? String(e.version) : ""],
        ["Stored", e.stored && (e.kind === "value" || e.kind === "negative") ? date(e.stored) : ""],
        ["Age", e.age_ms > 0 ? span(e.age_ms) : ""],
        [e.kind === "fence" || e.kind === "lease" ? "Holds for" : "Left", e.left_ms < 0 ? "no end" : span(e.left_ms ?? 0)],
        ["Tags", (e.tags ?? []).join(", ")],
        ["Stale", e.stale ? "yes: past its time" : ""],
        [e.kind === "lease" ? "Loaded by" : "Stored by", who(e.node, e.node_name)],
        ["Schema", e.schema ? String(e.schema) : ""], ["Codec", e.codec ? String(e.codec) : ""], ["Format", e.format ? String(e.format) : ""],
        ["Size", e.size > 0 ? bytes(e.size) : ""],
        ["Of no use", e.error],
      ]),
      e.writers?.length
        ? [h("h4", null, "Writers"), h("ul", null, e.writers.map((w) => h("li", null, who(w.node, w.node_name) || "not known which", `, holds for ${span(w.left_ms)}`)))]
        : null,
      e.carried ? [h("h4", null, "It carries what reads are answered with meanwhile"), entry(e.carried, r)] : null,
      e.kind === "value" && e.value !== undefined ? [h("h4", null, same ? "Value (as in the database)" : "Value"), json(e.value, r.primary?.record)] : null,
    ];
  }

  function primary(p) {
    if (p.error) return h("p", { class: "bad" }, p.error);
    return [
      facts([["Holds", p.found ? "the record" : "no such record"], ["Version", p.found ? String(p.version ?? p.record?.version ?? "–") : ""], ["Asked in", p.took_ms != null ? ms(p.took_ms) : ""]]),
      p.found ? [h("h4", null, "Record"), json(p.record)] : null,
    ];
  }

  // json shows a value, line by line; lines that differ from the other value are marked.
  function json(value, other) {
    const theirs = other === undefined || other === null ? null : new Set(JSON.stringify(other, null, 2).split("\n").map((l) => l.replace(/,$/, "")));
    const lines = (JSON.stringify(value, null, 2) ?? "–").split("\n");
    return h("pre", { tabindex: 0 }, lines.map((l, i) => {
      const differs = theirs && !theirs.has(l.replace(/,$/, ""));
      return [differs ? h("mark", null, l) : l, i < lines.length - 1 ? "\n" : ""];
    }));
  }

  let watch;
  function toggle() {
    if (watch) {
      watch.abort();
      watch = undefined;
      watcher.setAttribute("aria-pressed", "false");
      watcher.textContent = "Watch it live";
      watching.textContent = "Stopped.";
      return;
    }
    watch = new AbortController();
    const mine = watch;
    watcher.setAttribute("aria-pressed", "true");
    watcher.textContent = "Stop watching";
    watching.textContent = "Connecting.";
    follow("/ops/watch?id=" + encodeURIComponent(id.value.trim()), {
      headers: token.headers(), signal: AbortSignal.any([signal, mine.signal]),
      onstate: (state, reason) => {
        if (!mine.signal.aborted) watching.textContent = state === "open" ? "Watching what happens to this key on this node. Read or change it, here or elsewhere." : reason;
      },
      onevent: (name, e) => {
        if (name !== "key") return;
        events.prepend(h("li", { class: e.error ? "bad" : null },
          h("time", null, clock(e.t)), " ", h("b", null, e.kind), " ", e.text.startsWith(e.kind + ": ") ? e.text.slice(e.kind.length + 2) : e.text,
          h("span", { class: "quiet" }, [e.missed ? `${e.missed} before it left out` : "", e.took_ms > 0 ? ms(e.took_ms) : "", e.version ? `version ${e.version}` : "", e.error].filter(Boolean).map((t) => " · " + t))));
        while (events.children.length > watchedMost) events.lastChild.remove();
      },
    });
  }

  if (param) inspect();
}
