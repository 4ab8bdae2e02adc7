package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/testserver"
)

// Services with different stores can share a Redis without any setting, and never return
// each other's records. Caught: a name made from the path, which another store can have, for
// example on another machine; one name for all stores in MongoDB.
func TestStoresThatShareRedis(t *testing.T) {
	redis := testserver.Redis(t)
	env := []string{"ASIDE_REDIS=" + redis.URL()}
	const mine = `{"id":"1","name":"of the first"}`
	apart := func(t *testing.T, a, b *process) {
		t.Helper()
		b.want(b.do("GET", "/todos/1", ""), 404)
		b.want(b.do("POST", "/todos", `{"id":"1","name":"of the second"}`), 201)
		for p, name := range map[*process]string{a: "of the first", b: "of the second"} {
			if p == nil {
				continue
			}
			for _, headers := range [][]string{nil, {"Cache-Control: no-cache"}} {
				if r := p.want(p.do("GET", "/todos/1", "", headers...), 200); !strings.Contains(r.body, name) {
					t.Errorf("the record %s is answered as %s", name, r.body)
				}
			}
		}
	}
	inRedis := func(t *testing.T, p *process) {
		t.Helper()
		testserver.Eventually(t, 10*time.Second, "it is in Redis", func() bool {
			return strings.Contains(p.do("GET", "/todos/1", "", "Cache-Control: no-cache").cacheStatus(), "detail=L2")
		})
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		one, two := testserver.Postgres(t), testserver.Postgres(t)
		a := start(t, append(env, "ASIDE_POSTGRES="+one.URL()), "serve")
		b := start(t, append(env, "ASIDE_POSTGRES="+two.URL()), "serve")
		a.want(a.do("POST", "/todos", mine), 201)
		inRedis(t, a)
		apart(t, a, b)
		c := start(t, append(env, "ASIDE_POSTGRES="+one.URL(), "ASIDE_POSTGRES_TABLE=others"), "serve")
		c.want(c.do("GET", "/todos/1", ""), 404)
	})
	t.Run("MongoDB", func(t *testing.T) {
		one, two := testserver.Mongo(t), testserver.Mongo(t)
		a := start(t, append(env, "ASIDE_MONGO="+one.URI()), "serve")
		b := start(t, append(env, "ASIDE_MONGO="+two.URI()), "serve")
		a.want(a.do("POST", "/todos", mine), 201)
		inRedis(t, a)
		apart(t, a, b)
		c := start(t, append(env, "ASIDE_MONGO="+one.URI(), "ASIDE_MONGO_COLLECTION=others"), "serve")
		c.want(c.do("GET", "/todos/1", ""), 404)
	})
	t.Run("one path", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "data")
		a := start(t, env, "serve", "--data", dir)
		a.want(a.do("POST", "/todos", mine), 201)
		inRedis(t, a)
		a.signal(os.Interrupt)
		a.wantExit(0)
		if err := os.Rename(dir, dir+".old"); err != nil {
			t.Fatal(err)
		}
		apart(t, nil, start(t, env, "serve", "--data", dir))
	})
}

