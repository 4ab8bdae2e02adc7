package main

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// What a generated record takes in Redis is what docs/guide/sizing-redis.md says: the
// stored bytes, the key, what Redis adds to a key with a TTL, and what it remembers of
// the nodes that have read it. Caught: a formula without the last two.
//
//	go test -v -run ^TestRedisBytes$ ./cmd/aside
func TestRedisBytes(t *testing.T) {
	const records = 10_000
	redis, data := testserver.Redis(t), t.TempDir()
	if _, stderr, code := asideRun(t, nil, "load", "--count", fmt.Sprint(records), "--data", data); code != 0 {
		t.Fatal(stderr)
	}
	used := func() float64 {
		n, err := strconv.ParseFloat(redis.Info("memory")["used_memory"], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	readAll := func(p *process) {
		for at := 1; at <= records; at += 200 {
			ids := make([]string, 200)
			for i := range ids {
				ids[i] = strconv.Itoa(at + i)
			}
			p.want(p.do("GET", "/todos?ids="+strings.Join(ids, ","), ""), 200)
		}
	}
	serve := func() *process {
		return start(t, unhurried, "serve", "--data", data, "--redis", redis.URL(), "--cache-name", "todos", "--ttl", "1h", "--shutdown-delay", "0s")
	}
	p := serve()
	before := used()
	readAll(p)
	testserver.Eventually(t, 30*time.Second, "all records are in Redis", func() bool {
		n, err := redis.Do("DBSIZE").AsInt64()
		return err == nil && n >= records
	})
	stored := used()
	p.signal(syscall.SIGTERM)
	p.wantExit(0)
	readAll(serve()) // with an empty memory: Redis remembers one more connection
	tracked := used()

	var length float64
	for id := 1; id <= records; id += 100 {
		n, err := redis.Do("STRLEN", fmt.Sprintf("aside:todos:0:%d", id)).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		length += float64(n) / (records / 100)
	}
	one, further := (stored-before)/records, (tracked-stored)/records
	t.Logf("%.0f bytes as stored; Redis takes %.0f with one node, and %.0f for a further one", length, one, further)
	const name, perKey, firstNode = 18, 135, 99 // aside:todos:0:ID
	if estimate := length + name + perKey + firstNode; one < 0.85*estimate || one > 1.15*estimate {
		t.Errorf("an entry of %.0f bytes takes %.0f in Redis, the page's formula says %.0f", length, one, estimate)
	}
	// Redis may forget the first node's connection while this is measured.
	if further > 100 {
		t.Errorf("a further node takes %.0f bytes a key, the page says 51", further)
	}
}
