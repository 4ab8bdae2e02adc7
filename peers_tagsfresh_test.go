package aside_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// A refresh stores the tags that its own load says: those of before count no more.
// Caught: a refreshed record that kept the tags of the load before.
func TestTagsOfARefresh(t *testing.T) {
	for _, l2 := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			n := refreshedTagNode(t, l2)
			n.tags = []string{"a"}
			n.wants("k", 1, aside.SourceLoad, aside.Default)
			n.p.put("k") // past the cache
			n.tags = []string{"c"}
			time.Sleep(9 * time.Second)
			n.wants("k", 1, aside.SourceL1, aside.Default) // begins the refresh
			if r, err := n.Read(t.Context(), "k", n, aside.Default); err != nil || r.Value.Version != 2 || r.Source == aside.SourceLoad {
				t.Errorf("with L2 %v, refreshed: %+v, %v", l2, r, err)
			}
			synctest.Wait()
			n.invalidates("a")
			n.wants("k", 2, aside.SourceL1, aside.Default)
			n.invalidates("c")
			n.wants("k", 2, aside.SourceLoad, aside.Default)
			if loads := n.p.reads.Load(); loads != 3 {
				t.Errorf("with L2 %v: %d loads, want 3", l2, loads)
			}
			_ = n.Close(t.Context())
		})
	}
}

// A background load that has read before an invalidation of its tag does not bring the
// record back, whatever began it: an entry that is due, one past its TTL, or a soft
// timeout. Nor does the value that its lease carries answer after the invalidation.
// Caught: a background load whose tags counted from its end.
func TestBackgroundLoadFromBeforeInvalidateTag(t *testing.T) {
	for name, age := range map[string]time.Duration{"due": 9 * time.Second, "stale while revalidate": 12 * time.Second, "soft timeout": 25 * time.Second} {
		for _, l2 := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				n := refreshedTagNode(t, l2)
				n.wants("k", 1, aside.SourceLoad, aside.Default)
				time.Sleep(age)
				hold := make(chan struct{})
				n.p.mu.Lock()
				n.p.afterRead = func(string) { <-hold }
				n.p.mu.Unlock()
				if r, err := n.Read(t.Context(), "k", n, aside.Default); err != nil || r.Value.Version != 1 {
					t.Errorf("%s, with L2 %v: %+v, %v; want version 1", name, l2, r, err)
				}
				synctest.Wait()
				if loads := n.p.reads.Load(); loads != 2 {
					t.Errorf("%s, with L2 %v: %d loads, want the one in the background", name, l2, loads)
				}
				n.p.put("k") // past the cache: the load has read version 1
				n.invalidates("t")
				n.p.mu.Lock()
				n.p.afterRead = nil
				n.p.mu.Unlock()
				late := make(chan aside.Result[rec], 1)
				go func() {
					r, _ := n.Read(context.Background(), "k", n, aside.Default)
					late <- r
				}()
				synctest.Wait()
				close(hold)
				if r := <-late; r.Value.Version != 2 || r.Stale {
					t.Errorf("%s, with L2 %v: after the invalidation %+v, want version 2", name, l2, r)
				}
				synctest.Wait()
				for _, mode := range []aside.Mode{aside.Default, aside.Strong} {
					if r, err := n.Read(t.Context(), "k", n, mode); err != nil || r.Value.Version != 2 {
						t.Errorf("%s, with L2 %v, mode %d: %+v, %v; want version 2", name, l2, mode, r, err)
					}
					synctest.Wait()
				}
				_ = n.Close(t.Context())
			})
		}
	}
}

// refreshedTagNode keeps a record for 10 s, refreshes it in the last 4, gives it as stale
// at once for 10 s more, and after 100 ms for a minute.
func refreshedTagNode(t *testing.T, l2 bool) tagNode {
	var s *asidetest.Server
	if l2 {
		s = &asidetest.Server{}
	}
	return newTagNode(t, newPrimary("k"), s, func(o *options) {
		o.TTL, o.RefreshAhead, o.StaleWhileRevalidate = 10*time.Second, 0.4, 10*time.Second
		o.StaleFor, o.SoftTimeout = time.Minute, 100*time.Millisecond
	})
}
