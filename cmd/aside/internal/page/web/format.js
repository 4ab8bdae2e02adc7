// Numbers and times as text.

// ms is a duration in milliseconds, with two digits.
export function ms(v) {
  if (v == null || Number.isNaN(v)) return "–";
  if (v === 0) return "0 ms";
  if (v < 0.01) return "< 0.01 ms";
  if (v < 1) return v.toFixed(2) + " ms";
  if (v < 10) return +v.toFixed(1) + " ms";
  if (v < 1000) return Math.round(v) + " ms";
  if (v < 60_000) return +(v / 1000).toFixed(1) + " s";
  return span(v);
}

// span is a longer duration: 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h.
export function span(v) {
  const s = Math.round(v / 1000);
  if (v < 950) return ms(v);
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min" + (s % 60 ? " " + (s % 60) + " s" : "");
  const min = Math.floor(s / 60);
  if (min < 1440) return Math.floor(min / 60) + " h" + (min % 60 ? " " + (min % 60) + " min" : "");
  const hours = Math.floor(min / 60);
  return Math.floor(hours / 24) + " d" + (hours % 24 ? " " + (hours % 24) + " h" : "");
}

export function count(v) {
  if (v == null || Number.isNaN(v)) return "–";
  if (v >= 1e6) return +(v / 1e6).toPrecision(3) + " M";
  if (v >= 1e5) return Math.round(v / 1e3) + " k";
  if (Number.isInteger(v) || v >= 100) return Math.round(v).toLocaleString("en");
  return String(+v.toPrecision(3));
}

export function bytes(v) {
  if (v == null) return "–";
  if (v < 1024) return v + " B";
  if (v < 1 << 20) return +(v / 1024).toPrecision(3) + " KiB";
  return +(v / (1 << 20)).toPrecision(3) + " MiB";
}

export const percent = (v) => v == null || Number.isNaN(v) ? "–" : (v > 0.995 && v < 1 ? "99.9" : Math.round(100 * v)) + " %";

export const plural = (n, one, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dateFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export const clock = (t) => clockFormat.format(t);

export function date(text) {
  const t = new Date(text);
  return Number.isNaN(t.getTime()) || t.getFullYear() < 1900 ? "–" : dateFormat.format(t);
}
