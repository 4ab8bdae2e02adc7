// One todo in the list: closed, open, edited, or in conflict with somebody else's change.

import { Problem, opsPost, todoPath } from "./api.js";
import { h, fill, button, busy } from "./dom.js";
import { date } from "./format.js";
import { chip } from "./trace.js";
import { send } from "./todos.js";

const atOnce = 20; // requests of a burst

let serial = 0, bursts = 0;

// row makes the row of a record. The list shows it before anybody has read the record by its
// id, so it has no ETag at first.
export function row(record, { signal, canDrop, open: opened, removed }) {
  let todo = record;
  let etag = "";
  let mode = "closed"; // closed, open, edit, delete, conflict
  const ids = "todo-" + ++serial;

  const element = h("li", { class: "todo" });
  element.dataset.id = record.id;
  const box = h("input", { type: "checkbox", onchange: () => complete() });
  const name = h("button", { type: "button", class: "name", "aria-expanded": "false", "aria-controls": ids, onclick: () => (mode === "closed" ? open() : close()) });
  const answer = h("span", { class: "answer" });
  const body = h("div", { class: "body", id: ids, hidden: true });
  const fault = h("p", { class: "bad", role: "alert" });
  const sentence = h("p", { class: "quiet narrow" }); // beside the list is the same, if there is space
  const description = h("p", { class: "description" });
  const facts = h("dl", { class: "facts" });
  let built = ""; // the mode that the body shows
  element.append(h("div", { class: "head" }, box, name, answer), body);

  const self = { element, take, open, close };
  element.row = self;

  function head() {
    box.checked = todo.completed;
    box.setAttribute("aria-label", `Completed: ${todo.name}`);
    name.textContent = todo.name || "(without a name)";
    element.classList.toggle("done", todo.completed);
    name.setAttribute("aria-expanded", String(mode !== "closed"));
    body.hidden = mode === "closed";
  }

  // take shows a record that the server has sent.
  function take(t, tag, trace) {
    todo = t;
    etag = tag;
    if (trace) answered(trace);
    render();
  }

  function answered(trace) {
    fill(answer, chip(trace));
    sentence.textContent = trace.text;
  }

  // render shows the mode. What stays is not made anew, so that it keeps the focus.
  function render(focus) {
    head();
    if (mode !== "closed" && mode !== built) {
      fill(body, { open: shown, edit: edited, delete: doomed }[mode](), fault);
      built = mode;
    }
    if (mode === "open") update();
    if (focus) element.querySelector(focus)?.focus();
  }

  const say = (e) => {
    if (e?.name === "AbortError") return;
    fault.textContent = !e ? "" : e instanceof Problem ? e.text : String(e);
    if (e?.trace) answered(e.trace);
  };

  async function read(strong) {
    say();
    try {
      const r = await send("GET", todoPath(record.id), { strong, signal });
      // What is being edited is still based on what was shown.
      if (mode === "edit" || mode === "conflict") answered(r.trace);
      else take(r.body, r.etag, r.trace);
      return true;
    } catch (e) {
      say(e);
      return false;
    }
  }

  function open({ read: also = true } = {}) {
    opened(self);
    if (mode === "closed") mode = "open";
    render();
    if (also) return read();
  }

  function close() {
    mode = "closed";
    head();
  }

  function update() {
    description.textContent = todo.description ?? "";
    description.hidden = !todo.description;
    fill(facts,
      h("dt", null, "Id"), h("dd", null, h("code", null, todo.id)),
      h("dt", null, "Version"), h("dd", null, String(todo.version)),
      todo.updated_at ? [h("dt", null, "Changed"), h("dd", null, date(todo.updated_at))] : null,
      h("dt", null, "ETag"), h("dd", null, h("code", null, etag || "–")));
  }

  function shown() {
    return [
      sentence, description, facts,
      h("p", { class: "buttons" },
        button("Read again", (e) => busy(e.target, () => read()), { class: "read" }),
        button("Strong read", (e) => busy(e.target, () => read(true)), { title: "Past the memory of this server: the answer has every write that was confirmed before" }),
        canDrop()
          ? button(`Forget, then read ${atOnce} times at once`, (e) => busy(e.target, burst), { title: "However many ask at once, the record is loaded once" })
          : null,
        button("Edit", () => { mode = "edit"; render("input.edit-name"); }, { class: "edit" }),
        button("Delete", () => { mode = "delete"; render(".confirm"); }),
        h("a", { class: "button", href: "#/key/" + encodeURIComponent(todo.id) }, "Where is it cached?")),
    ];
  }

  // burst drops the record from the cache, and then reads it many times at once. Each read has
  // a URL of its own for the browser, which would otherwise wait for the first.
  async function burst() {
    say();
    try {
      await opsPost("/ops/drop?id=" + encodeURIComponent(record.id));
    } catch (e) {
      say(e);
      if (e.code !== "cache_unavailable") return; // else it is dropped on this node
    }
    const merge = "burst " + ++bursts;
    const results = await Promise.allSettled(Array.from({ length: atOnce }, (_, i) =>
      send("GET", todoPath(record.id) + "?n=" + i, { signal, shown: todoPath(record.id), merge })));
    const good = results.filter((r) => r.status === "fulfilled").map((r) => r.value);
    const bad = results.find((r) => r.status === "rejected");
    if (bad) say(bad.reason);
    if (good.length) take(good.at(-1).body, good.at(-1).etag, good.at(-1).trace);
  }

  // change sends a change, and shows a conflict if the record is not the one that is shown.
  async function change(patch, { again } = {}) {
    say();
    try {
      if (!etag || again) { // the list has no ETags: fetch it, and see whether it is still this record
        const r = await send("GET", todoPath(record.id), { strong: again, signal });
        if (!again && r.body.version !== todo.version) {
          return conflict(patch, r.body, r.etag, "The list that you see is older than that.");
        }
        etag = r.etag;
      }
      const r = await send("PATCH", todoPath(record.id), { body: patch, etag, signal });
      if (mode !== "closed") mode = "open";
      take(r.body, r.etag, r.trace);
      return true;
    } catch (e) {
      if (e.status === 412) return clash(patch, e);
      if (e.status === 404) return gone(patch, e);
      say(e);
      head();
      if (mode === "closed" && e instanceof Problem) {
        mode = "open";
        render();
      }
      return false;
    }
  }

  // clash shows the conflict that a 412 told of, with the record that is stored now.
  async function clash(patch, e) {
    if (e.trace) answered(e.trace);
    try {
      const now = await send("GET", todoPath(record.id), { strong: true, signal });
      return conflict(patch, now.body, now.etag, "The server refused yours (412), so nothing was overwritten.");
    } catch (e2) {
      if (e2.status === 404) return gone(patch, e2);
      say(e2);
      return false;
    }
  }

  const complete = () => busy(box, () => change({ completed: box.checked }));

  function edited() {
    const newName = h("input", { class: "edit-name", id: ids + "-name", value: todo.name, required: true, autocomplete: "off" });
    const text = h("textarea", { id: ids + "-text", rows: 3, value: todo.description ?? "" });
    const cancel = () => { mode = "open"; say(); render(".edit"); };
    return h("form", {
      class: "editor", "aria-label": "Edit",
      onkeydown: (e) => e.key === "Escape" && cancel(),
      onsubmit: (e) => {
        e.preventDefault();
        const patch = {};
        if (newName.value !== todo.name) patch.name = newName.value;
        if (text.value !== (todo.description ?? "")) patch.description = text.value || null;
        if (Object.keys(patch).length === 0) return cancel();
        busy(e.submitter ?? newName, async () => (await change(patch)) && element.querySelector("button.edit")?.focus());
      },
    },
    h("label", { for: ids + "-name" }, "Name"), newName,
    h("label", { for: ids + "-text" }, "Description"), text,
    h("p", { class: "buttons" }, h("button", { class: "main" }, "Save"), button("Cancel", cancel)));
  }

  function doomed() {
    return h("p", { class: "buttons ask" },
      h("span", null, "Delete this todo for good?"),
      button("Delete", (e) => busy(e.target, remove), { class: "danger confirm" }),
      button("Keep", () => { mode = "open"; render("button.edit"); }));
  }

  async function remove() {
    say();
    try {
      await send("DELETE", todoPath(record.id), { etag, signal });
      removed(element);
    } catch (e) {
      if (e.status === 412) return clash(null, e);
      if (e.status === 404) return removed(element);
      say(e);
    }
  }

  // conflict shows both versions. patch is what this user wanted, null to delete.
  function conflict(patch, now, tag, note) {
    opened(self);
    mode = built = "conflict";
    const mine = patch ? { ...todo, ...patch } : null;
    const before = todo;
    const fields = [["name", "Name"], ["description", "Description"], ["completed", "Completed"]];
    const text = (t, f) => f === "completed" ? (t.completed ? "yes" : "no") : t[f] || "–";
    const side = (title, t, note) => h("div", null,
      h("h3", null, title),
      t
        ? h("dl", { class: "facts" }, fields.map(([f, label]) => {
          const differs = text(t, f) !== text(before, f);
          return [h("dt", null, label), h("dd", { class: differs ? "differs" : null }, differs ? h("mark", null, text(t, f)) : text(t, f))];
        }))
        : h("p", null, "Delete it."),
      h("p", { class: "quiet" }, note));
    const settle = (t, next = "open") => {
      mode = next;
      take(t, tag);
    };
    fill(body,
      h("div", { class: "conflict", role: "alert" },
        h("h2", null, "Somebody else changed this todo first"),
        h("p", null, `Your change was based on version ${before.version}. ${note}`),
        h("div", { class: "versions" },
          side("Yours", mine, `based on version ${before.version}`),
          side("Stored now", now, `version ${now.version}` + (now.updated_at ? `, changed ${date(now.updated_at)}` : "")))),
      h("p", { class: "buttons" },
        button(patch ? "Save mine over it" : "Delete it anyway", (e) => busy(e.target, async () => {
          settle(now, patch ? "open" : "delete");
          if (patch) await change(patch);
          else await remove();
          element.querySelector("button.edit")?.focus();
        }), { class: "mine" }),
        button("Keep the stored one", () => {
          settle(now);
          element.querySelector("button.edit")?.focus();
        }, { class: "theirs" })),
      fault);
    head();
    body.querySelector("button.theirs").focus();
    return false;
  }

  // gone tells that the record was deleted before this user's change.
  function gone(patch, e) {
    opened(self);
    mode = built = "conflict";
    if (e.trace) answered(e.trace);
    const mine = { id: todo.id, name: patch?.name ?? todo.name, completed: patch?.completed ?? todo.completed };
    const text = patch && "description" in patch ? patch.description : todo.description;
    if (text) mine.description = text;
    fill(body,
      h("div", { class: "conflict", role: "alert" },
        h("h2", null, "Somebody else deleted this todo"),
        h("p", null, "Your change was not saved.")),
      h("p", { class: "buttons" },
        button("Create it again with my change", (e) => busy(e.target, async () => {
          try {
            const r = await send("POST", "/todos", { body: mine, signal });
            mode = "open";
            take(r.body, r.etag, r.trace);
          } catch (e) {
            say(e);
          }
        }), { class: "mine" }),
        button("Remove it from the list", () => removed(element))),
      fault);
    head();
    body.querySelector("button").focus();
    return false;
  }

  head();
  return self;
}
