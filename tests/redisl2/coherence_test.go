package redisl2_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// The server tells a node of its own changes too, where it tracks the key for the
// node. What the node loads and writes it does not track before, so that what it
// stores stays in its L1.
// Caught: scripts that look with GET have every fill pushed back.
func TestOwnOperationsDoNotEmptyOwnL1(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	many, single, written := numbered("many", 8000), numbered("single", 2000), numbered("written", 500)
	p := newPrimary(slices.Concat(many, single)...)
	tap := newTap(t, srv)
	n := newNode(t, p, tap.url(), func(o *options) { o.L1Size = 100_000 })
	for batch := range slices.Chunk(many, 100) {
		if _, err := n.GetMany(context.Background(), batch, p); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range single {
		n.read(k, aside.Default)
	}
	for _, k := range written {
		n.update(k)
	}
	n.warm(many[len(many)-1]) // the last fills are made off the readers' path
	n.warm(single[len(single)-1])
	tap.forget()
	for _, k := range slices.Concat(many, single, written) {
		n.want(k, 1, aside.SourceL1)
	}
	tap.want()
	if s := n.Stats(); s.Invalidations != 0 || s.L1Flushes != 0 || s.FillsRefused != 0 {
		t.Errorf("%d invalidations, %d flushes, %d fills refused by own operations alone", s.Invalidations, s.L1Flushes, s.FillsRefused)
	}
	if got, want := p.reads.Load(), int64(len(many)+len(single)); got != want {
		t.Errorf("%d records were read for %d keys", got, want)
	}
}

// yield gives way to other goroutines for a random while, so that loads, fills
// and writes interleave in many ways.
func yield() {
	for range rand.N(300) {
		runtime.Gosched()
	}
}

// Caught: fill.lua that stores whatever has become of the lease; a strong read
// that takes the result of a load whose fill was accepted before the write but
// answered after it (once in some runs; the root package forces it).
func TestStrongReadsSeeEveryAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	keys := numbered("k", 5)
	p := newPrimary(keys...)
	p.afterRead = func(string) { yield() }
	nodes := []*node{newNode(t, p, srv.URL()), newNode(t, p, srv.URL())}

	// Readers of both levels, so that fills, waits and pushes are always under way.
	ctx, stop := context.WithCancel(context.Background())
	var noise sync.WaitGroup
	for i := range 12 {
		noise.Go(func() {
			for ctx.Err() == nil {
				_, _ = nodes[i%2].Read(ctx, keys[rand.N(len(keys))], p, aside.Mode(i/2%2))
				yield()
			}
		})
	}
	var rounds sync.WaitGroup
	for _, k := range keys {
		rounds.Go(func() {
			for left := 400; left > 0; left-- {
				writer := rand.N(2)
				var r rec
				err := nodes[writer].Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
					r = p.put(k)
					if rand.N(3) == 0 {
						w.Publish(k, r)
					}
					return nil
				})
				if err != nil {
					t.Errorf("write: %v", err)
				}
				if yield(); rand.N(3) > 0 {
					continue // the next write meets the loads that this one caused
				}
				for _, reader := range []int{1 - writer, rand.N(2)} {
					if v, i := nodes[reader].read(k, aside.Strong); v != r.Version {
						t.Errorf("stale: %s is at version %d on node %d (from %v), after version %d was acknowledged on node %d", k, v, reader, i.Source, r.Version, writer)
					}
					yield()
				}
				if v, i := nodes[writer].read(k, aside.Default); v < r.Version {
					t.Errorf("stale: %s is at version %d (from %v) on the node that wrote %d", k, v, i.Source, r.Version)
				}
			}
		})
	}
	rounds.Wait()
	stop()
	noise.Wait()
	refused := uint64(0)
	for i, n := range nodes {
		s := n.Stats()
		refused += s.FillsRefused
		t.Logf("node %d: %d loads, %d L2 hits, %d fills refused, %d published, %d invalidations", i, s.Loads, s.HitsL2, s.FillsRefused, s.Published, s.Invalidations)
		if s.L2Errors != 0 {
			t.Errorf("%d L2 errors: what was tested is not what was meant", s.L2Errors)
		}
	}
	if refused == 0 {
		t.Error("no fill met a write: what was tested is not what was meant")
	}
}

// Caught: fill.lua without the EXISTS, after which the node that filled the key
// is never told of a change.
func TestDefaultReadsSeeWritesOnceTheyArePushed(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	a, b := newNode(t, p, srv.URL()), newNode(t, p, srv.URL())
	var lags []time.Duration
	for range 300 {
		b.warm("k")
		r := a.update("k")
		acked := time.Now()
		testsync.Eventually(t, "the write is seen on the other node", func() bool {
			for range 1000 {
				if v, _ := b.read("k", aside.Default); v == r.Version {
					return true
				}
				runtime.Gosched()
			}
			return false
		})
		lags = append(lags, time.Since(acked))
	}
	slices.Sort(lags)
	t.Logf("from the acknowledgement on one node to the first default read that sees it on another: p50 %v, p99 %v, max %v",
		lags[len(lags)/2], lags[len(lags)*99/100], lags[len(lags)-1])
	if s := b.Stats(); s.Invalidations < 300 {
		t.Errorf("%d invalidations for 300 foreign writes", s.Invalidations)
	}
}

