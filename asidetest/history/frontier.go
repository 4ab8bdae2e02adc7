package history

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// frontier tells how new the news was at any time: it holds, by time of return,
// each operation that had a higher rank than all that returned before it.
type frontier []ranked

func newFrontier(ops []ranked) frontier {
	var f frontier
	for _, op := range slices.SortedStableFunc(slices.Values(ops), func(a, b ranked) int { return cmp.Compare(a.Return, b.Return) }) {
		if len(f) == 0 || op.rank > f[len(f)-1].rank {
			f = append(f, op)
		}
	}
	return f
}

// newer returns the operation above rank that returned first, if it did so
// before t.
func (f frontier) newer(rank int64, t time.Duration) (ranked, bool) {
	i := sort.Search(len(f), func(i int) bool { return f[i].rank > rank })
	if i == len(f) || f[i].Return >= t {
		return ranked{}, false
	}
	return f[i], true
}
