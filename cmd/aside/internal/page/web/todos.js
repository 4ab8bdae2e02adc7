// The todo application: a list with search and pages, and a trace for each request.

import { ask, todoPath, token, Problem } from "./api.js";
import { h, fill, button, busy } from "./dom.js";
import { plural } from "./format.js";
import { traceOf, add, panel } from "./trace.js";
import { row } from "./row.js";

const pageSize = 20;
const searchPage = 200; // records for each request of a search
const searchMost = 2000; // records until it asks whether to go on
const shownMost = 100;

// send sends one request of this view, keeps its trace and returns { body, etag, trace }.
// A Problem has the trace too.
export async function send(method, path, { body, etag, strong, merge, signal, shown } = {}) {
  const headers = {};
  if (body) headers["Content-Type"] = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  if (etag) headers["If-Match"] = etag;
  if (strong) headers["Cache-Control"] = "no-cache";
  const from = performance.now();
  const note = (response, problem) => add(traceOf(method, shown ?? path, response, performance.now() - from, { strong, problem }), merge);
  try {
    const response = await ask(method, path, { headers, body: body && JSON.stringify(body), signal });
    const text = await response.text();
    return { body: text ? JSON.parse(text) : null, etag: response.headers.get("ETag") ?? "", trace: note(response) };
  } catch (e) {
    if (e instanceof Problem) e.trace = note(e.response, e);
    throw e;
  }
}

