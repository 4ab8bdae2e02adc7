"""Reads of todos, and a few updates: the load of `aside bench --update 5%`.

    locust -f locustfile.py --headless --host http://127.0.0.1:8000 \
        --users 20 --spawn-rate 20 --run-time 30s --csv run
"""

import random
from urllib.parse import quote

import requests
from locust import HttpUser, constant, events, task

ids = []


@events.test_start.add_listener
def find_ids(environment, **_):
    """Asks the server which ids exist, at most 10 pages."""
    ids.clear()
    page = {}
    for _ in range(10):
        query = {"limit": 200}
        if page:
            query["cursor"] = page["next_cursor"]
        page = requests.get(environment.host + "/todos", params=query, timeout=10).json()
        ids.extend(todo["id"] for todo in page["todos"])
        if "next_cursor" not in page:
            break


class Todos(HttpUser):
    # No pause: the next request is sent when the response is there, as in aside bench
    # without --rate. To model people, use between(1, 3).
    wait_time = constant(0)

    def url(self):
        return "/todos/" + quote(random.choice(ids), safe="")

    @task(19)
    def read(self):
        self.client.get(self.url(), name="/todos/[id]")

    @task(1)
    def update(self):
        name = f"Changed by locust, {random.random()}"
        self.client.patch(self.url(), json={"name": name}, name="/todos/[id]")

