package ranking

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func figures[K comparable](rs []Ranked[K]) map[K]int64 {
	m := map[K]int64{}
	for _, r := range rs {
		m[r.Key] = r.Figure
	}
	return m
}

// Keys that are frequent are found among many that are not, with no more than they
// have. Caught: figures that contain those of the keys whose place was taken.
func TestSums(t *testing.T) {
	var r Ranking[int]
	rng := rand.New(rand.NewPCG(1, 2))
	truth := map[int]int64{}
	for range 100_000 {
		k := 1000 + rng.IntN(50_000)
		if rng.IntN(3) == 0 {
			k = rng.IntN(5)
		}
		truth[k]++
		r.Add(k, 1, start)
	}
	top, since := r.Sums(5, start.Add(time.Second))
	if !since.Equal(start) {
		t.Errorf("since %v", since)
	}
	for _, x := range top {
		if x.Key >= 5 || x.Figure > truth[x.Key] || x.Figure < truth[x.Key]*9/10 {
			t.Errorf("key %d: %d, want about %d, and no more", x.Key, x.Figure, truth[x.Key])
		}
	}
	if len(top) != 5 {
		t.Errorf("%d keys", len(top))
	}
}

// Caught: a floor that is looked at after its window ended, which keeps lower figures
// out for ever; a key that is there with its lower figure.
func TestHighest(t *testing.T) {
	var r Ranking[int]
	for i := range 1000 {
		r.Raise(i, int64(i), start)
	}
	r.Raise(999, 5, start.Add(time.Second)) // lower than it had
	top, _ := r.Highest(2, start.Add(time.Second))
	if len(top) != 2 || top[0].Key != 999 || top[0].Figure != 999 || !top[0].At.Equal(start) || top[1].Key != 998 {
		t.Errorf("top: %+v", top)
	}
	later := start.Add(Window)
	r.Raise(7, 7, later)
	if top, since := r.Highest(1000, later); figures(top)[7] != 7 || figures(top)[999] != 999 || !since.Equal(start) {
		t.Errorf("in the next window: %v since %v", top[:3], since)
	}
	r.Raise(999, 1000, later)
	if top, _ := r.Highest(1, later); top[0].Figure != 1000 || !top[0].At.Equal(later) {
		t.Errorf("of both windows: %+v", top)
	}
	later = later.Add(Window)
	if top, since := r.Highest(1000, later); len(top) != 2 || !since.Equal(start.Add(Window)) {
		t.Errorf("the first window is over: %+v since %v", top, since)
	}
	later = later.Add(2 * Window)
	if top, _ := r.Highest(1000, later); len(top) != 0 {
		t.Errorf("all is over: %+v", top)
	}
	if top, _ := r.Highest(1, later.Add(-4*Window)); len(top) != 0 {
		t.Errorf("the clock went back: %+v", top)
	}
}

// Caught: a window without its limit.
func TestBounds(t *testing.T) {
	var sums, highest Ranking[int]
	for i := range 10_000 {
		sums.Add(i, 1, start)
		highest.Raise(i, int64(i%777), start)
	}
	for _, r := range []*Ranking[int]{&sums, &highest} {
		if n := len(r.now.ranked); n != Size || len(r.now.at) != n {
			t.Errorf("%d keys, %d places", n, len(r.now.at))
		}
		for k, i := range r.now.at {
			if r.now.ranked[i].Key != k {
				t.Fatalf("key %d is not at its place", k)
			}
		}
	}
}