export function todos(view, { signal, config }) {
  let cursors = [""]; // of the pages up to this one
  let next = "";
  let searching; // an AbortController
  let opened; // the id whose row is open

  const status = h("p", { class: "quiet todos-status", role: "status" });
  const list = h("ul", { class: "list", "aria-label": "Todos" });
  const previous = button("Previous", () => turn(-1));
  const following = button("Next", () => turn(1));
  const place = h("span", { class: "quiet" });
  const pager = h("nav", { class: "pager", "aria-label": "Pages" }, previous, place, following);
  const more = h("p", { hidden: true });
  const query = h("input", { type: "search", id: "search", autocomplete: "off", placeholder: "Words of the name or description" });
  const id = h("input", { id: "open-id", autocomplete: "off", size: 12, placeholder: "42" });

  const context = {
    signal,
    canDrop: () => config.ops === "open" || config.ops === "token" && token.get() !== "",
    open: (which) => {
      if (opened && opened !== which) opened.close();
      opened = which;
    },
    removed: (element) => {
      const neighbour = element.nextElementSibling ?? element.previousElementSibling;
      element.remove();
      (neighbour?.querySelector(".name") ?? query).focus();
    },
  };
  const show = (records, place = "append") => records.forEach((t) => list[place](row(t, context).element));

  const fail = (e) => {
    if (e.name === "AbortError") return;
    status.textContent = e instanceof Problem ? e.text : String(e);
    status.classList.add("bad");
  };
  const say = (text) => {
    status.classList.remove("bad");
    status.textContent = text;
  };

  async function load() {
    searching?.abort();
    pager.hidden = false;
    more.hidden = true;
    const cursor = cursors.at(-1);
    try {
      const { body } = await send("GET", `/todos?limit=${pageSize}` + (cursor ? "&cursor=" + encodeURIComponent(cursor) : ""), { signal, shown: "/todos" });
      fill(list);
      opened = undefined;
      show(body.todos);
      next = body.next_cursor ?? "";
      const failed = (body.failed ?? []).length;
      say(body.todos.length || failed ? "" : "There are no todos yet. Create one.");
      if (failed) say(`${plural(failed, "todo")} of this page cannot be shown.`);
    } catch (e) {
      fail(e);
    }
    place.textContent = "Page " + cursors.length;
    previous.disabled = cursors.length < 2;
    following.disabled = !next;
  }

  async function turn(by) {
    if (by > 0 && next) cursors.push(next);
    else if (by < 0 && cursors.length > 1) cursors.pop();
    await load();
    (by > 0 ? (following.disabled ? previous : following) : (previous.disabled ? following : previous)).focus();
  }

  // The API has no search of its own, so this reads page after page and picks.
  async function search(words, from = "", found = 0, looked = 0) {
    searching?.abort();
    const mine = searching = new AbortController();
    const stop = AbortSignal.any([signal, mine.signal]);
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    if (!from) {
      fill(list);
      opened = undefined;
    }
    pager.hidden = true;
    more.hidden = true;
    let cursor = from;
    const until = looked + searchMost;
    try {
      do {
        const { body } = await send("GET", `/todos?limit=${searchPage}` + (cursor ? "&cursor=" + encodeURIComponent(cursor) : ""),
          { signal: stop, shown: "/todos", merge: "search" });
        if (stop.aborted) return;
        looked += body.todos.length;
        const hits = body.todos.filter((t) => {
          const text = (t.id + " " + t.name + " " + (t.description ?? "")).toLowerCase();
          return wanted.every((w) => text.includes(w));
        });
        show(hits.slice(0, Math.max(0, shownMost - found)));
        found += hits.length;
        cursor = body.next_cursor ?? "";
        say(`${plural(found, "match", "matches")} among ${plural(looked, "todo")}${cursor ? " so far" : ""}.`);
      } while (cursor && looked < until && found < shownMost);
      if (found > shownMost) say(`The first ${shownMost} matches among ${plural(looked, "todo")}. Search for more words.`);
      else if (cursor) {
        more.hidden = false;
        fill(more, button("Search on", () => search(words, cursor, found, looked)));
      }
    } catch (e) {
      if (!stop.aborted) fail(e);
    }
  }

  let typing;
  const look = () => {
    clearTimeout(typing);
    const words = query.value.trim();
    return words ? search(words) : load();
  };
  query.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(look, 300);
  });

  // Opening an id shows it at the top, whatever the list has.
  async function openID(which) {
    const there = [...list.children].find((e) => e.dataset.id === which);
    if (there) {
      there.row.open();
      there.querySelector(".name").focus();
      there.scrollIntoView({ block: "nearest" });
      return;
    }
    try {
      const { body, etag, trace } = await send("GET", todoPath(which), { signal });
      const one = row(body, context);
      list.prepend(one.element);
      one.take(body, etag, trace);
      one.open({ read: false });
      one.element.querySelector(".name").focus();
      say("");
    } catch (e) {
      fail(e);
      if (e.status === 404) say(`There is no todo ${which}.`);
    }
  }

  const name = h("input", { id: "new-name", required: true, autocomplete: "off" });
  const description = h("textarea", { id: "new-description", rows: 2 });
  const newID = h("input", { id: "new-id", autocomplete: "off", size: 12 });
  const fault = h("p", { class: "bad", role: "alert" });
  const create = h("form", {
    class: "card create", hidden: true, id: "create", "aria-label": "New todo",
    onkeydown: (e) => e.key === "Escape" && toggle(),
    onsubmit: (e) => {
      e.preventDefault();
      busy(e.submitter ?? create, async () => {
        const draft = { name: name.value };
        if (description.value) draft.description = description.value;
        if (newID.value) draft.id = newID.value;
        fault.textContent = "";
        try {
          const { body, etag, trace } = await send("POST", "/todos", { body: draft, signal });
          const one = row(body, context);
          one.take(body, etag, trace);
          list.prepend(one.element);
          create.reset();
          toggle();
          say(`Created as ${body.id}.`);
          one.element.querySelector(".name").focus();
        } catch (e) {
          fault.textContent = e instanceof Problem ? e.text : String(e);
        }
      });
    },
  },
  h("label", { for: "new-name" }, "Name"), name,
  h("label", { for: "new-description" }, "Description (optional)"), description,
  h("label", { for: "new-id" }, "Id (optional)"), newID,
  fault,
  h("p", { class: "buttons" }, h("button", { class: "main" }, "Create"), button("Cancel", () => toggle())));
  const toggle = () => {
    create.hidden = !create.hidden;
    opener.setAttribute("aria-expanded", String(!create.hidden));
    (create.hidden ? opener : name).focus();
  };
  const opener = button("New todo", toggle, { class: "main", "aria-expanded": "false", "aria-controls": "create" });

  fill(view,
    h("h1", { tabindex: -1 }, "Todos"),
    h("div", { class: "split" },
      h("div", null,
        h("div", { class: "tools" },
          h("form", { role: "search", class: "field grow", onsubmit: (e) => { e.preventDefault(); look(); } },
            h("label", { for: "search" }, "Search"), query),
          h("form", { class: "field", onsubmit: (e) => { e.preventDefault(); if (id.value.trim()) openID(id.value.trim()); } },
            h("label", { for: "open-id" }, "Open by id"),
            h("span", { class: "joined" }, id, h("button", null, "Open"))),
          opener),
        create, status, list, more, pager),
      panel(signal)));
  load();
  signal.addEventListener("abort", () => {
    clearTimeout(typing);
    searching?.abort();
  }, { once: true });
}
