package ops

import (
	"cmp"
	"fmt"
	"slices"
)

// Add puts what another server says into t, and leaves the first n of each list. Counts of
// one id are added up, of other figures the largest counts.
func (t *Top) Add(o *Top, n int) {
	if t.Since == 0 || o.Since < t.Since {
		t.Since = o.Since
	}
	for _, list := range []struct{ into, from *[]Ranked }{
		{&t.Hottest, &o.Hottest}, {&t.Slowest, &o.Slowest}, {&t.Biggest, &o.Biggest}, {&t.Fences, &o.Fences},
	} {
		*list.into = merge(*list.into, *list.from, n)
	}
}

func merge(a, b []Ranked, n int) []Ranked {
	at := map[string]int{}
	out := make([]Ranked, 0, len(a)+len(b))
	for _, r := range slices.Concat(a, b) {
		i, seen := at[r.ID]
		if !seen {
			at[r.ID] = len(out)
			out = append(out, r)
			continue
		}
		o := &out[i]
		switch {
		case r.Count != nil && o.Count != nil:
			sum := *o.Count + *r.Count
			o.Count, o.At = &sum, max(o.At, r.At)
		case r.order() > o.order():
			out[i] = r
		}
	}
	slices.SortStableFunc(out, func(x, y Ranked) int { return cmp.Compare(y.order(), x.order()) })
	return out[:min(n, len(out))]
}

func (r *Ranked) order() float64 {
	switch {
	case r.Count != nil:
		return float64(*r.Count)
	case r.TookMS != nil:
		return *r.TookMS
	case r.Bytes != nil:
		return float64(*r.Bytes)
	}
	return 0
}

// Millis returns a number of milliseconds for people, with its unit.
func Millis(ms float64) string {
	if ms >= 100 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.3g ms", ms)
}

// Figure returns the figure with its unit.
func (r *Ranked) Figure() string {
	if r.TookMS != nil {
		return Millis(*r.TookMS)
	}
	return fmt.Sprint(uint64(r.order()))
}
