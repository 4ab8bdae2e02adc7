package aside_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rec is a record of the primary: its version grows with each write.
type rec struct {
	Key     string
	Version int
}

// primary is the database. Gates hold a read back before or after it has seen
// the record, a write before or after its commit.
type primary struct {
	mu    sync.Mutex
	m     map[string]rec
	reads atomic.Int64

	beforeRead, afterRead func(key string)
	err                   atomic.Pointer[error]
}

func newPrimary(keys ...string) *primary {
	p := &primary{m: map[string]rec{}}
	for _, k := range keys {
		p.put(k)
	}
	return p
}

func (p *primary) put(k string) rec {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := rec{k, p.m[k].Version + 1}
	p.m[k] = r
	return r
}

func (p *primary) del(k string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.m, k)
}

func (p *primary) get(k string) (rec, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.m[k]
	return r, ok
}

func (p *primary) fail(err error) { p.err.Store(&err) }

func (p *primary) Load(_ context.Context, k string) (rec, error) {
	p.reads.Add(1)
	if f := p.beforeRead; f != nil {
		f(k)
	}
	if e := p.err.Load(); e != nil && *e != nil {
		return rec{}, *e
	}
	r, ok := p.get(k)
	if f := p.afterRead; f != nil {
		f(k)
	}
	if !ok {
		return rec{}, fmt.Errorf("record %s: %w", k, aside.ErrNotFound)
	}
	return r, nil
}

func (p *primary) LoadMany(ctx context.Context, keys []string) (map[string]rec, error) {
	p.reads.Add(1)
	if f := p.beforeRead; f != nil {
		f(strings.Join(keys, ","))
	}
	if e := p.err.Load(); e != nil && *e != nil {
		return nil, *e
	}
	out := map[string]rec{}
	for _, k := range keys {
		if r, ok := p.get(k); ok {
			out[k] = r
		}
	}
	if f := p.afterRead; f != nil {
		f(strings.Join(keys, ","))
	}
	return out, nil
}

type options = aside.Options[string, rec]

// node is one process: a cache with a connection of its own.
type node struct {
	*aside.Cache[string, rec]
	t    testing.TB
	p    *primary
	conn *asidetest.Client
}

// newNode makes a cache on s, or L1 only if s is nil.
func newNode(t testing.TB, p *primary, s *asidetest.Server, change ...func(*options)) *node {
	t.Helper()
	n := &node{t: t, p: p}
	o := options{Name: "test", Jitter: -1, Logger: slog.New(slog.DiscardHandler), Version: func(r rec) uint64 { return uint64(r.Version) }}
	if s != nil {
		n.conn = s.NewClient()
		o.L2 = n.conn
	}
	if !fakeTime() {
		o.L2Timeout = time.Minute // a busy machine is no outage
	}
	for _, f := range change {
		f(&o)
	}
	c, err := aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Cache = c
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return n
}

// fakeTime reports whether the test runs in a bubble of testing/synctest, where
// time begins with this year.
func fakeTime() bool { return time.Now().Year() == 2000 }

const testPrefix = "aside:test:0:"

func (n *node) read(k string, l aside.Mode) (int, aside.Info) {
	n.t.Helper()
	r, err := n.Read(context.Background(), k, n.p, l)
	if err != nil {
		n.t.Errorf("read %s: %v", k, err)
	}
	return r.Value.Version, r.Info
}

func (n *node) want(k string, version int, from aside.Source) {
	n.t.Helper()
	if v, i := n.read(k, aside.Default); v != version || i.Source != from {
		n.t.Errorf("read %s: version %d from %v, want %d from %v", k, v, i.Source, version, from)
	}
}

func (n *node) wantStrong(k string, version int) {
	n.t.Helper()
	if v, _ := n.read(k, aside.Strong); v != version {
		n.t.Errorf("strong read %s: version %d, want %d", k, v, version)
	}
}

// update writes a new version through the cache and publishes it.
func (n *node) update(k string) rec {
	n.t.Helper()
	var r rec
	err := n.Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		r = n.p.put(k)
		w.Publish(k, r)
		return nil
	})
	if err != nil {
		n.t.Errorf("write %s: %v", k, err)
	}
	return r
}

// settled waits until the fills that reads left behind have been made: they
// are off the readers' path.
func (n *node) settled(k string) {
	n.t.Helper()
	testsync.Eventually(n.t, "the fill of "+k, func() bool { return n.p == nil || aside.Flights(n.Cache) == 0 })
}
