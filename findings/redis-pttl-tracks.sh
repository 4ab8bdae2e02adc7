#!/usr/bin/env bash
# What:  Redis, CLIENT TRACKING ON, a Lua script of several keys that asks PTTL of one.
# Guess: a client is remembered for keys that it reads. PTTL reads no value, so nothing is
#        remembered; if anything, the key that was asked for.
# Seen:  2026-11-28, redis-server 7.0.15 (Debian 12): PTTL of one key makes the server remember
#        all three keys of the script for that client. GETEX of the same key does not.
# Here:  redisl2's scripts read by GETEX, and release.lua does without PTTL where it publishes:
#        else a node is told of its own write and drops the record from L1.
set -euo pipefail
cd "$(dirname "$0")/lib"
exec python3 -B - <<'PYTHON'
from ownredis import Client, Server, expect

with Server() as server:
    for i in range(3):
        server.admin.do("SET", f"key{i}", "value", "PX", 600000)
    reader = Client(server.port)
    reader.do("HELLO", 3)
    reader.do("CLIENT", "TRACKING", "ON")
    for command, items in (("GETEX", 0), ("PTTL", 3)):
        reader.do("EVAL", f"return redis.call('{command}', KEYS[1])", 3, "key0", "key1", "key2")
        expect(f"items in the table after {command} of one key", int(server.info("tracking_total_items")), lambda n: n == items)
    reader.close()
PYTHON
