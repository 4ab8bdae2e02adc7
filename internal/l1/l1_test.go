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

	"go.uber.org/goleak"
)

// Caught: a Close that leaves the clock running.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTier[K comparable](t *testing.T, c Config[K, int]) *Tier[K, int] {
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
		if tier.Insert("k", gen, 1, false, Life{TTL: time.Minute}) {
			t.Errorf("%s: an insert requested before it was accepted", name)
		}
		if !tier.Insert("k", tier.Generation("k"), 2, false, Life{TTL: time.Minute}) {
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
			tier.Insert("k", gen.Load(), int(i), false, Life{TTL: time.Minute})
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
	if tier.Insert("k", gen, 1, false, Life{TTL: time.Minute}) {
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
		tier.Insert("short", tier.Generation("short"), 1, false, Life{TTL: time.Second})
		tier.Insert("long", tier.Generation("long"), 2, true, Life{TTL: time.Minute})
		tier.Insert("again", tier.Generation("again"), 3, true, Life{TTL: time.Second})
		tier.Insert("ever", tier.Generation("ever"), 6, false, Life{TTL: math.MaxInt64})
		if tier.Insert("none", tier.Generation("none"), 3, false, Life{TTL: 0}) {
			t.Error("an entry that is to live for 0s was taken")
		}
		time.Sleep(2 * time.Second)
		if !tier.InsertAbsent("again", tier.Generation("again"), 4, false, Life{TTL: time.Minute}) {
			t.Error("an expired entry is in the way")
		}
		if e, ok := tier.Get("again"); !ok || e.Value != 4 {
			t.Errorf("in the place of an expired entry: %+v, %v", e, ok)
		}
		if tier.InsertAbsent("again", tier.Generation("again"), 5, false, Life{TTL: time.Minute}) {
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
		tier.Insert(k, tier.Generation(k), i, false, Life{TTL: time.Minute})
	}
	tier.Insert("hot", tier.Generation("hot"), 1, false, Life{TTL: time.Minute})
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
	st := tier.Stats()
	if st.Hits > 4000 || st.Hits == 0 || st.Entries > 100 || st.Evictions < 900 || st.Cost != uint64(st.Entries) {
		t.Errorf("%+v", st)
	}
	if _, ok := tier.Get("hot"); ok && st.Hits != 4000 {
		t.Errorf("%d hits counted of 4000", st.Hits)
	}
}

// Peek sees what Get sees, and counts nothing. Caught: an expired entry.
func TestPeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tier := newTier(t, Config[string, int]{MaxEntries: 10})
		tier.Insert("k", tier.Generation("k"), 1, false, Life{TTL: time.Minute})
		if e, ok := tier.Peek("k"); !ok || e.Value != 1 {
			t.Errorf("%+v, %v", e, ok)
		}
		time.Sleep(2 * time.Minute)
		if e, ok := tier.Peek("k"); ok {
			t.Errorf("expired: %+v", e)
		}
		if n := tier.Stats().Hits; n != 0 {
			t.Errorf("%d hits", n)
		}
		tier.Close()
	})
}

// A flush happens on the goroutine that reads a connection, which answers wait for.
// BenchmarkFlush shows that its time does not depend on the number of entries.
func BenchmarkFlush(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				tier, err := New(Config[int, int]{MaxEntries: n})
				if err != nil {
					b.Fatal(err)
				}
				for i := range n {
					tier.Insert(i, tier.Generation(i), i, false, Life{TTL: time.Hour})
				}
				b.StartTimer()
				tier.Flush()
				b.StopTimer()
				tier.Close()
				b.StartTimer()
			}
		})
	}
}

// Of few reads all are sampled, of many a few that stand for all. Caught: a sample that
// is handed out for the reads of another moment; reads without L1 that are not seen.
func TestSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, calls, others := map[string]uint64{}, 0, uint64(0)
		tier := newTier(t, Config[string, int]{
			MaxEntries: 10,
			Sampled:    func(k string, n uint64) { got[k] += n; calls++ },
			Reads:      func() uint64 { return others },
		})
		for _, k := range []string{"burst", "later"} {
			tier.Insert(k, tier.Generation(k), 1, false, Life{TTL: time.Hour})
		}
		time.Sleep(time.Millisecond) // between two ticks
		for range 100 {
			tier.Get("burst")
		}
		time.Sleep(time.Second)
		tier.Get("later")
		tier.Sample()
		if got["burst"] != 100 || got["later"] != 1 || calls != perTick+1 {
			t.Errorf("sampled %v in %d calls", got, calls)
		}
		others++
		tier.See("miss")
		tier.Sample()
		if got["miss"] != 1 {
			t.Errorf("sampled %v", got)
		}
		for range 3 {
			time.Sleep(time.Second)
			for range 1000 {
				tier.Get("burst")
			}
		}
		tier.Sample()
		if got["burst"] != 3100 || calls != 2+4*perTick {
			t.Errorf("sampled %v in %d calls", got, calls)
		}
		off := newTier(t, Config[string, int]{
			Sampled: func(k string, n uint64) { got[k] += n }, Reads: func() uint64 { return others },
		})
		others++
		off.See("no L1")
		off.Sample()
		if got["no L1"] == 0 {
			t.Errorf("without L1: %v", got)
		}
	})
}

// Hits are shown while somebody watches, and all of them. Caught: a sample that ends
// the attention of those who watch.
func TestWatchHits(t *testing.T) {
	hits, sampled := 0, 0
	tier := newTier(t, Config[string, int]{
		MaxEntries: 10,
		Hit:        func(k string, e Entry[int]) { hits++ },
		Sampled:    func(string, uint64) { sampled++ },
		Reads:      func() uint64 { return 0 },
	})
	tier.Insert("k", tier.Generation("k"), 1, false, Life{TTL: time.Hour})
	get := func(want int) {
		t.Helper()
		hits = 0
		for range 100 {
			tier.Get("k")
		}
		if hits != want {
			t.Errorf("%d hits seen, want %d", hits, want)
		}
	}
	get(0)
	tier.Watch(true)
	get(100)
	get(100)
	tier.Watch(false)
	get(0)
}
