package l1

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/internal/gate"
)

func newTier(t *testing.T, c Config[string, int]) *Tier[string, int] {
	t.Helper()
	tier, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tier.Close)
	return tier
}

// Caught: an Insert that does not look at the generation.
func TestInsertIsRefusedAfterAnInvalidation(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 10})
	for name, invalidate := range map[string]func(){
		"Invalidate": func() { tier.Invalidate("k") },
		"Flush":      tier.Flush,
	} {
		gen := tier.Generation("k")
		invalidate()
		if tier.Insert("k", gen, 1, false, time.Minute) {
			t.Errorf("%s: an insert requested before it was accepted", name)
		}
		if !tier.Insert("k", tier.Generation("k"), 2, false, time.Minute) {
			t.Errorf("%s: an insert requested after it was refused", name)
		}
		if e, ok := tier.Get("k"); !ok || e.Value != 2 {
			t.Errorf("%s: got %+v, %v", name, e, ok)
		}
		invalidate()
		if _, ok := tier.Get("k"); ok {
			t.Errorf("%s left the entry", name)
		}
	}
}

// Whatever the order, an entry inserted under an old generation is not there
// after the invalidation returned. Caught: checking the generation without
// holding the stripe until the entry is stored.
func TestInsertAndInvalidateRace(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 100})
	const rounds = 100_000
	var start, end atomic.Int64
	var gen atomic.Uint64
	go func() {
		for i := int64(1); i <= rounds; i++ {
			for start.Load() != i {
				runtime.Gosched()
			}
			tier.Insert("k", gen.Load(), int(i), false, time.Minute)
			end.Store(i)
		}
	}()
	for i := int64(1); i <= rounds; i++ {
		gen.Store(tier.Generation("k"))
		start.Store(i)
		for range i % 64 { // meet the insert at another of its steps each time
			end.Load()
		}
		tier.Invalidate("k")
		for end.Load() != i {
			runtime.Gosched()
		}
		if e, ok := tier.Get("k"); ok {
			t.Errorf("round %d: %+v survived its invalidation", i, e)
			tier.Invalidate("k")
		}
	}
}

func TestOffTierKeepsGenerations(t *testing.T) {
	tier := newTier(t, Config[string, int]{})
	gen := tier.Generation("k")
	if tier.Insert("k", gen, 1, false, time.Minute) {
		t.Error("a tier that is off took an entry")
	}
	if _, ok := tier.Get("k"); ok {
		t.Error("a tier that is off had an entry")
	}
	tier.Invalidate("k")
	if tier.Generation("k") == gen {
		t.Error("the generation did not move")
	}
}

// Entries expire, and one that has is out of the way of others, and counted neither
// as a hit nor as an entry once somebody has asked for it.
// Caught: SetIfAbsent alone; an end beyond the clock's range that wraps around.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier, err := New(Config[string, int]{MaxEntries: 10})
		if err != nil {
			t.Fatal(err)
		}
		defer tier.Close()
		tier.Insert("short", tier.Generation("short"), 1, false, time.Second)
		tier.Insert("long", tier.Generation("long"), 2, true, time.Minute)
		tier.Insert("again", tier.Generation("again"), 3, true, time.Second)
		tier.Insert("ever", tier.Generation("ever"), 6, false, math.MaxInt64)
		if tier.Insert("none", tier.Generation("none"), 3, false, 0) {
			t.Error("an entry that is to live for 0s was taken")
		}
		time.Sleep(2 * time.Second)
		if !tier.InsertAbsent("again", tier.Generation("again"), 4, false, time.Minute) {
			t.Error("an expired entry is in the way")
		}
		if e, ok := tier.Get("again"); !ok || e.Value != 4 {
			t.Errorf("in the place of an expired entry: %+v, %v", e, ok)
		}
		if tier.InsertAbsent("again", tier.Generation("again"), 5, false, time.Minute) {
			t.Error("an entry has been replaced")
		}
		if _, ok := tier.Get("short"); ok {
			t.Error("expired entry found")
		}
		if e, ok := tier.Get("long"); !ok || !e.Negative() {
			t.Errorf("got %+v, %v", e, ok)
		}
		if e, ok := tier.Get("ever"); !ok || e.Value != 6 || e.Negative() {
			t.Errorf("got %+v, %v", e, ok)
		}
		if st := tier.Stats(); st.Hits != 3 || st.Entries != 3 {
			t.Errorf("%d hits, want 3; %d entries, want 3 without the one found expired", st.Hits, st.Entries)
		}
	})
}

func TestStats(t *testing.T) {
	tier := newTier(t, Config[string, int]{MaxEntries: 100})
	for i := range 1000 {
		k := fmt.Sprint(i)
		tier.Insert(k, tier.Generation(k), i, false, time.Minute)
	}
	tier.Insert("hot", tier.Generation("hot"), 1, false, time.Minute)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				tier.Get("hot")
				tier.Get("absent")
			}
		})
	}
	wg.Wait()
	deadline := time.Now().Add(20 * time.Second)
	for tier.cache.CleanUp(); tier.Stats().Entries > 100 && time.Now().Before(deadline); {
		tier.cache.CleanUp()
	}
	st := tier.Stats()
	if st.Hits > 4000 || st.Hits == 0 || st.Entries > 100 || st.Evictions < 900 || st.Cost != uint64(st.Entries) {
		t.Errorf("%+v", st)
	}
	if _, ok := tier.Get("hot"); ok && st.Hits != 4000 {
		t.Errorf("%d hits counted of 4000", st.Hits)
	}
}

// Room is the number of entries where that is bounded, and an estimate by the present
// ones where their cost is.
func TestRoom(t *testing.T) {
	if n := newTier(t, Config[string, int]{MaxEntries: 70}).Room(); n != 70 {
		t.Errorf("room for 70 entries: %d", n)
	}
	if n := newTier(t, Config[string, int]{}).Room(); n != 0 {
		t.Errorf("no room: %d", n)
	}
	tier := newTier(t, Config[string, int]{MaxCost: 1000, Cost: func(string, int) uint32 { return 20 }})
	if n := tier.Room(); n != 1 {
		t.Errorf("room of an empty tier, by cost: %d, want the least", n)
	}
	for i := range 10 {
		tier.Insert(fmt.Sprint(i), 0, i, false, time.Hour)
	}
	gate.Eventually(t, "room for 50 entries that cost 20 of 1000 each", func() bool { return tier.Room() == 50 })
}
