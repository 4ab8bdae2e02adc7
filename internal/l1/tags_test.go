package l1

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/internal/tags"
)

// An entry whose tag was invalidated is no hit, is not counted as one, and is not in the
// way of another. Caught: each look at L1 that does not judge.
func TestInvalidatedTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := tags.NewMirror(10)
		m.Alone()
		tier := newTier(t, Config[string, int]{MaxEntries: 10, Tags: m})
		defer tier.Close()
		marks := func() *tags.Marks {
			s, _ := m.Stamp()
			return tags.NewMarks([]string{"t"}, s)
		}
		insert := func(k string, m *tags.Marks) bool {
			return tier.InsertAbsent(k, tier.Generation(k), 1, false, Life{TTL: time.Minute, Marks: m})
		}
		insert("k", marks())
		insert("l", nil)
		if _, ok := tier.Get("k"); !ok {
			t.Fatal("not there")
		}
		m.Invalidate([]string{"t"})
		if _, ok := tier.Peek("k"); ok {
			t.Error("seen by Peek")
		}
		for k := range tier.All() {
			if k == "k" {
				t.Error("seen by All")
			}
		}
		if !insert("k", marks()) {
			t.Error("an invalidated entry is in the way")
		}
		m.Invalidate([]string{"t"})
		if _, ok := tier.Get("k"); ok {
			t.Error("seen by Get")
		}
		if _, ok := tier.Get("l"); !ok {
			t.Error("an entry without tags is gone")
		}
		if st := tier.Stats(); st.Hits != 2 {
			t.Errorf("%d hits", st.Hits)
		}
	})
}

// BenchmarkTags: hits of entries with tags beside those without. They take turns, and of
// each the shortest turn counts, so that other work of the machine does not.
func BenchmarkTags(b *testing.B) {
	m := tags.NewMirror(10_000)
	m.Alone()
	s, _ := m.Stamp()
	const turn = 4096
	counts := []int{0, 1, 16}
	keys := make([]string, 1024)
	tiers := make([]*Tier[string, *int], len(counts))
	for t, n := range counts {
		tier, err := New(Config[string, *int]{MaxEntries: 10_000, Tags: m})
		if err != nil {
			b.Fatal(err)
		}
		defer tier.Close()
		tiers[t] = tier
		for i := range keys {
			names := make([]string, n)
			for j := range names {
				names[j] = fmt.Sprint(i, j)
			}
			keys[i] = fmt.Sprint("key", i)
			tier.Insert(keys[i], tier.Generation(keys[i]), new(int), false, Life{TTL: time.Hour, Marks: tags.NewMarks(names, s)})
		}
	}
	best := make([]time.Duration, len(counts))
	for b.Loop() {
		for t, tier := range tiers {
			start := time.Now()
			for i := range turn {
				if _, ok := tier.Get(keys[i&1023]); !ok {
					b.Fatal("a miss")
				}
			}
			if d := time.Since(start); best[t] == 0 || d < best[t] {
				best[t] = d
			}
		}
	}
	for t, n := range counts {
		b.ReportMetric(float64(best[t].Nanoseconds())/turn, fmt.Sprintf("ns/hit-of-%d-tags", n))
	}
}
