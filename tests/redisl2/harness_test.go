package redisl2_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

const minute = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, delayed...) }

// delayed are goroutines of rueidis' cluster client that sleep for up to five
// seconds and then end, closed or not; and those of a toxiproxy that was stopped
// with bytes on their way, which nobody takes from them.
var delayed = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/asidecache/aside/tests/testserver.(*Newer).listen.func1"), // ends with its test
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
	goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
}

// rec is a record of the primary: its version grows with each write.
type rec struct {
	Key     string
	Version int
}

// primary is the database. afterRead holds a load back that has seen the record.
type primary struct {
	mu        sync.Mutex
	m         map[string]rec
	reads     atomic.Int64 // records read
	loads     atomic.Int64 // calls of loaders
	afterRead func(key string)
}

func newPrimary(keys ...string) *primary {
	p := &primary{m: map[string]rec{}}
	for _, k := range keys {
		p.put(k)
	}
	return p
}

// numbered returns keys "0".."n-1" behind a prefix.
func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint(prefix, i)
	}
	return keys
}

func (p *primary) put(k string) rec {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := rec{k, p.m[k].Version + 1}
	p.m[k] = r
	return r
}

func (p *primary) get(k string) (rec, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads.Add(1)
	r, ok := p.m[k]
	return r, ok
}

func (p *primary) Load(_ context.Context, k string) (rec, error) {
	p.loads.Add(1)
	r, ok := p.get(k)
	if p.afterRead != nil {
		p.afterRead(k)
	}
	if !ok {
		return rec{}, aside.ErrNotFound
	}
	return r, nil
}

func (p *primary) LoadMany(_ context.Context, keys []string) (map[string]rec, error) {
	p.loads.Add(1)
	out := map[string]rec{}
	for _, k := range keys {
		if r, ok := p.get(k); ok {
			out[k] = r
		}
	}
	if p.afterRead != nil {
		p.afterRead(keys[0])
	}
	return out, nil
}

// node is one process: a cache over a connection of its own.
type node struct {
	*aside.Cache[string, rec]
	t     testing.TB
	p     *primary
	store *redisl2.Store
	log   *testsync.Buffer
	tried atomic.Int64 // operations on L2, without probes
	pings atomic.Int64 // probes
}

type options = aside.Options[string, rec]

const prefix = "aside:t:0:"

func newNode(t testing.TB, p *primary, url string, change ...func(*options)) *node {
	t.Helper()
	l := &testsync.Buffer{}
	logger := slog.New(slog.NewTextHandler(l, nil))
	return newNodeOn(t, p, open(t, redisl2.Options{URL: url, Logger: logger}), l, change...)
}

func newNodeOn(t testing.TB, p *primary, s *redisl2.Store, l *testsync.Buffer, change ...func(*options)) *node {
	t.Helper()
	n := &node{t: t, p: p, store: s, log: l}
	o := options{
		Name: "t", L2: s, Jitter: -1, Logger: slog.New(slog.NewTextHandler(l, nil)),
		L2Timeout: minute, // a busy machine is no outage
		OnL2: func(op string, _ time.Duration, _ error) {
			if op == "ping" {
				n.pings.Add(1)
			} else {
				n.tried.Add(1)
			}
		},
	}
	for _, f := range change {
		f(&o)
	}
	c, err := aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Cache = c
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = c.Close(ctx) // with Redis gone there is something to give up
	})
	return n
}

// impatient sets the time-out that is the default outside of tests.
func impatient(o *options) { o.L2Timeout = 100 * time.Millisecond }

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
	if v, i := n.read(k, aside.Strong); v != version {
		n.t.Errorf("strong read %s: version %d from %v, want %d", k, v, i.Source, version)
	}
}

// warm reads a key until it is in L1: the fill runs off the reader's path.
func (n *node) warm(k string) {
	n.t.Helper()
	testsync.Eventually(n.t, k+" is in L1", func() bool {
		r, err := n.Read(context.Background(), k, n.p, aside.Default)
		if err != nil && !r.Negative {
			n.t.Errorf("read %s: %v", k, err)
		}
		return r.Source == aside.SourceL1
	})
}

// update writes a new version through the cache and publishes it.
func (n *node) update(k string) rec {
	n.t.Helper()
	r, err := n.tryUpdate(k)
	if err != nil {
		n.t.Errorf("write %s: %v", k, err)
	}
	return r
}

func (n *node) tryUpdate(k string) (r rec, err error) {
	err = n.Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		r = n.p.put(k)
		w.Publish(k, r)
		return nil
	})
	return r, err
}

// healthy waits until the node uses L2 again and has told it everything.
func (n *node) healthy() {
	n.t.Helper()
	i := 0
	testsync.Eventually(n.t, "the node has recovered", func() bool {
		i++
		_, _ = n.Get(context.Background(), fmt.Sprint("probe", i), n.p)
		s := n.Stats()
		return !s.Degraded && s.Pending == 0
	})
}

// within fails the test if f takes longer than limit, which is in seconds.
func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	d := time.Since(start)
	if d > limit {
		t.Errorf("%s took %v, want at most %v", what, d, limit)
	}
	t.Logf("%s: %v", what, d.Round(time.Millisecond))
}

// via returns the server's URL with another address, such as a proxy's.
func via(srv *testserver.RedisServer, addr string) string {
	u, err := url.Parse(srv.URL())
	if err != nil {
		panic(err)
	}
	u.Host = addr
	return u.String()
}

// commandCalls returns how often the server ran a command, by INFO commandstats.
func commandCalls(srv *testserver.RedisServer, name string) (n int) {
	fmt.Sscanf(srv.Info("commandstats")["cmdstat_"+name], "calls=%d,", &n)
	return n
}

// admitted waits until the server takes this Store's scripts: what is put there by
// hand from now on is not removed for having been there before.
func admitted(t testing.TB, s *redisl2.Store) {
	t.Helper()
	r := s.Acquire(context.Background(), []driver.LeaseRequest{{Key: prefix + "admitted", Lease: envelope.NewToken(), TTL: time.Millisecond}})
	if r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
}