// silence is the bound that the tests set; slack is for a busy machine.
const (
	silence = time.Second
	slack   = 10 * time.Second
)

// Whatever ends the tracking, L1 is not trusted beyond the stated bound. In
// each case the record changes where the node cannot hear of it, and L1's own
// TTL of a minute is no help.
// Caught: watchers.invalidated ignoring nil; a KeepAlive of a minute, for the
// silent ones.
func TestL1IsEmptiedWhenTrackingIsLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		silent bool
		lose   func(srv *testserver.RedisServer, proxy *testserver.Proxy)
	}{
		{"FLUSHALL", false, func(srv *testserver.RedisServer, _ *testserver.Proxy) { srv.Do("FLUSHALL") }},
		{"CLIENT KILL", false, func(srv *testserver.RedisServer, _ *testserver.Proxy) {
			if srv.KillClients("aside") == 0 {
				panic("no clients to kill")
			}
		}},
		{"server killed", false, func(srv *testserver.RedisServer, _ *testserver.Proxy) { srv.Kill() }},
		{"connection cut", false, func(_ *testserver.RedisServer, proxy *testserver.Proxy) { proxy.Cut() }},
		{"silent connection", true, func(_ *testserver.RedisServer, proxy *testserver.Proxy) { proxy.Silence() }},
		{"silent replies", true, func(_ *testserver.RedisServer, proxy *testserver.Proxy) { proxy.SilenceReplies() }},
		{"server stopped", true, func(srv *testserver.RedisServer, _ *testserver.Proxy) { srv.Pause() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := testserver.Redis(t)
			proxy := testserver.Toxiproxy(t, srv.Addr())
			keys := numbered("k", 20)
			p := newPrimary(keys...)
			n := newNodeOn(t, p, open(t, redisl2.Options{URL: via(srv, proxy.Addr()), SilenceTimeout: silence}), &testsync.Buffer{}, impatient)
			for _, k := range keys {
				n.warm(k)
			}
			c.lose(srv, proxy)
			for _, k := range keys {
				p.put(k) // a write of a node that reaches Redis where this one does not
			}
			limit := slack
			if c.silent {
				limit += silence
			}
			within(t, limit, "until L1 is empty", func() {
				testsync.Eventually(t, "no key is answered by the old L1", func() bool {
					for _, k := range keys {
						if r, _ := n.Read(context.Background(), k, p, aside.Default); r.Source == aside.SourceL1 && r.Value.Version == 1 {
							return false
						}
					}
					return true
				})
			})
			if n.Stats().L1Flushes == 0 {
				t.Error("L1 was emptied by something else than the loss")
			}
		})
	}
}

// An entry that the server drops on its own leaves L1 as well.
// Caught: tracking with OPTIN, which tracks nothing here.
func TestL1FollowsTheServersExpiryAndEviction(t *testing.T) {
	t.Parallel()
	t.Run("expiry", func(t *testing.T) {
		t.Parallel()
		srv := testserver.Redis(t)
		p := newPrimary("k")
		n := newNode(t, p, srv.URL(), func(o *options) { o.TTL, o.L1TTL = 200*time.Millisecond, minute })
		n.warm("k")
		p.put("k")
		testsync.Eventually(t, "the node hears of the expiry", func() bool { return n.Stats().Invalidations > 0 })
		n.want("k", 2, aside.SourceLoad)
	})
	t.Run("eviction", func(t *testing.T) {
		t.Parallel()
		srv := testserver.Redis(t, "--maxmemory-policy", "allkeys-lru")
		keys := numbered("k", 300)
		p := newPrimary(keys...)
		n := newNode(t, p, srv.URL())
		if _, err := n.GetMany(context.Background(), keys, p); err != nil {
			t.Fatal(err)
		}
		n.warm(keys[len(keys)-1])
		srv.Do("CONFIG", "SET", "maxmemory", "1")
		testsync.Eventually(t, "the node hears of evictions", func() bool { return n.Stats().Invalidations > 100 })
	})
}

// restricted returns the URL of a user who may do what a cache needs, and nothing
// that Redis calls dangerous, such as INFO.
func restricted(srv *testserver.RedisServer) string {
	srv.Do("ACL", "SETUSER", "cache", "on", ">secret", "~*", "&*", "+@all", "-@dangerous")
	return as("cache", srv.URL())
}

