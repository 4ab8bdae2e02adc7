package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/entry"
	"github.com/asidecache/aside/tests/testserver"
)

// The main path on real servers: two nodes with one MongoDB and one Redis.
func TestTwoNodesOnRealServers(t *testing.T) {
	mongo, redis := testserver.Mongo(t), testserver.Redis(t, "--requirepass", "hunter2")
	env := []string{"ASIDE_MONGO=" + mongo.URI(), "ASIDE_REDIS=" + redis.URL()}
	a, b := start(t, env, "serve", "--log-level", "debug"), start(t, env, "serve", "--no-l1")

	a.want(a.do("POST", "/todos", `{"id":"a/b","name":"one"}`), 201)
	if r := b.want(b.do("GET", "/todos/a%2Fb", ""), 200); r.cacheStatus() != "aside; hit; detail=L2" {
		t.Errorf("the other node's read of a new record: %s", r.cacheStatus())
	}
	testserver.Eventually(t, 10*time.Second, "the first node has it in memory", func() bool {
		return a.do("GET", "/todos/a%2Fb", "").cacheStatus() == "aside; hit; detail=L1"
	})
	etag := b.want(b.do("PATCH", "/todos/a%2Fb", `{"name":"two"}`), 200).header.Get("ETag")
	if r := a.want(a.do("GET", "/todos/a%2Fb", "", "Cache-Control: no-cache"), 200); r.header.Get("ETag") != etag {
		t.Errorf("a strong read missed the other node's write: %s", r.body)
	}
	testserver.Eventually(t, 10*time.Second, "the write reaches the first node's memory", func() bool {
		return a.do("GET", "/todos/a%2Fb", "").header.Get("ETag") == etag
	})
	b.want(b.do("DELETE", "/todos/a%2Fb", "", "If-Match: "+etag), 204)
	if r := a.want(a.do("GET", "/todos/a%2Fb", "", "Cache-Control: no-cache"), 404); !strings.Contains(r.body, "Item not found") {
		t.Errorf("after the delete: %s", r.body)
	}
	for _, p := range []*process{a, b} {
		p.signal(os.Interrupt)
		p.wantExit(0)
		if strings.Contains(p.logged(), "hunter2") {
			t.Error("the password is in the log")
		}
	}
}

// The tutorial's service answers 500 for every read while Redis is down,
// although its database has the record.
func TestTutorialDefectRedisDownIsAnOutage(t *testing.T) {
	redis := testserver.Redis(t)
	proxy := testserver.Toxiproxy(t, redis.Addr())
	p := start(t, nil, "serve", "--data", t.TempDir(), "--redis", strings.Replace(redis.URL(), redis.Addr(), proxy.Addr(), 1))
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	p.want(p.do("POST", "/todos", `{"id":"2","name":"n"}`), 201)
	ready := func() string { return p.want(p.do("GET", "/readyz", ""), 200).body }
	for name, fail := range map[string]func(){"cut": proxy.Cut, "silent": proxy.Silence} {
		testserver.Eventually(t, 10*time.Second, "Redis is in use", func() bool { return strings.Contains(ready(), `"status":"ready"`) })
		fail()
		p.want(p.do("GET", "/todos/1", ""), 200)
		p.want(p.do("GET", "/todos/none-"+name, ""), 404)
		p.want(p.do("PATCH", "/todos/2", `{"name":"`+name+`"}`), 200)
		if r := p.want(p.do("GET", "/todos/2", ""), 200); !strings.Contains(r.body, name) {
			t.Errorf("Redis %s: own write not seen: %s", name, r.body)
		}
		testserver.Eventually(t, 10*time.Second, "it says that it is degraded", func() bool { return strings.Contains(ready(), `"status":"degraded"`) })
		proxy.Restore()
	}
	testserver.Eventually(t, 20*time.Second, "it recovers", func() bool { return strings.Contains(ready(), `"status":"ready"`) })
	if r := p.want(p.do("GET", "/todos/2", "", "Cache-Control: no-cache"), 200); r.status != 200 {
		t.Errorf("after the recovery: %s", r.body)
	}
}

// /metrics shows what Redis remembers for client-side caching, whose limit empties
// the memory of all servers.
func TestTrackedKeysAreExported(t *testing.T) {
	redis := testserver.Redis(t)
	testserver.AllRights(t, "the limit is read with CONFIG")
	p := start(t, nil, "serve", "--data", t.TempDir(), "--redis", redis.URL())
	testserver.Eventually(t, 10*time.Second, "the figures are there", func() bool {
		return strings.Contains(p.do("GET", "/metrics", "").body, `aside_l2_tracked_keys_limit{l2="todos"} 1e+06`)
	})
}

// The tutorial's service accepts any key in Redis with the name of the id as a todo.
func TestTutorialDefectForeignKeyServed(t *testing.T) {
	redis := testserver.Redis(t)
	redis.Do("HSET", "1", "id", "1", "name", "foreign", "description", "x")
	redis.Do("SET", "2", "foreign")
	p := start(t, nil, "serve", "--data", t.TempDir(), "--redis", redis.URL(), "--cache-name", "mine")
	p.want(p.do("GET", "/todos/1", ""), 404)
	p.want(p.do("POST", "/todos", `{"id":"2","name":"n"}`), 201)
	p.want(p.do("GET", "/todos/2", ""), 200)

	// Garbage under the service's own key is not served either.
	redis.Do("SET", "aside:mine:0:2", "garbage")
	if r := p.want(p.do("GET", "/todos/2", "", "Cache-Control: no-cache"), 200); !strings.Contains(r.body, `"name":"n"`) {
		t.Errorf("body: %s", r.body)
	}
}

