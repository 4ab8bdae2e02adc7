#!/usr/bin/env bash
# What:  Redis, CLIENT TRACKING, a client that reads and closes its connection.
# Guess: what the tracking table remembers of a connection goes when that closes.
# Seen:  2026-11-28, redis-server 7.0.15 (Debian 12): it stays, one item for each key and
#        each connection that ever read it, until the key changes. Eight clients that read
#        the same 100 keys and left: 800 items, and none after the keys were changed.
#        Known as https://github.com/redis/redis/issues/13867.
# Here:  docs/reference/bounds.md counts a connection once more for each time that it connects again.
set -euo pipefail
cd "$(dirname "$0")/lib"
exec python3 -B - <<'PYTHON'
import time
from ownredis import Client, Server, expect

with Server() as server:
    for i in range(100):
        server.admin.do("SET", f"key{i}", "value")
    for _ in range(8):
        reader = Client(server.port)
        reader.do("HELLO", 3)
        reader.do("CLIENT", "TRACKING", "ON")
        for i in range(100):
            reader.do("GET", f"key{i}")
        reader.close()
    time.sleep(2)
    expect("connections that track", int(server.info("tracking_clients")), lambda n: n == 0)
    expect("items in the table", int(server.info("tracking_total_items")), lambda n: n == 800)
    for i in range(100):
        server.admin.do("SET", f"key{i}", "newer")
    expect("items after every key was changed", int(server.info("tracking_total_items")), lambda n: n == 0)
PYTHON
