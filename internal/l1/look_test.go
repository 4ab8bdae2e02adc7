package l1

import (
	"testing"
	"time"
)

// The entry that is used most comes first.
// Caught: Hottest in the order of the map.
func TestHottestFirst(t *testing.T) {
	tier, err := New(Config[int, int]{MaxEntries: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer tier.Close()
	for k := range 50 {
		tier.Insert(k, tier.Generation(k), k, false, Life{TTL: 1 << 40})
	}
	hottest := func() bool {
		for range 1000 {
			for _, k := range []int{13, 14, 15} {
				tier.Get(k)
			}
		}
		n, hot := 0, 0
		for k := range tier.Hottest() {
			if k == 13 || k == 14 || k == 15 {
				hot++
			}
			if n++; n == 5 {
				break
			}
		}
		return hot == 3
	}
	for start := time.Now(); !hottest(); { // the engine takes note of hits when it comes to it
		if time.Since(start) > 20*time.Second {
			t.Fatal("those that are used most are not among the first five")
		}
		time.Sleep(time.Millisecond)
	}
	if tier.Len() != 50 {
		t.Errorf("%d entries", tier.Len())
	}
}
