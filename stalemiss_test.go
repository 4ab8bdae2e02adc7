package aside_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

// Info.Miss tells a record that is past its TTL from one that is not there: where the old
// value answers, and where the record is loaded.
// Caught: "absent" and "no L2" for a load, nothing for an old value.
func TestMissStale(t *testing.T) {
	for _, s := range []*asidetest.Server{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			p := newPrimary("k")
			n := newNode(t, p, s, func(o *options) { o.TTL, o.StaleWhileRevalidate, o.StaleFor = time.Minute, 10*time.Second, time.Hour })
			tier, first := aside.SourceL2, aside.MissAbsent
			if s == nil {
				tier, first = aside.SourceL1, aside.MissNoL2
			}
			want := func(mode aside.Mode, from aside.Source, stale bool, miss aside.Miss) {
				t.Helper()
				r, err := n.Read(t.Context(), "k", p, mode)
				if err != nil || r.Source != from || r.Stale != stale || r.Miss != miss {
					t.Errorf("%+v, %v; want miss %v from %v", r.Info, err, miss, from)
				}
				synctest.Wait()
			}
			want(aside.Default, aside.SourceLoad, false, first)
			want(aside.Default, aside.SourceL1, false, aside.MissNone)
			time.Sleep(65 * time.Second)
			want(aside.Default, tier, true, aside.MissStale) // revalidated
			if r, err := n.Read(t.Context(), "k", p, aside.Default); err != nil || r.Source == aside.SourceLoad || r.Stale || r.Miss != aside.MissNone {
				t.Errorf("%+v, %v", r.Info, err)
			}
			synctest.Wait()
			time.Sleep(2 * time.Minute)
			want(aside.Default, aside.SourceLoad, false, aside.MissStale)
			time.Sleep(2 * time.Minute)
			want(aside.Strong, aside.SourceLoad, false, aside.MissStale)
			time.Sleep(2 * time.Minute)
			want(aside.Refresh, aside.SourceLoad, false, aside.MissRefresh)
			time.Sleep(2 * time.Minute)
			p.fail(errDown)
			want(aside.Default, tier, true, aside.MissStale)
			_ = n.Close(t.Context())
		})
	}
}

// A load that never began, since its callers have left the queue for a slot, is no failed
// load. Caught: for FailedFor, all were answered with the stale value.
func TestDroppedLoadIsNoFailure(t *testing.T) {
	for _, s := range []*asidetest.Server{nil, {}} {
		synctest.Test(t, func(t *testing.T) {
			p := newGated("k", "busy")
			n := newNode(t, p.primary, s, func(o *options) {
				o.MaxLoads, o.TTL, o.StaleFor, o.FailedFor = 1, 10*time.Second, time.Hour, 30*time.Second
			})
			defer closeAll(n)
			n.read("k", aside.Default)
			synctest.Wait()
			time.Sleep(11 * time.Second)
			p.put("k")
			open := p.shut()
			busy := testsync.Async(func() got { return get(n, p, "busy", aside.Default) })
			synctest.Wait()
			ctx, leave := context.WithCancel(t.Context())
			left := testsync.Async(func() error { _, err := n.Get(ctx, "k", p); return err })
			synctest.Wait()
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			synctest.Wait() // its load is dropped
			open()
			<-busy
			synctest.Wait()
			if r, err := n.Read(t.Context(), "k", p, aside.Default); err != nil || r.Stale || r.Value.Version != 2 {
				t.Errorf("L2 %v: version %d, stale %v, %v", s != nil, r.Value.Version, r.Stale, err)
			}
		})
	}
}
