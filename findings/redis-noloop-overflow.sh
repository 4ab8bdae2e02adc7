#!/usr/bin/env bash
# What:  Redis, CLIENT TRACKING with NOLOOP, more keys read than tracking-table-max-keys.
# Guess: a key that falls out of the tracking table is told to every client that read it.
# Seen:  2026-11-28, redis-server 7.0.15 (Debian 12): the client whose own read pushes a key
#        out is not told. Of 90 keys that fell out, it heard of 1; without NOLOOP, of all 90.
#        Nobody tells it of later changes of those keys, so a cache on it stays old.
# Here:  redisl2 tracks without NOLOOP.
set -euo pipefail
cd "$(dirname "$0")/lib"
exec python3 -B - <<'PYTHON'
import time
from ownredis import Client, Server, expect

with Server("--tracking-table-max-keys", "10") as server:
    for options in [], ["NOLOOP"]:
        for i in range(100):
            server.admin.do("SET", f"key{i}", "value")
        reader = Client(server.port)
        reader.do("HELLO", 3)
        reader.do("CLIENT", "TRACKING", "ON", *options)
        for i in range(100):
            reader.do("GET", f"key{i}")
        time.sleep(1)  # the server also looks at the table ten times a second
        reader.do("PING")
        name = " ".join(["CLIENT TRACKING ON", *options])
        expect(f"{name}: keys left in the table", int(server.info("tracking_total_keys")), lambda n: n == 10)
        expect(f"{name}: keys that the reader was told of", len(reader.pushed), lambda n: n < 10 if options else n == 90)
        # A key that fell out, and of which the reader was not told, changes.
        told = {key for push in reader.pushed for key in push[1]}
        lost = [f"key{i}" for i in range(100) if f"key{i}" not in told]
        reader.pushed.clear()
        for key in lost:
            server.admin.do("SET", key, "newer")
        reader.do("PING")
        expect(f"{name}: not told, then changed, and still not told", len(lost) - len(reader.pushed), lambda n: n > 80 if options else n == 0)
        reader.close()
        server.admin.do("FLUSHALL")
PYTHON
