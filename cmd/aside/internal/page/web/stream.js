// Server-sent events over fetch. Unlike EventSource it can send a token, it can say why a
// server refuses, and it ends with a signal.

import { problemOf } from "./api.js";

const again = 2000; // ms until the next attempt

// follow calls onevent(name, data) for each event, and connects again when the stream ends,
// until the signal is aborted. onstate("open" | "lost" | "refused", reason) tells how it is.
export async function follow(url, { headers, signal, onevent, onstate = () => {} }) {
  while (!signal.aborted) {
    try {
      const response = await fetch(url, { headers, signal, cache: "no-store" });
      if (!response.ok) {
        const problem = await problemOf(response);
        onstate("refused", problem.detail);
        if (response.status !== 503) return;
      } else {
        onstate("open", "");
        await read(response.body, onevent);
        if (!signal.aborted) onstate("lost", "The server ended the connection.");
      }
    } catch (e) {
      if (signal.aborted) return;
      onstate("lost", "The server cannot be reached.");
    }
    await pause(again, signal);
  }
}

async function read(body, onevent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const text of events) {
      let name = "message", data = "";
      for (const line of text.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data) onevent(name, JSON.parse(data));
    }
  }
}

// lines calls online for each line of a JSON stream.
export async function lines(body, online) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    const all = (rest + (value ?? "")).split("\n");
    rest = done ? "" : all.pop();
    for (const line of all) {
      if (line.trim()) online(JSON.parse(line));
    }
    if (done) return;
  }
}

export function pause(time, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}
