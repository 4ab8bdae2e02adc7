// Reads of todos, and a few updates, at a fixed rate: the load of
// `aside bench --rate 500 --update 5%`.
//
//     k6 run --env HOST=http://127.0.0.1:8000 k6.js
import http from 'k6/http';
import { check } from 'k6';
import { Rate } from 'k6/metrics';

const host = __ENV.HOST || 'http://127.0.0.1:8000';
const hits = new Rate('cache_hits');

export const options = {
  scenarios: {
    open: {
      // The iterations start at a fixed rate, however slow the server is.
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 500),
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: 50,
      maxVUs: 200,
    },
  },
  thresholds: {
    http_req_failed: ['rate<0.001'],
    dropped_iterations: ['count<1'], // otherwise the rate was not reached
  },
};

// Asks the server which ids exist, at most 10 pages.
export function setup() {
  const ids = [];
  let url = `${host}/todos?limit=200`;
  for (let i = 0; i < 10; i++) {
    const page = http.get(url).json();
    page.todos.forEach((todo) => ids.push(todo.id));
    if (!page.next_cursor) break;
    url = `${host}/todos?limit=200&cursor=${encodeURIComponent(page.next_cursor)}`;
  }
  return ids;
}

export default function (ids) {
  const id = ids[Math.floor(Math.random() * ids.length)];
  const url = `${host}/todos/${encodeURIComponent(id)}`;
  const params = { tags: { name: '/todos/[id]' } };
  if (Math.random() < 0.05) {
    const body = JSON.stringify({ name: `Changed by k6, ${Math.random()}` });
    params.headers = { 'Content-Type': 'application/json' };
    check(http.patch(url, body, params), { 'status is 200': (r) => r.status === 200 });
    return;
  }
  const r = http.get(url, params);
  check(r, { 'status is 200': (r) => r.status === 200 });
  hits.add(/; hit/.test(r.headers['Cache-Status'] || ''));
}