// The server drops a key to make room for a command of the very node that has it
// in L1, and tells that node as it tells others: what another node then writes is
// seen, and L1 as a whole is kept.
// Caught: with NOLOOP version 1 stays in L1 until its TTL ends.
func TestEvictionByOwnCommandIsTold(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"all rights", "no INFO"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			srv := testserver.Redis(t, "--maxmemory-policy", "allkeys-lru")
			url := srv.URL()
			if user == "no INFO" {
				url = restricted(srv)
			}
			keys := numbered("k", 500)
			p := newPrimary(keys...)
			n, other := newNode(t, p, url), newNode(t, p, srv.URL())
			for _, k := range keys {
				n.warm(k)
			}
			srv.Do("CONFIG", "SET", "maxmemory", srv.Info("memory")["used_memory"]) // whatever asks for more evicts
			for _, k := range numbered("filler", 2000) {                            // absences, with entries of their own
				_, _ = n.Read(context.Background(), k, p, aside.Strong)
			}
			srv.Do("CONFIG", "SET", "maxmemory", "0")
			evicted := srv.Info("stats")["evicted_keys"]
			if evicted == "0" {
				t.Fatal("nothing was evicted")
			}
			for _, k := range keys {
				other.update(k)
			}
			for _, k := range keys {
				testsync.Eventually(t, "the node reads what the other wrote", func() bool { v, _ := n.read(k, aside.Default); return v == 2 })
			}
			if s := n.Stats(); s.L1Flushes != 0 {
				t.Errorf("L1 was emptied %d times", s.L1Flushes)
			} else {
				t.Logf("%s keys evicted, %d invalidations", evicted, s.Invalidations)
			}
		})
	}
}

// The server tracks no more keys than tracking-table-max-keys. What it forgets for
// a key that the node reads it tells that node.
// Caught: with NOLOOP most of the keys stay at version 1 until L1's TTL ends.
func TestOverflowOfTheTrackingTableIsTold(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t, "--tracking-table-max-keys", "1000")
	keys := numbered("k", 3000)
	p := newPrimary(keys...)
	n, other := newNode(t, p, srv.URL()), newNode(t, p, srv.URL(), func(o *options) { o.L1Size = -1 })
	if _, err := other.GetMany(context.Background(), keys, p); err != nil {
		t.Fatal(err)
	}
	other.inL2(keys[len(keys)-1])
	for _, k := range keys {
		n.read(k, aside.Default)
	}
	for _, k := range keys {
		other.update(k)
	}
	for _, k := range keys {
		testsync.Eventually(t, "the node reads what the other wrote", func() bool { v, _ := n.read(k, aside.Default); return v == 2 })
	}
	if s := n.Stats(); s.L1Flushes != 0 || s.Invalidations < 2000 {
		t.Errorf("%d invalidations, L1 emptied %d times: what was tested is not what was meant", s.Invalidations, s.L1Flushes)
	}
}

// Two caches share a Store, and a third its keys: each hears of its own alone.
// Caught: pushes handed to every watcher.
func TestCachesOfOneStoreAreApart(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	s := open(t, redisl2.Options{URL: srv.URL()})
	x := newNodeOn(t, p, s, &testsync.Buffer{}, func(o *options) { o.Name = "x" })
	y := newNodeOn(t, p, s, &testsync.Buffer{}, func(o *options) { o.Name = "y" })
	other := newNode(t, p, srv.URL(), func(o *options) { o.Name = "x" })
	for _, n := range []*node{x, y} {
		n.warm("k")
	}
	other.update("k")
	testsync.Eventually(t, "x hears", func() bool { return x.Stats().Invalidations == 1 })
	y.want("k", 1, aside.SourceL1)
	if _, err := aside.New(options{Name: "x", L2: s}); err == nil {
		t.Error("two caches of one name on one Store: they would not hear of each other's writes")
	}
}

// Keys are taken as they are: whatever has a meaning in Redis's glob patterns,
// hash tags or protocol must not matter. Caught: a push's key cut at its last
// colon.
var oddKeys = []string{
	"{a}b", "a{b}", "{}", "{", "}{", "a b", "a\tb\nc\r\n", "a:b:c", "", "*", "?[x]\\", "日本語", "\x00\xff\xfe",
	fmt.Sprintf("%0256d", 7), "L", "F0", "'\"",
}

func TestOddKeys(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	checkOddKeys(t, srv.URL())
}

// checkOddKeys needs the keys pushed back as they were sent.
func checkOddKeys(t *testing.T, url string) {
	t.Helper()
	p := newPrimary(oddKeys...)
	a, b := newNode(t, p, url), newNode(t, p, url)
	for _, k := range oddKeys {
		a.warm(k)
		b.warm(k)
		b.update(k)
		testsync.Eventually(t, fmt.Sprintf("the push for %q", k), func() bool { v, _ := a.read(k, aside.Default); return v == 2 })
	}
	if err := a.Clear(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, k := range oddKeys {
		testsync.Eventually(t, fmt.Sprintf("%q is cleared", k), func() bool {
			r, err := b.Read(context.Background(), k, p, aside.Strong)
			return err == nil && r.Source == aside.SourceLoad
		})
	}
}
