#!/usr/bin/env bash
# What:  github.com/eko/gocache v4, the Redis store (store/redis/v4 v4.2.11), Clear.
# Guess: Clear removes what the cache has stored, or at most the selected database.
# Seen:  2026-11-28, redis-server 7.0.15, go-redis 9.23.0: it sends FLUSHALL. Keys of other
#        programs are gone, in the other databases too.
# Here:  Cache.Clear removes the keys of one cache, by their prefix. Whoever comes from
#        gocache and shares a server should know what the old call did.
set -euo pipefail
cd "$(dirname "$0")/lib"
lib=$PWD
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
cd "$tmp"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/eko/gocache/lib/v4/cache"
	redis_store "github.com/eko/gocache/store/redis/v4"
	"github.com/redis/go-redis/v9"
)

func main() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1]})
	c := cache.New[string](redis_store.NewRedis(client))
	err := c.Set(ctx, "ours", "value")
	if err == nil {
		err = c.Clear(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	client.Close()
}
GO
export GOWORK=off GOFLAGS=-mod=mod
{ go mod init client && go mod edit -require=github.com/eko/gocache/lib/v4@v4.4.0 \
	-require=github.com/eko/gocache/store/redis/v4@v4.2.11 -require=github.com/redis/go-redis/v9@v9.23.0 && go build -o client .; } >log 2>&1 || {
	echo "not run: gocache cannot be built: $(tail -n 1 log)"
	exit 75
}
cd "$lib"
python3 -B - "$tmp/client" <<'PYTHON'
import subprocess
import sys

from ownredis import Client, Server, expect

with Server() as server:
    other = Client(server.port)
    other.do("SELECT", 3)
    other.do("SET", "theirs", "value")
    server.admin.do("SET", "theirs too", "value")
    subprocess.run([sys.argv[1], str(server.port)], check=True)
    expect("keys of another program in database 0 after Clear", server.admin.do("DBSIZE"), lambda n: int(n) == 0)
    expect("keys of another program in database 3 after Clear", other.do("DBSIZE"), lambda n: int(n) == 0)
    calls = server.admin.do("INFO", "commandstats")
    expect("calls of FLUSHALL", calls.count("cmdstat_flushall:"), lambda n: n == 1)
    other.close()
PYTHON