// Another program writes entries in the service's format under its keys. The service does
// not show an entry that cannot be the record, and repairs it, for reads of one record and
// of several. Caught: the record of another id; a record without an id, shown as null; a
// record that no page could show; an absence, or an old record, that stayed for ever.
func TestForgedEntriesAreRepaired(t *testing.T) {
	redis := testserver.Redis(t)
	p := start(t, unhurried, "serve", "--data", t.TempDir(), "--redis", redis.URL(), "--cache-name", "mine", "--no-l1")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"mine"}`), 201)
	p.want(p.do("POST", "/todos", `{"id":"2","name":"other"}`), 201)
	forged := func(payload string, age time.Duration) string {
		return entry.Value(payload, reflect.TypeFor[todo.Todo](), age)
	}
	const old = 2 * time.Hour
	for name, forged := range map[string]string{
		"another record":             forged(`{"id":"2","name":"forged","version":1}`, 0),
		"null":                       forged(`null`, 0),
		"no id":                      forged(`{"name":"forged","version":1}`, 0),
		"a negative version":         forged(`{"id":"1","name":"forged","version":-1}`, 0),
		"a date past the year 9999":  forged(`{"id":"1","name":"forged","version":1,"created_at":"9999-12-31T23:59:59-01:00"}`, 0),
		"too large a record":         forged(`{"id":"1","name":"`+strings.Repeat("forged", 12_000)+`","version":1}`, 0),
		"an old record":              forged(`{"id":"1","name":"forged","version":1}`, old),
		"an old absence":             forged("", old),
		"an absence from the future": forged("", -old),
	} {
		for path, headers := range map[string]string{"/todos/1": "Accept: */*", "/todos/1?": "Cache-Control: no-cache", "/todos?ids=2,1": "Accept: */*"} {
			redis.Do("SET", "aside:mine:0:1", forged)
			r := p.want(p.do("GET", path, "", headers), 200)
			if !strings.Contains(r.body, `"name":"mine"`) || strings.Contains(r.body, "forged") {
				t.Errorf("%s, GET %s: %.300s", name, path, r.body)
			}
			mended := testsync.Poll(10*time.Second, func() bool {
				hit := strings.Contains(p.do("GET", "/todos/1", "").cacheStatus(), "detail=L2")
				ms, err := redis.Do("PTTL", "aside:mine:0:1").AsInt64()
				return hit && err == nil && ms > 0
			})
			if !mended {
				b, _ := redis.Do("GET", "aside:mine:0:1").AsBytes()
				t.Errorf("%s, GET %s: it is not mended: %.20q", name, path, b)
			}
		}
	}
}

// The tutorial's service keeps records in Redis for ever.
func TestTutorialDefectNoTTL(t *testing.T) {
	redis := testserver.Redis(t)
	p := start(t, nil, "serve", "--data", t.TempDir(), "--redis", redis.URL(), "--cache-name", "mine", "--ttl", "1h", "--feed", "off")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	p.want(p.do("GET", "/todos/1", ""), 200)
	p.want(p.do("GET", "/todos/none", ""), 404)
	keys := 0
	testserver.Eventually(t, 10*time.Second, "both answers are in Redis", func() bool {
		list, err := redis.Do("KEYS", "aside:mine:0:*").AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		keys = len(list)
		return keys == 2
	})
	list, _ := redis.Do("KEYS", "*").AsStrSlice()
	for _, key := range list {
		ms, err := redis.Do("PTTL", key).AsInt64()
		if err != nil || ms <= 0 || ms > time.Hour.Milliseconds() {
			t.Errorf("%s lives for %d ms, %v", key, ms, err)
		}
	}
}

// The tutorial's service hangs for 30 s when its database is down, then answers 500. This
// service answers cached records, refuses other requests, and recovers.
func TestTutorialDefectDatabaseDownHangs(t *testing.T) {
	mongo := testserver.Mongo(t)
	proxy := testserver.Toxiproxy(t, mongo.Addr())
	p := start(t, []string{"ASIDE_MONGO=" + mongo.URIVia(proxy.Addr())}, "serve")
	p.want(p.do("POST", "/todos", `{"id":"1","name":"n"}`), 201)
	testserver.Eventually(t, 10*time.Second, "it is cached", func() bool {
		return strings.Contains(p.do("GET", "/todos/1", "").cacheStatus(), "hit")
	})
	proxy.Cut()
	p.want(p.do("GET", "/todos/1", ""), 200)
	if r := p.want(p.do("GET", "/todos/cold", ""), 503); r.header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", r.header)
	}
	p.want(p.do("GET", "/readyz", ""), 503)
	proxy.Restore()
	testserver.Eventually(t, 30*time.Second, "it recovers", func() bool { return p.do("GET", "/todos/cold", "").status == 404 })
}