// A server that starts while its store is down does not know the name of its cache. It
// refuses requests until it does: the other servers would miss writes that do not go
// through their cache. With --cache-name it serves the records in Redis.
func TestStartWithoutStore(t *testing.T) {
	mongo, redis := testserver.Mongo(t), testserver.Redis(t)
	proxy := testserver.Toxiproxy(t, mongo.Addr())
	env := []string{"ASIDE_REDIS=" + redis.URL()}
	up := append(env, "ASIDE_MONGO="+mongo.URI())
	a, named := start(t, up, "serve"), start(t, up, "serve", "--cache-name", "mine")
	a.want(a.do("POST", "/todos", `{"id":"1","name":"one"}`), 201)
	named.want(named.do("GET", "/todos/1", ""), 200)

	proxy.Cut()
	down := append(env, "ASIDE_MONGO="+mongo.URIVia(proxy.Addr()))
	b, other := start(t, down, "serve", "--admin", "127.0.0.1:0", "--page-token-file", tokenFile(t, theToken)), start(t, down, "serve", "--cache-name", "mine")
	b.want(b.do("GET", "/healthz", ""), 200)
	if r := b.want(b.do("GET", "/readyz", ""), 503); !strings.Contains(r.body, `"since":"20`) {
		t.Errorf("readyz: %s", r.body)
	}
	for method, body := range map[string]string{"GET": "", "PUT": `{"name":"n"}`, "DELETE": ""} {
		if r := b.want(b.do(method, "/todos/1", body), 503); r.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", method)
		}
	}
	testserver.Eventually(t, 10*time.Second, "Redis answers for the store", func() bool { return other.do("GET", "/todos/1", "").status == 200 })

	// Caught: an admin listener that accepted connections and never answered.
	for call, want := range map[string]int{"GET /metrics": 200, "GET /debug/pprof/": 200, "POST /flush": 503, "GET /ops/nodes": 503, "POST /ops/drop?id=1": 503} {
		method, path, _ := strings.Cut(call, " ")
		if r := doHost(t, method, b.admin+path, ""); r.status != want || want == 503 && (!strings.Contains(r.body, "waits for its database") || r.header.Get("Retry-After") == "") {
			t.Errorf("%s: %d, want %d: %s", call, r.status, want, r.body)
		}
	}

	if r := doHost(t, "GET", b.url+"/ops/nodes", "Authorization: Bearer "+theToken); r.status != 503 || !strings.Contains(r.body, "waits for its database") {
		t.Errorf("the calls of operators on the main listener: %d: %s", r.status, r.body)
	}
	if r := doHost(t, "GET", b.url+"/ops/nodes", ""); r.status != 401 {
		t.Errorf("the same without the token: %d: %s", r.status, r.body)
	}

	proxy.Restore()
	testserver.Eventually(t, 30*time.Second, "it serves", func() bool { return b.do("GET", "/todos/1", "").status == 200 })
	b.want(b.do("PUT", "/todos/1", `{"name":"two"}`), 200)
	if r := doHost(t, "GET", b.admin+"/ops/nodes", ""); r.status != 200 {
		t.Errorf("the admin listener then: %d: %s", r.status, r.body)
	}
	if r := a.want(a.do("GET", "/todos/1", "", "Cache-Control: no-cache"), 200); !strings.Contains(r.body, "two") {
		t.Errorf("the other server of the store answers %s", r.body)
	}

	proxy.Cut()
	c := start(t, down, "serve")
	c.signal(os.Interrupt)
	c.wantExit(0)
}

// identityIs is a store with this result of Identity.
type identityIs struct {
	unknownStore
	id  string
	err error
}

func (s identityIs) Identity(context.Context) (string, error) { return s.id, s.err }

func TestNameOf(t *testing.T) {
	none := fmt.Errorf("%w: no right", todo.ErrNoIdentity)
	for name, tc := range map[string]struct {
		flags CacheFlags
		store todo.Store
		want  string
	}{
		"given":         {CacheFlags{Redis: "redis://h", CacheName: "mine"}, identityIs{err: none}, "mine"},
		"of the store":  {CacheFlags{Redis: "redis://h"}, identityIs{id: "abc"}, "todos-abc"},
		"without Redis": {CacheFlags{}, identityIs{err: none}, "todos-memory"},
	} {
		if got, err := tc.flags.nameOf(t.Context(), tc.store); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var final *exitError
	f := CacheFlags{Redis: "redis://h"}
	_, err := f.nameOf(t.Context(), identityIs{err: none})
	if !errors.As(err, &final) || final.ExitCode() != exitUsage || !strings.Contains(err.Error(), "--redis needs --cache-name here") || !strings.Contains(err.Error(), "no right") {
		t.Errorf("no identity: %v", err)
	}
	if _, err := f.nameOf(t.Context(), unknownStore{}); err == nil || errors.As(err, &final) {
		t.Errorf("a store that is down: %v", err)
	}
}
