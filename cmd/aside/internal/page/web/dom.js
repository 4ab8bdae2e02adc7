// Elements are made from data here, and only here. A string becomes text, never HTML.

// h makes an element. Properties that begin with "on" are listeners; true and false add and
// leave out an attribute; null and undefined are ignored.
export function h(tag, props, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (name === "value") e.value = value;
    else if (name === "checked") e.checked = value;
    else e.setAttribute(name, value === true ? "" : value);
  }
  put(e, children);
  return e;
}

function put(e, children) {
  for (const c of children.flat(9)) {
    if (c != null && c !== false) e.append(c);
  }
}

// fill replaces what is in an element.
export function fill(e, ...children) {
  e.replaceChildren();
  put(e, children);
  return e;
}

// button makes a button of a form's look that submits nothing.
export const button = (text, onclick, props) => h("button", { type: "button", onclick, ...props }, text);

// busy disables a button while its action runs, and keeps the focus where it was.
export async function busy(b, action) {
  if (b.getAttribute("aria-disabled") === "true") return;
  b.setAttribute("aria-disabled", "true");
  try {
    return await action();
  } finally {
    b.removeAttribute("aria-disabled");
  }
}
