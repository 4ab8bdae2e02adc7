package aside_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// A loader that says "do not store" over a stale value: what it has loaded is the answer,
// not the stale value; and nothing of it is kept, so the next read loads too. The stale
// value stays for when loads fail. Caught: the stale value as the answer.
func TestDoNotStoreOverAStaleValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL, o.StaleFor = 10*time.Second, time.Second, time.Hour })
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(20 * time.Second)
		p.put("k") // past the cache
		unstored := aside.EntryLoaderFunc[string, rec](func(ctx context.Context, k string, _ aside.Previous[rec]) (aside.Loaded[rec], error) {
			r, err := p.Load(ctx, k)
			return aside.Loaded[rec]{Value: r, NoStore: true}, err
		})
		for range 2 {
			r, err := n.Read(t.Context(), "k", unstored, aside.Default)
			if err != nil || r.Value.Version != 2 || r.Stale || r.Source != aside.SourceLoad {
				t.Errorf("%+v, %v; want version 2 from a load", r, err)
			}
			synctest.Wait()
		}
		_ = n.Close(t.Context())
	})
}
