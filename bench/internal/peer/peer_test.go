package peer

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"

	"github.com/asidecache/aside/bench/internal/record"
)

const (
	patience = 20 * time.Second
	attempts = 20
)

var runs atomic.Int64

// TestPeers: with each peer a first read is a miss, a later one a hit, and a
// read after a write sees it. So what the tables measure is a cache that works.
//
// Caught: an adapter that did not hand its loader on; a Write that did not
// invalidate; a fill under another key.
func TestPeers(t *testing.T) {
	server := testserver.Redis(t)
	seen := map[string]bool{}
	for _, p := range All() {
		if p.ID == "" || p.Name == "" || seen[p.ID] {
			t.Errorf("peer %q (%s) has no ID or name of its own", p.ID, p.Name)
		}
		seen[p.ID] = true
		t.Run(p.ID, func(t *testing.T) {
			if found, err := Find(p.ID); err != nil || found.Name != p.Name {
				t.Fatalf("found %q, %v", found.Name, err)
			}
			ctx := context.Background()
			primary := new(record.Primary)
			c, err := p.Open(ctx, Env{Redis: server.Addr(), Load: primary.Load, TTL: time.Minute, Capacity: 100})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			key := fmt.Sprintf("%s:%d", p.ID, runs.Add(1)) // one FreeCache serves the whole process
			get := func() (version int64) {
				t.Helper()
				r, err := c.Get(ctx, key)
				if err != nil {
					t.Fatal(err)
				}
				if w, ok := c.(Waiter); ok {
					w.Wait()
				}
				switch {
				case p.Raw && r == nil:
					return 0
				case p.Raw || r == nil || *r != *record.New(key, r.Version):
					t.Fatalf("read %+v", r)
				}
				return r.Version
			}

			first := int64(1)
			if p.Raw {
				first = 0
			}
			if v, loads := get(), primary.Loads(); v != first || loads != 1 {
				t.Fatalf("the first read returned version %d after %d loads", v, loads)
			}
			testserver.Eventually(t, patience, "a read is a hit", func() bool {
				before := primary.Loads()
				return get() == first && primary.Loads() == before
			})

			if p.ID == "rockscache-request" {
				return // its refreshes end with the requests: what it is there to show
			}
			// Some libraries fill behind the answer, and what they fill may come
			// after the write and stay: then it is written once more.
			before := primary.Loads()
			seen := false
			for range attempts {
				if err := c.Write(ctx, key, func(context.Context) (*record.Todo, error) { return primary.Commit(key), nil }); err != nil {
					t.Fatal(err)
				}
				if seen = testsync.Poll(patience/attempts, func() bool {
					return get() == primary.Version(key) || p.Raw && primary.Loads() > before
				}); seen {
					break
				}
			}
			if !seen {
				t.Error("no read sees a write")
			}
			if p.ID != "aside-publish" && primary.Loads() == before {
				t.Error("the write was seen without a load")
			}
			if check, ok := c.(Checker); ok {
				if err := check.Check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if _, err := Find("none of them"); err == nil {
		t.Error("found a peer that there is not")
	}
}
