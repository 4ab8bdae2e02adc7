package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// serve does not start with a Redis that it can never use. It ends with exit code 2 and one
// line that says what to do. Each permission in SECURITY.md is removed in turn. Caught: a
// server that started and reported "cache ok".
func TestServeRefusesToStart(t *testing.T) {
	redis := testserver.Redis(t)
	rights := redis.Rights("aside")
	grant := func(rights []string) {
		redis.Do(slices.Concat([]string{"ACL", "SETUSER", "todo", "reset", "on", ">hunter2"}, rights)...)
	}
	refused := func(redisURL, want string) {
		t.Helper()
		// Without the feed, which may log that it cannot ask Redis before the check ends.
		_, stderr, code := asideRun(t, nil, "serve", "--listen", "127.0.0.1:0", "--data", t.TempDir(), "--feed", "off", "--redis", redisURL)
		if code != exitUsage || !strings.HasPrefix(stderr, "aside: --redis: ") || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("want one line that says %q; exit code %d:\n%s", want, code, stderr)
		}
		if strings.Contains(stderr, "hunter2") {
			t.Errorf("the password is shown: %s", stderr)
		}
	}
	url := "redis://todo:hunter2@" + redis.Addr()
	tried := 0
	for i, right := range rights {
		if !strings.HasPrefix(right, "+") || slices.Contains([]string{"+client|setname", "+client|setinfo", "+ping", "+zadd", "+zrange", "+zremrangebyscore"}, right) {
			continue // done without, or only for tags
		}
		tried++
		grant(slices.Concat(rights[:i], rights[i+1:]))
		refused(url, "may not run "+strings.ToUpper(strings.ReplaceAll(right[1:], "|", " "))+" (NOPERM): grant it ("+right+")")
	}
	if tried < 10 {
		t.Errorf("only %d rights were tried", tried)
	}
	grant(rights)
	refused("redis://todo:hunter2x@"+redis.Addr(), "WRONGPASS")
	refused(url+"/1", "may not run SELECT (NOPERM): grant it (+select)")
	refused("redis://"+redis.Addr()+"/99", "no database of this number")
	refused("rediss://todo:hunter2@"+redis.Addr(), "no TLS is spoken there")

	p := start(t, nil, "serve", "--data", t.TempDir(), "--redis", url)
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	if ready := p.want(p.do("GET", "/readyz", ""), 200).body; !strings.Contains(ready, `"status":"ready"`) {
		t.Errorf("with all rights: %s", ready)
	}
}

// /readyz and aside_degraded show the state of Redis even without reads: not started,
// running, stopped, running again.
// Caught: "cache ok" until a read missed the memory.
func TestReadinessWithoutTraffic(t *testing.T) {
	redis := testserver.Redis(t)
	redis.Kill()
	p := start(t, nil, "serve", "--data", t.TempDir(), "--redis", redis.URL())
	says := func(what string, degraded bool) {
		t.Helper()
		testserver.Eventually(t, 20*time.Second, what, func() bool {
			ready := p.want(p.do("GET", "/readyz", ""), 200).body
			metric := `aside_degraded{cache="todos"} 0`
			if degraded {
				metric = `aside_degraded{cache="todos"} 1`
			}
			return strings.Contains(ready, `"status":"degraded"`) == degraded && strings.Contains(ready, `"since":"`) == degraded &&
				strings.Contains(p.do("GET", "/metrics", "").body, metric)
		})
	}
	if ready := p.want(p.do("GET", "/readyz", ""), 200).body; !strings.Contains(ready, "not connected") {
		t.Errorf("before Redis is there: %s", ready)
	}
	says("not there yet", true)
	redis.Restart()
	says("there", false)
	redis.Kill()
	says("gone", true)
	redis.Restart()
	says("back", false)
	if n := strings.Count(p.logged(), "cannot be reached"); n != 2 {
		t.Errorf("%d lines of two outages", n)
	}
}
