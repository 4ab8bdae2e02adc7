// Requests to this server.

// Problem is an error answer of the server (RFC 9457), or no answer (status 0).
export class Problem extends Error {
  constructor(status, detail, more = {}) {
    super(detail);
    this.status = status;
    this.detail = detail;
    this.code = more.code ?? "";
    this.faults = more.errors ?? [];
    this.requestID = more.request_id ?? "";
  }

  // text is the detail with the faults of single fields.
  get text() {
    const faults = this.faults.map((f) => `${f.location.replace(/^body\./, "")} ${f.detail}`);
    return faults.length ? faults.join("; ") : this.detail;
  }
}

export async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch { /* not JSON: the status says enough */ }
  return new Problem(response.status, body.detail || body.title || `The server answered with status ${response.status}.`, body);
}

// ask sends a request and returns the response, or throws a Problem.
export async function ask(method, path, { headers, body, signal } = {}) {
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal });
  } catch (e) {
    if (signal?.aborted) throw e;
    throw new Problem(0, "The server cannot be reached.");
  }
  if (!response.ok) {
    const problem = await problemOf(response);
    problem.response = response;
    throw problem;
  }
  return response;
}

export async function get(path, options) {
  return (await ask("GET", path, options)).json();
}

// The token of the operators' calls is kept until the tab is closed.
const tokenName = "aside-token";
export const token = {
  get: () => sessionStorage.getItem(tokenName) ?? "",
  set: (v) => v ? sessionStorage.setItem(tokenName, v) : sessionStorage.removeItem(tokenName),
  headers: () => token.get() ? { Authorization: "Bearer " + token.get() } : {},
};

export const opsGet = (path, signal) => get(path, { headers: token.headers(), signal });
export const opsPost = (path) => ask("POST", path, { headers: token.headers() });

// todoPath is the path of a todo. A browser takes a dot for a step in the path, even when it
// is encoded.
export function todoPath(id) {
  if (id === "." || id === "..") throw new Problem(0, "A browser cannot ask for an id of only dots. Use curl --path-as-is.");
  return "/todos/" + encodeURIComponent(id);
}
