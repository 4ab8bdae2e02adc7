// The frame of the page: which view is shown, and what the server offers.

import { get } from "./api.js";
import { h, fill } from "./dom.js";
import { pause } from "./stream.js";
import { todos } from "./todos.js";
import { dashboard } from "./dashboard.js";
import { key } from "./key.js";
import { story } from "./story.js";

const views = { todos: ["Todos", todos], dashboard: ["Dashboard", dashboard], key: ["Key", key], story: ["Story", story] };

const view = document.getElementById("view");
const banner = document.getElementById("banner");
let leave; // an AbortController: ends what the view before has begun

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  return views[name] ? [name, unescape(rest.join("/"))] : ["todos", ""];
}

function unescape(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function show(config, byUser) {
  leave?.abort();
  leave = new AbortController();
  const [name, param] = route();
  const [title, build] = views[name];
  for (const a of document.querySelectorAll("nav[aria-label=Views] a")) {
    if (a.hash === "#/" + name) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  document.title = `${title} · aside`;
  view.className = name;
  build(view, { signal: leave.signal, config, param });
  if (byUser) {
    scrollTo(0, 0);
    view.querySelector("h1")?.focus({ preventScroll: true });
  }
}

// config asks until the server answers: while it waits for its database, it has no page.
async function loadConfig() {
  for (;;) {
    try {
      const config = await get("/page/config");
      banner.hidden = true;
      return config;
    } catch (e) {
      banner.textContent = e.status === 404 ? "This server is not ready yet: it waits for its database." : e.detail;
      banner.hidden = false;
      await pause(2000);
    }
  }
}

document.querySelector(".skip").addEventListener("click", (e) => {
  e.preventDefault(); // the hash is the view
  view.querySelector("h1")?.focus();
});

const config = await loadConfig();
fill(document.getElementById("links"),
  config.docs ? h("a", { href: "/docs" }, "API") : null,
  config.metrics ? h("a", { href: "/metrics" }, "Metrics") : null,
  h("span", { class: "quiet", title: `Store: ${config.store}. Cache: ${config.cache}.` }, `${config.node} · ${config.version}`));
addEventListener("hashchange", () => show(config, true));
show(config, false);
document.documentElement.dataset.ready = String(Math.round(performance.now()));
