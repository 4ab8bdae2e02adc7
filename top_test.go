package aside_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

// Top names the keys that stand out, each with its figure, of the last minutes.
// Caught: each of the calls that count, left out; figures that never end.
func TestTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := newPrimary("hot", "slow", "big"), &asidetest.Server{}
		n := newNode(t, p, s, func(o *options) { o.TTL, o.L1TTL = time.Hour, time.Hour })
		began := time.Now()
		p.beforeRead = func(k string) {
			if k == "slow" {
				time.Sleep(time.Second)
			}
		}
		n.read("slow", aside.Default)
		ended := time.Now()
		for range 100 {
			n.read("hot", aside.Default)
		}
		for range 3 {
			n.read("big", aside.Strong)
		}
		p.mu.Lock()
		p.m["big"] = rec{Key: strings.Repeat("big", 100), Version: 2}
		p.mu.Unlock()
		for range 2 {
			n.update("slow")
		}
		if err := n.Write(t.Context(), "big", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
			w.Publish("big", rec{Key: strings.Repeat("big", 100), Version: 2})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()

		top := n.Top(2)
		if !top.Since.Equal(began) && top.Since.Sub(began) > time.Second {
			t.Errorf("since %v", top.Since)
		}
		if k := top.Hottest[0]; k.Key != "hot" || k.Count < 90 || k.Count > 110 {
			t.Errorf("hottest: %+v", top.Hottest)
		}
		if k := top.Slowest[0]; k.Key != "slow" || k.Took != time.Second || !k.At.Equal(ended) {
			t.Errorf("slowest: %+v", top.Slowest)
		}
		if k := top.Biggest[0]; k.Key != "big" || k.Bytes < 300 || k.Bytes > 500 {
			t.Errorf("biggest: %+v", top.Biggest)
		}
		if k := top.Written[0]; k.Key != "slow" || k.Count != 2 || top.Written[1].Count != 1 {
			t.Errorf("written: %+v", top.Written)
		}
		if len(top.Hottest) != 2 || len(top.Slowest) != 2 || len(n.Top(-1).Hottest) != 0 {
			t.Errorf("%d hottest, %d slowest", len(top.Hottest), len(top.Slowest))
		}
		time.Sleep(5 * time.Minute)
		if top := n.Top(9); len(top.Hottest)+len(top.Slowest)+len(top.Biggest)+len(top.Written) != 0 {
			t.Errorf("after five minutes: %+v", top)
		}
	})
}

// Without L2 the biggest entries are those of the highest cost, and any type has a text.
func TestTopWithoutL2(t *testing.T) {
	type id struct{ A, B int }
	c, err := aside.New(aside.Options[any, int]{
		L1MaxCost: 1000, L1Cost: func(_ any, v int) uint32 { return uint32(v) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for i := range 3 {
		_, _ = c.Get(t.Context(), id{1, i}, aside.LoaderFunc[any, int](func(_ context.Context, k any) (int, error) { return 100 * k.(id).B, nil }))
	}
	if top := c.Top(1); top.Biggest[0].Key != "{1 2}" || top.Biggest[0].Bytes != 200 {
		t.Errorf("biggest: %+v", top.Biggest)
	}
}

// The figures for an operator. Caught: each of them, not counted.
func TestFiguresForAnOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		p, s := newPrimary("k", "other"), &asidetest.Server{}
		a, b := newNode(t, p, s), newNode(t, p, s)
		state := func(st aside.Stats) string {
			return fmt.Sprintf("%v, %q %v, %d %d %d", st.Breaker, st.DegradedCause, st.DegradedReason != "", st.Pending, st.PendingFences, st.PendingLeases)
		}
		want := func(n *node, want string) {
			t.Helper()
			if got := state(n.Stats()); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		want(a, `closed, "" false, 0 0 0`)
		if alone := newNode(t, p, nil); alone.Stats().Breaker != aside.BreakerNone {
			t.Error(state(alone.Stats()))
		}

		// one load, and who waits for it
		held := make(chan struct{})
		p.beforeRead = func(string) { <-held }
		for _, n := range []*node{a, a, a, b} {
			go n.read("k", aside.Default)
			synctest.Wait()
		}
		if st := a.Stats(); st.Flights != 1 || st.Waiting != 3 || st.LeasesNow != 0 {
			t.Errorf("a: %d flights, %d wait, %d leases", st.Flights, st.Waiting, st.LeasesNow)
		}
		if st := b.Stats(); st.Flights != 1 || st.LeasesNow != 1 || st.LeasesWaited != 0 {
			t.Errorf("b: %d flights, %d leases, %d waited", st.Flights, st.LeasesNow, st.LeasesWaited)
		}
		time.Sleep(time.Second)
		close(held)
		synctest.Wait()
		time.Sleep(time.Second)
		if st := a.Stats(); st.Flights != 0 || st.Waiting != 0 || st.Fills != 1 || st.EntriesStored != 1 || st.BytesStored == 0 {
			t.Errorf("a: %+v", st)
		}
		st, stored := b.Stats(), a.Stats().BytesStored
		if st.LeasesNow != 0 || st.LeasesWaited != 1 || st.LeaseTime < time.Second || st.LeaseTime > 1100*time.Millisecond {
			t.Errorf("b: %d waited for %v", st.LeasesWaited, st.LeaseTime)
		}
		if st.EntriesRead != 1 || st.BytesRead != stored {
			t.Errorf("b read %d entries, %d bytes; stored were %d", st.EntriesRead, st.BytesRead, stored)
		}
		a.update("k")
		if st := a.Stats(); st.EntriesStored != 2 || st.BytesStored < 2*stored-8 || st.Fills != 1 {
			t.Errorf("a stored %d entries, %d bytes", st.EntriesStored, st.BytesStored)
		}

		// L2 fails
		b.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Fill" {
				return nil
			}
			return errDown
		})
		_ = b.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return nil })
		want(b, `closed, "failing" true, 1 0 0`)
		for range 10 {
			_, _ = b.Get(ctx, "other", p)
			time.Sleep(2 * time.Second) // longer than DegradedL1TTL
		}
		if st := b.Stats(); st.Breaker == aside.BreakerClosed || st.L2ErrorsBy["fence"] != 1 || st.L2ErrorsBy["release"] == 0 || st.L2ErrorsBy["acquire"] == 0 || st.L2ErrorsBy["ping"] == 0 || len(st.L2ErrorsBy) != 13 {
			t.Errorf("%v, errors %v", st.Breaker, st.L2ErrorsBy)
		} else {
			sum := uint64(0)
			for _, n := range st.L2ErrorsBy {
				sum += n
			}
			if sum != st.L2Errors {
				t.Errorf("%d errors, %d by operation", st.L2Errors, sum)
			}
			if st.Overdue < 19*time.Second || st.Overdue > 21*time.Second {
				t.Errorf("overdue for %v", st.Overdue)
			}
		}
		b.conn.Intercept(nil)
		time.Sleep(10 * time.Second)
		want(b, `closed, "" false, 0 0 0`)
		if st := b.Stats(); st.Overdue != 0 {
			t.Errorf("overdue for %v", st.Overdue)
		}
		_ = b.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { return errDown })
		want(b, `closed, "" false, 0 1 0`)
	})
}
