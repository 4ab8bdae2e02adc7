#!/usr/bin/env bash
# What:  github.com/go-redis/cache/v9 v9.0.0, Item.TTL of half a second.
# Guess: the entry lives for half a second, or is refused.
# Seen:  2026-11-28, redis-server 7.0.15, go-redis 9.23.0: it lives for one hour. One line in
#        the log says "too short TTL". A TTL of one second is one second.
# Here:  a TTL is what it says, less the jitter. Whoever comes from go-redis/cache with
#        short TTLs gets them now, and may see more loads than before.
set -euo pipefail
cd "$(dirname "$0")/lib"
lib=$PWD
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
cd "$tmp"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
)

func main() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1]})
	c := cache.New(&cache.Options{Redis: client})
	for key, ttl := range map[string]time.Duration{"half": 500 * time.Millisecond, "one": time.Second} {
		if err := c.Set(&cache.Item{Key: key, Value: "value", TTL: ttl}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	client.Close()
}
GO
export GOWORK=off GOFLAGS=-mod=mod
{ go mod init client && go mod edit -require=github.com/go-redis/cache/v9@v9.0.0 -require=github.com/redis/go-redis/v9@v9.23.0 &&
	go build -o client .; } >log 2>&1 || {
	echo "not run: go-redis/cache cannot be built: $(tail -n 1 log)"
	exit 75
}
cd "$lib"
python3 -B - "$tmp/client" <<'PYTHON'
import subprocess
import sys

from ownredis import Server, expect

with Server() as server:
    subprocess.run([sys.argv[1], str(server.port)], check=True)
    expect("milliseconds that TTL 500ms has left", int(server.admin.do("PTTL", "half")), lambda n: n > 3_500_000)
    expect("milliseconds that TTL 1s has left", int(server.admin.do("PTTL", "one")), lambda n: 0 < n <= 1000)
PYTHON
