package redisl2_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// tagged is a record with a number that only grows.
type tagged struct{ N int64 }

// tagStore is a primary whose records are changed past the cache, and then invalidated by
// their tag: k has the tag k%8.
type tagStore struct{ n [64]atomic.Int64 }

func tagOf(k int) string { return fmt.Sprint("tag", k%8) }

func (p *tagStore) loader() aside.EntryLoader[int, tagged] {
	return aside.EntryLoaderFunc[int, tagged](func(_ context.Context, k int, _ aside.Previous[tagged]) (aside.Loaded[tagged], error) {
		return aside.Loaded[tagged]{Value: tagged{p.n[k].Load()}, Tags: []string{tagOf(k), "all"}}, nil
	})
}

func newTagCache(t testing.TB, p *tagStore, s *redisl2.Store, change ...func(*aside.Options[int, tagged])) *aside.Cache[int, tagged] {
	o := aside.Options[int, tagged]{Name: "tagged", L2: s, Loader: p.loader(), L2Timeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	c, err := aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// Many nodes read and invalidate at random, on one server and on a cluster. A strong read
// that begins after an invalidation was acknowledged on any node, and a default read on
// the node that made it, is not older. Reads of one key on one node do not go back.
func TestTagsAtRandom(t *testing.T) {
	t.Parallel()
	servers := map[string]string{"one server": testserver.Redis(t).URL()}
	if !testing.Short() {
		servers["cluster"] = testserver.Cluster(t, 3).URL()
	}
	for name, url := range servers {
		t.Run(name, func(t *testing.T) {
			p := &tagStore{}
			var nodes []*aside.Cache[int, tagged]
			for range 3 {
				nodes = append(nodes, newTagCache(t, p, open(t, redisl2.Options{URL: url})))
			}
			var acked [8]atomic.Int64 // the number that every later strong read must see at least, by tag
			var mu [8]sync.Mutex
			var reads, loads atomic.Int64
			var running sync.WaitGroup
			began := time.Now()
			goesOn := func() bool {
				took := time.Since(began)
				return took < 3*time.Second || reads.Load() < 1000 && took < time.Minute
			}
			for w := range 9 {
				n := nodes[w%3]
				running.Go(func() {
					own := [8]int64{}
					for goesOn() {
						k := rand.IntN(64)
						tag := k % 8
						if rand.IntN(20) == 0 {
							mu[tag].Lock()
							v := p.n[tag].Load() + 1
							for i := tag; i < 64; i += 8 {
								p.n[i].Store(v)
							}
							if err := n.InvalidateTag(t.Context(), tagOf(k)); err != nil {
								t.Error(err)
							}
							acked[tag].Store(v)
							own[tag] = v
							mu[tag].Unlock()
							// Before the other node is told, if it is to be.
							if r, err := nodes[(w+1)%3].Read(t.Context(), k, nil, aside.Strong); err != nil || r.Value.N < v {
								t.Errorf("key %d, right after the invalidation on another node: %d from %v, want at least %d; %v", k, r.Value.N, r.Source, v, err)
							}
							continue
						}
						mode, want := aside.Default, own[tag]
						if rand.IntN(3) == 0 {
							mode, want = aside.Strong, acked[tag].Load()
						}
						r, err := n.Read(t.Context(), k, nil, mode)
						if err != nil || r.Value.N < want {
							t.Errorf("key %d, mode %v: %d from %v, want at least %d; %v", k, mode, r.Value.N, r.Source, want, err)
							return
						}
						reads.Add(1)
						if r.Source == aside.SourceLoad {
							loads.Add(1)
						}
					}
				})
			}
			running.Wait()
			t.Logf("%d reads, %d loads", reads.Load(), loads.Load())
			if reads.Load() < 1000 {
				t.Errorf("%d reads", reads.Load())
			}
		})
	}
}

// A node whose connections are cut for good while another invalidates sees it within
// SilenceTimeout, and a Redis that restarts brings nothing back.
func TestTagsAfterLostConnections(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := &tagStore{}
	a := newTagCache(t, p, open(t, redisl2.Options{URL: srv.URL()}))
	b := newTagCache(t, p, open(t, redisl2.Options{URL: srv.URL()}))
	get := func(c *aside.Cache[int, tagged], mode aside.Mode) int64 {
		t.Helper()
		r, err := c.Read(t.Context(), 1, nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		return r.Value.N
	}
	for i := range int64(5) {
		get(a, aside.Default)
		get(b, aside.Default)
		switch i {
		case 1:
			srv.KillClients("aside")
		case 2:
			srv.Do("FLUSHALL")
		case 3:
			srv.Do("UNLINK", "aside:tagged:tags:table")
		case 4:
			srv.Do("SAVE")
			srv.RestartFromSnapshot()
		}
		p.n[1].Store(i + 1)
		testsync.Eventually(t, "a invalidates", func() bool { return a.InvalidateTag(t.Context(), tagOf(1)) == nil })
		testsync.Eventually(t, "a's pending tags are told", func() bool { return a.Stats().Pending == 0 && !a.Stats().Degraded })
		if n := get(a, aside.Default); n != i+1 {
			t.Errorf("round %d: a has %d", i, n)
		}
		if n := get(b, aside.Strong); n != i+1 {
			t.Errorf("round %d: b has %d in a strong read", i, n)
		}
		testsync.Eventually(t, "b is told", func() bool { return get(b, aside.Default) == i+1 })
	}
}
