package l1

import (
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The times of an entry come back as they were packed, but for what a long one loses.
// Caught: a shift that is one too small for the number of bits.
func TestPack(t *testing.T) {
	for range 10_000 {
		attention, last := rand.Uint64N(maxMoment+1), rand.Uint64N(maxMoment)>>rand.IntN(39)
		e := Entry[int]{meta: pack(attention, attention+last, flagKept)}
		fresh := min(attention+last, maxMoment)
		if got := e.fresh(); e.attention() != attention || got > fresh || fresh-got > (fresh-attention)>>15 || e.meta&(1<<flagBits-1) != flagKept {
			t.Fatalf("packed %d, %d: attention %d, fresh %d, flags %b", attention, fresh, e.attention(), got, e.meta&(1<<flagBits-1))
		}
	}
	if e := (Entry[int]{meta: pack(math.MaxUint64, math.MaxUint64, 0)}); e.attention() != maxMoment || e.fresh() != maxMoment {
		t.Errorf("%d, %d", e.attention(), e.fresh())
	}
}

// An entry is fresh for its TTL, however long it is kept after that as a stale one.
// Caught: a moment at which it is stale that is reckoned back from a rounded end.
func TestFreshHoweverLongItIsKept(t *testing.T) {
	for _, keep := range []time.Duration{time.Minute, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour, 365 * 24 * time.Hour} {
		for _, due := range []time.Duration{0, time.Second} {
			synctest.Test(t, func(t *testing.T) {
				tier := newTier(t, Config[string, int]{MaxEntries: 10, Keep: keep})
				defer tier.Close()
				life := Life{TTL: 10 * time.Second, Due: due, Keep: true}
				tier.Insert("k", tier.Generation("k"), 1, false, life)
				if tier.InsertAbsent("k", tier.Generation("k"), 0, false, life) {
					t.Errorf("keep %v: a fresh entry was replaced", keep)
				}
				time.Sleep(9 * time.Second)
				e, ok := tier.Get("k")
				if left := tier.Left(e); !ok || e.Stale() || e.Due() != (due > 0) || left < 900*time.Millisecond || left > 1100*time.Millisecond {
					t.Errorf("keep %v, due after %v, a second before the end: there %v, stale %v, due %v, %v left", keep, due, ok, e.Stale(), e.Due(), left)
				}
				time.Sleep(2 * time.Second)
				if _, past, ok := tier.Stale("k"); !ok || past < 900*time.Millisecond || past > 1100*time.Millisecond {
					t.Errorf("keep %v: a second after the end: there %v, for %v", keep, ok, past)
				}
				if kept := tier.end(e) - e.fresh(); kept != moments(keep) {
					t.Errorf("keep %v: kept for %v", keep, time.Duration(kept<<unit))
				}
			})
		}
	}
}

// One hit of an entry that is due is told so, and again when half of its time has
// passed without a new one. Hits are counted once.
// Caught: each hit is told; the engine's own count of the claim.
func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, Config[string, int]{MaxEntries: 10})
		defer tier.Close()
		tier.Insert("k", tier.Generation("k"), 1, false, Life{TTL: 100 * time.Second, Due: 60 * time.Second})
		due := func() (n int) {
			for range 10 {
				e, ok := tier.Get("k")
				if !ok || e.Value != 1 || e.Stale() || e.Plain() == e.Due() {
					t.Errorf("%+v, %v", e, ok)
				}
				if e.Due() {
					n++
				}
			}
			return n
		}
		for _, step := range []struct {
			after time.Duration
			want  int
		}{{59 * time.Second, 0}, {2 * time.Second, 1}, {15 * time.Second, 0}, {10 * time.Second, 1}} {
			time.Sleep(step.after)
			if n := due(); n != step.want {
				t.Errorf("%v later: due %d times, want %d", step.after, n, step.want)
			}
		}
		if n := tier.Stats().Hits; n != 40 {
			t.Errorf("%d hits, want 40", n)
		}
		time.Sleep(15 * time.Second)
		if e, ok := tier.Get("k"); ok {
			t.Errorf("after its end: %+v", e)
		}
	})
}

// Past its TTL an entry answers hits for a while, marked, and is kept for longer.
// Caught: an entry that nothing says to keep; a hit that is not marked; an insertion of
// one that is absent, refused because of a stale one.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, Config[string, int]{MaxEntries: 10, Keep: time.Minute, Revalidate: 10 * time.Second})
		defer tier.Close()
		for k, life := range map[string]Life{
			"kept":  {TTL: time.Minute, Keep: true},
			"other": {TTL: time.Minute},
			"due":   {TTL: time.Minute, Due: 30 * time.Second, Keep: true},
		} {
			tier.Insert(k, tier.Generation(k), 1, false, life)
		}
		tier.Insert("absent", tier.Generation("absent"), 0, true, Life{TTL: time.Minute, Keep: true})
		want := func(k string, hit, stale, there bool) {
			t.Helper()
			e, ok := tier.Get(k)
			if ok != hit || e.Stale() != stale {
				t.Errorf("%s: hit %v, stale %v; want %v, %v", k, ok, e.Stale(), hit, stale)
			}
			if e, past, ok := tier.Stale(k); ok != there || ok && (e.Value != 1 || past > time.Minute) {
				t.Errorf("%s: there %v, past %v, %+v; want %v", k, ok, past, e, there)
			}
		}
		time.Sleep(65 * time.Second)
		want("kept", true, true, true)
		want("due", true, true, true)
		for k := range tier.All() {
			t.Errorf("%s is among what is fresh", k)
		}
		want("other", false, false, false)
		want("absent", false, false, false)
		time.Sleep(20 * time.Second)
		want("kept", false, false, true)
		if !tier.InsertAbsent("due", tier.Generation("due"), 2, false, Life{TTL: time.Minute}) {
			t.Error("a stale entry is in the way")
		}
		time.Sleep(40 * time.Second)
		want("kept", false, false, false)
		tier.Insert("kept", tier.Generation("kept"), 1, false, Life{TTL: time.Minute, Keep: true})
		tier.Invalidate("kept")
		want("kept", false, false, false)
	})
}

// A hit that claims the refresh of an entry does not bring the entry back that an
// invalidation drops meanwhile. Caught: a look, and then a Set.
func TestClaimAndInvalidateRace(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 100})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !stop.Load() {
				if n := tier.find("k"); n != nil {
					n.claim(n.entry(), 0, 1_000_000)
				}
			}
		})
	}
	for i := range 20_000 {
		tier.Insert("k", tier.Generation("k"), i, false, Life{TTL: time.Hour, Due: time.Nanosecond})
		tier.Invalidate("k")
		if e, ok := tier.Peek("k"); ok {
			t.Fatalf("round %d: %+v survived its invalidation", i, e)
		}
	}
	stop.Store(true)
	wg.Wait()
}
