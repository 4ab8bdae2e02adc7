package aside

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Caught: a ghost that forgets the key that came first, used or not.
func TestGhost(t *testing.T) {
	g := ghost{room: 2}
	var got []bool
	for _, k := range []uint64{1, 2, 1, 3, 1, 2, 1} {
		got = append(got, g.touch(k))
	}
	if want := []bool{false, false, true, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("hits %v, want %v", got, want)
	}
}

// While reads bypass, the sampled keys have L1 to themselves, and all of them fit.
// What they hit says nothing of what L1 would be for 64 times as many keys.
// Caught: counting those hits, as it still is where the room is not known. Uniform
// reads of 200,000 keys, L1 with room for 10,000, were taken for 3 hits a miss (it
// is 0.05), and ended their bypass twice in 600,000 reads.
func TestSampleHasItsShareOfL1Only(t *testing.T) {
	const keys, room = 64_000, 1000 // so 1.6 % of the reads would hit
	hitsPerRead := func(room int) float64 {
		w := newWorth[int](false, func() uint64 { return 0 }, room)
		w.sampling.Store(true)
		w.bypassing.Store(true)
		w.mu.ghost.room = max(1, room/largestSample)
		r, inL1 := rand.New(rand.NewPCG(1, 2)), map[int]bool{}
		for range 2_000_000 {
			k := r.IntN(keys)
			switch {
			case inL1[k]:
				w.hit(k)
			case w.sample(k):
				w.read(k, 0, false)
				inL1[k] = true
			}
		}
		return w.stats().HitsL1PerRead
	}
	if r := hitsPerRead(room); r > 0.1 {
		t.Errorf("%.2f hits in L1 for each read that missed it, want about 0.02", r)
	}
	if r := hitsPerRead(0); r < 1 {
		t.Errorf("%.2f hits where the room is not known: the test shows nothing", r)
	}
}
