package history

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// frontier tells how new the news was at any time: it holds, by the time that
// counts for it, each operation that had a higher rank than all before it.
type frontier []news

// news is an operation and when it counts.
type news struct {
	ranked
	at time.Duration
}

func byReturn(op ranked) time.Duration { return op.Return }

func newFrontier(ops []ranked, at func(ranked) time.Duration) frontier {
	all := make([]news, len(ops))
	for i, op := range ops {
		all[i] = news{op, at(op)}
	}
	slices.SortStableFunc(all, func(a, b news) int { return cmp.Compare(a.at, b.at) })
	var f frontier
	for _, op := range all {
		if len(f) == 0 || op.rank > f[len(f)-1].rank {
			f = append(f, op)
		}
	}
	return f
}

// newer returns the operation above rank that counts first, if it does so before t.
func (f frontier) newer(rank int64, t time.Duration) (news, bool) {
	i := sort.Search(len(f), func(i int) bool { return f[i].rank > rank })
	if i == len(f) || f[i].at >= t {
		return news{}, false
	}
	return f[i], true
}

// last returns the newest operation that counts before t.
func (f frontier) last(t time.Duration) (news, bool) {
	i := sort.Search(len(f), func(i int) bool { return f[i].at >= t })
	if i == 0 {
		return news{}, false
	}
	return f[i-1], true
}
