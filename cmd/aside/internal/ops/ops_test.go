package ops_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/ops"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
	"github.com/asidecache/aside/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	t     *testing.T
	store *todotest.Store
	cache *aside.Cache[string, todo.Todo]
	l2    *asidetest.Client
	svc   *todo.Service
	done  chan struct{}
	url   string
}

func serve(t *testing.T, records ...todo.Todo) *fixture {
	t.Helper()
	return serveWith(t, false, records...)
}

// serveWith also says whether entries have tags.
func serveWith(t *testing.T, tags bool, records ...todo.Todo) *fixture {
	t.Helper()
	f := &fixture{t: t, store: todotest.New(records...), done: make(chan struct{}), l2: new(asidetest.Server).NewClient()}
	var err error
	o := aside.Options[string, todo.Todo]{
		Name: "c", Node: "n1", L2Timeout: time.Minute, MaxPending: 2, L2: f.l2, Version: func(t todo.Todo) uint64 { return uint64(t.Version) },
	}
	todo.SetLoaders(&o, f.store, tags)
	f.cache, err = aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.cache.Close(context.Background()) })
	f.svc = todo.NewService(todo.ServiceOptions{Store: f.store, Cache: f.cache, TagDays: tags})
	srv := httptest.NewServer(ops.Handler(ops.Options{
		Cache: f.cache, Tags: tags, Store: f.store, Done: f.done,
		Nodes: func() map[string]dashboard.Node { return map[string]dashboard.Node{"n1": {}} },
		NameOf: func(id string) string {
			if id == aside.NodeIDOf("n1").String() {
				return "n1"
			}
			return ""
		},
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

func (f *fixture) do(method, path string) (int, string) {
	f.t.Helper()
	r, err := http.NewRequest(method, f.url+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (f *fixture) inspect(id string) (i ops.Inspection) {
	f.t.Helper()
	status, body := f.do("GET", "/ops/inspect?id="+id)
	if err := json.Unmarshal([]byte(body), &i); status != 200 || err != nil {
		f.t.Fatalf("%d %v %s", status, err, body)
	}
	return i
}

func (f *fixture) read(id string) {
	f.t.Helper()
	if _, err := f.svc.Get(f.t.Context(), id, aside.Default); err != nil && !errors.Is(err, todo.ErrNotFound) {
		f.t.Fatal(err)
	}
	testsync.Eventually(f.t, "the read has stored what it loaded", func() bool {
		i, err := f.cache.Inspect(f.t.Context(), id)
		return err == nil && f.cache.Stats().Flights == 0 && i.L2 != nil && i.L2.Kind != aside.EntryLease
	})
}

// past changes the store past the cache.
func (f *fixture) past(id string, change func(*todo.Todo)) {
	f.t.Helper()
	if _, err := f.store.Update(f.t.Context(), id, func(t todo.Todo) (todo.Todo, error) { change(&t); return t, nil }); err != nil {
		f.t.Fatal(err)
	}
}

func record(id string, version int64) todo.Todo {
	return todo.Todo{ID: id, Name: "n", Version: version}
}

// The verdict of each state that a key can be in, and dropping heals what is wrong.
func TestVerdicts(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange func(f *fixture) (undo func())
		want    string
		says    string
	}{
		"nothing cached":       {nil, ops.NotCached, "the next read loads it"},
		"same":                 {func(f *fixture) func() { f.read("1"); return nil }, ops.Same, "memory (L1) and Redis (L2)"},
		"no such record":       {func(f *fixture) func() { f.delete("1"); return nil }, ops.Absent, "Neither"},
		"absence cached":       {func(f *fixture) func() { f.delete("1"); f.read("1"); return nil }, ops.Absent, "says so too"},
		"changed past it":      {func(f *fixture) func() { f.read("1"); f.past("1", func(t *todo.Todo) { t.Version++ }); return nil }, ops.Older, "version 5, and the store has version 6"},
		"same version":         {func(f *fixture) func() { f.read("1"); f.past("1", func(t *todo.Todo) { t.Name = "x" }); return nil }, ops.Older, "another content"},
		"set back":             {func(f *fixture) func() { f.read("1"); f.past("1", func(t *todo.Todo) { t.Version = 2 }); return nil }, ops.Newer, "only has version 2"},
		"deleted past it":      {func(f *fixture) func() { f.read("1"); f.delete("1"); return nil }, ops.Older, "no such record"},
		"created past it":      {func(f *fixture) func() { f.delete("1"); f.read("1"); f.insert("1"); return nil }, ops.Older, "says that there is no such record"},
		"being written":        {writing, ops.BeingWritten, "Node n1 is writing"},
		"being loaded":         {loading, ops.BeingLoaded, "Node n1 is loading"},
		"being refreshed":      {refreshing, ops.Same, "Node n1 is loading it again"},
		"outcome not known":    {unknown, ops.BeingWritten, "does not know the outcome"},
		"the store is down":    {func(f *fixture) func() { f.read("1"); f.store.FailWith(todo.ErrUnavailable); return nil }, ops.Unknown, "could not be read"},
		"without Redis":        {func(f *fixture) func() { f.read("1"); f.cut(); return nil }, ops.Unknown, "The record in memory (L1) is that of the store. Redis could not be looked at"},
		"gone, without Redis":  {func(f *fixture) func() { f.delete("1"); f.read("1"); f.cut(); return nil }, ops.Unknown, "memory (L1) says so too. Redis could not be looked at"},
		"loaded without Redis": {func(f *fixture) func() { f.cut(); return loading(f) }, ops.Unknown, "is loading the record from the store. Redis could not be looked at"},
		"older without Redis": {func(f *fixture) func() {
			f.read("1")
			f.past("1", func(t *todo.Todo) { t.Version++ })
			f.cut()
			return nil
		}, ops.Older, "version 5, and the store has version 6"},
		"a write, and no more": {func(f *fixture) func() { f.read("1"); return f.write() }, ops.Same, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, record("1", 5))
			if tt.arrange != nil {
				if undo := tt.arrange(f); undo != nil {
					defer undo()
				}
			}
			i := f.inspect("1")
			if i.Verdict != tt.want || !strings.Contains(i.Explain, tt.says) {
				t.Fatalf("%s: %s\n%+v", i.Verdict, i.Explain, i)
			}
			if i.Node != "n1" || i.L2Key != "aside:c:0:1" {
				t.Errorf("%+v", i)
			}
			if i.Verdict != ops.Older && i.Verdict != ops.Newer || i.L2Error != "" {
				return
			}
			if status, body := f.do("POST", "/ops/drop?id=1"); status != 204 {
				t.Fatalf("%d %s", status, body)
			}
			f.read("1")
			if i := f.inspect("1"); i.Verdict != ops.Same && i.Verdict != ops.Absent {
				t.Errorf("after the drop: %s: %s", i.Verdict, i.Explain)
			}
		})
	}
}

// cut has all operations on Redis fail.
func (f *fixture) cut() {
	f.l2.Intercept(func(context.Context, string, string) error { return errors.New("cut off") })
}

func (f *fixture) delete(id string) {
	f.t.Helper()
	if err := f.store.Delete(f.t.Context(), id, func(todo.Todo) error { return nil }); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) insert(id string) {
	f.t.Helper()
	if err := f.store.Insert(f.t.Context(), record(id, 1)); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) write() func() {
	f.t.Helper()
	name := "changed"
	if _, err := f.svc.Patch(f.t.Context(), "1", todo.Patch{Name: &name}, nil); err != nil {
		f.t.Fatal(err)
	}
	return nil
}

// held calls run in a goroutine until undo, once begun has been called in it.
func held(run func(begun func(), until <-chan struct{})) (undo func()) {
	begun, until, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		run(func() { close(begun) }, until)
	}()
	<-begun
	return func() { close(until); <-ended }
}

func writing(f *fixture) func() {
	return held(func(begun func(), until <-chan struct{}) {
		_ = f.cache.Write(context.Background(), "1", func(context.Context, *aside.WriteTx[string, todo.Todo]) error {
			begun()
			<-until
			return aside.Aborted(errors.New("changed its mind"))
		})
	})
}

func loading(f *fixture) func() {
	return held(func(begun func(), until <-chan struct{}) {
		_, _ = f.cache.Get(context.Background(), "1", aside.LoaderFunc[string, todo.Todo](func(context.Context, string) (todo.Todo, error) {
			begun()
			<-until
			return todo.Todo{}, aside.ErrNotFound
		}))
	})
}

// refreshing has a lease over the entry, with a token of n1.
func refreshing(f *fixture) func() {
	f.read("1")
	raw, err := f.l2.Inspect(f.t.Context(), "aside:c:0:1", 0)
	if err != nil {
		f.t.Fatal(err)
	}
	token := driver.Token(raw.Entry[12:])
	req := driver.LeaseRequest{Key: "aside:c:0:1", Lease: token, TTL: time.Minute, Over: token}
	if g := f.l2.Acquire(f.t.Context(), []driver.LeaseRequest{req})[0]; g.State != driver.StateGranted || g.Entry == nil {
		f.t.Fatalf("%+v", g)
	}
	return nil
}

func unknown(f *fixture) func() {
	_ = f.cache.Write(f.t.Context(), "1", func(context.Context, *aside.WriteTx[string, todo.Todo]) error { return errors.New("connection lost") })
	return nil
}

// Requests that make no sense are answered with problem details.
func TestOpsRefusals(t *testing.T) {
	f := serve(t)
	for call, want := range map[string]int{
		"GET /ops/inspect": 400, "GET /ops/inspect?id=1&id=2": 400, "GET /ops/inspect?id=%ff": 400, "GET /ops/inspect?id=..": 422, "GET /ops/watch": 400,
		"GET /ops/drop?id=1": 405, "POST /ops/inspect?id=1": 405, "POST /ops/drop": 400, "GET /ops/top?n=0": 400, "GET /ops/top?n=101": 400, "GET /ops/top?n=x": 400,
		"GET /ops/": 404, "GET /ops/nothing": 404, "GET /ops/top?n=1": 200, "GET /ops/nodes": 200, "POST /ops/drop?id=1": 204,
		"POST /ops/drop?tag=created:unknown": 409, "POST /ops/drop?tag=created:unknown&id=1": 400, "POST /ops/drop?tag=": 422, "POST /ops/drop?tag=created:unknown&tag=x": 422,
		"POST /ops/drop?" + strings.Repeat("tag=created:unknown&", 1001): 422, "POST /ops/drop?" + strings.Repeat("tag=created:unknown&", 1000): 409,
	} {
		method, path, _ := strings.Cut(call, " ")
		status, body := f.do(method, path)
		var p struct{ Code, Detail string }
		if status != want || status >= 400 && (json.Unmarshal([]byte(body), &p) != nil || p.Code == "" || p.Detail == "") {
			t.Errorf("%s: %d, want %d: %s", call, status, want, body)
		}
	}
}

// Tags drop what has one of them, and nothing else. The entries show their tags.
// Caught: only the first of several tags.
func TestDropTags(t *testing.T) {
	day := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	f := serveWith(t, true, todo.Todo{ID: "1", Version: 1, CreatedAt: day}, todo.Todo{ID: "2", Version: 1, CreatedAt: day.AddDate(0, 0, 1)}, todo.Todo{ID: "3", Version: 1})
	for id, tag := range map[string]string{"1": "created:2026-11-29", "2": "created:2026-11-30", "3": "created:unknown"} {
		f.read(id)
		i := f.inspect(id)
		if i.L1 == nil || i.L2 == nil || !slices.Equal(i.L1.Tags, []string{tag}) || !slices.Equal(i.L2.Tags, []string{tag}) {
			t.Errorf("%s: %+v, %+v", id, i.L1, i.L2)
		}
		f.past(id, func(t *todo.Todo) { t.Version++ })
	}
	if status, body := f.do("POST", "/ops/drop?tag=created:2026-11-30&tag=created:unknown"); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	for id, want := range map[string]string{"1": ops.Older, "2": ops.NotCached, "3": ops.NotCached} {
		if i := f.inspect(id); i.Verdict != want {
			t.Errorf("%s: %s: %s", id, i.Verdict, i.Explain)
		}
		f.read(id)
	}
	if i := f.inspect("2"); i.Verdict != ops.Same {
		t.Errorf("read again: %s: %s", i.Verdict, i.Explain)
	}
}

// A drop that Redis could not be told of is not said to be done: by key, by tag, and after so
// many that the cache keeps no list of them. One that Redis was told of is, whatever else waits.
// Caught: 204 while Redis kept the record, since the cache had queued the drop.
func TestDropWithoutRedis(t *testing.T) {
	f := serveWith(t, true, record("1", 1))
	f.read("1")
	drop := func(query string, want int) {
		t.Helper()
		status, body := f.do("POST", "/ops/drop?"+query)
		if status != want || want == 503 && (!strings.Contains(body, "cache_unavailable") || !strings.Contains(body, "on this server alone")) {
			t.Errorf("%s: %d, want %d: %s", query, status, want, body)
		}
	}
	f.l2.Intercept(func(_ context.Context, op, key string) error {
		if strings.HasSuffix(key, ":0:1") || op == "clear" {
			return errors.New("cut off")
		}
		return nil
	})
	drop("id=1", 503)
	testsync.Eventually(t, "the other master is in use", func() bool { s, _ := f.do("POST", "/ops/drop?id=2"); return s == 204 })
	f.cut()
	for _, query := range []string{"id=1", "tag=created:unknown", "id=2", "id=3", "id=4", "tag=created:2026-11-29"} {
		drop(query, 503)
	}
	if i := f.inspect("1"); i.L1 != nil {
		t.Errorf("it is in memory: %+v", i.L1)
	}
	f.l2.Intercept(nil)
	testsync.Eventually(t, "Redis is told", func() bool { s := f.cache.Stats(); return s.Pending == 0 && !s.Degraded })
	drop("id=1", 204)
	drop("tag=created:unknown", 204)
}

// A watch tells of each thing that happens to the key, and of no other key. The number of
// watches is limited.
func TestWatch(t *testing.T) {
	f := serve(t, record("1", 1), record("2", 1))
	open := func() (*http.Response, *bufio.Scanner) {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(f.url + "/ops/watch?id=1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp, bufio.NewScanner(resp.Body)
	}
	_, lines := open()
	for lines.Scan() && lines.Text() != ":" { // it watches
	}
	f.read("2")
	f.read("1")
	f.write()
	if status, body := f.do("POST", "/ops/drop?id=1"); status != 204 {
		t.Fatalf("%d %s", status, body)
	}
	seen := map[string]string{}
	for seen["drop"] == "" && lines.Scan() {
		var e struct{ Kind, Text string }
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				t.Fatal(err)
			}
			seen[e.Kind] = e.Text
		}
	}
	for _, kind := range []string{"load", "read", "fill", "write", "fence", "publish", "drop"} {
		if seen[kind] == "" {
			t.Errorf("no %s: %v", kind, seen)
		}
	}
	full := false
	for range 40 {
		if r, _ := open(); r.StatusCode == 503 {
			full = true
			break
		}
	}
	if !full {
		t.Error("watches have no limit")
	}
	close(f.done)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines.Scan() {
		}
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("a watch does not end")
	}
}
