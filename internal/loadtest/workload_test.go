package loadtest

import (
	"strconv"
	"sync"
	"testing"
)

func TestParseRange(t *testing.T) {
	for in, want := range map[string]Range{"1-200000": {1, 200000}, "5": {5, 5}, "0-0": {0, 0}, "1 - 2": {1, 2}} {
		if got, err := ParseRange(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-", "1-", "-1", "2-1", "a-b", "1-2-3", "18446744073709551616"} {
		if got, err := ParseRange(in); err == nil {
			t.Errorf("%q is accepted as %v", in, got)
		}
	}
	if n := (Range{3, 5}).Len(); n != 3 {
		t.Errorf("3-5 has %d ids", n)
	}
}

// Both ends are asked for, and each id about as often as any other.
func TestUniformCoversTheRange(t *testing.T) {
	count := map[string]int{}
	w := Uniform(Range{10, 19}, 3)
	for user := range 10 {
		p := w.Picker(user)
		for range 1000 {
			id, ok := p.Next(nil)
			if !ok {
				t.Fatal("it ended")
			}
			count[string(id)]++
		}
	}
	for id := 10; id <= 19; id++ {
		if n := count[strconv.Itoa(id)]; n < 800 || n > 1200 {
			t.Errorf("%d was chosen %d times of 10000", id, n)
		}
	}
	if len(count) != 10 {
		t.Errorf("chosen: %v", count)
	}
}

func TestUsersChooseDifferently(t *testing.T) {
	w := Uniform(Range{1, 1 << 40}, 1)
	a, _ := w.Picker(0).Next(nil)
	b, _ := w.Picker(1).Next(nil)
	if string(a) == string(b) {
		t.Errorf("both users begin with %s", a)
	}
}

func TestScanSharesItsIDs(t *testing.T) {
	w := Scan(Range{1, 5000})
	var mu sync.Mutex
	seen := map[string]int{}
	var wg sync.WaitGroup
	for user := range 8 {
		wg.Go(func() {
			p := w.Picker(user)
			for {
				id, ok := p.Next([]byte("x/"))
				if !ok {
					return
				}
				mu.Lock()
				seen[string(id)]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 5000 || seen["x/1"] != 1 || seen["x/5000"] != 1 {
		t.Errorf("%d ids of 5000 were given out", len(seen))
	}
}
