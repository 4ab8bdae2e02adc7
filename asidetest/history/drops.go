package history

import (
	"slices"
	"sort"
	"time"
)

// drops are drops by time of call, but without those that another one makes useless:
// it was called later, and did not return later.
type drops []Op

func dropsOf(all []Op) (drops, map[int]drops) {
	var every drops
	byNode := map[int]drops{}
	for _, op := range slices.Backward(all) { // the last called first
		if op.Kind == Drop {
			every = every.add(op)
			byNode[op.Node] = byNode[op.Node].add(op)
		}
	}
	slices.Reverse(every)
	for _, d := range byNode {
		slices.Reverse(d)
	}
	return every, byNode
}

// add adds a drop that was called before the others, or at the same time.
func (d drops) add(op Op) drops {
	if n := len(d); n > 0 && d[n-1].Return <= op.Return {
		return d
	}
	return append(d, op)
}

// after returns the drop that returned first of those that were called after t. Without
// one, it returns never.
func (d drops) after(t time.Duration) Op {
	i := sort.Search(len(d), func(i int) bool { return d[i].Call > t })
	if i == len(d) {
		return Op{Return: never}
	}
	return d[i]
}

// dropFor returns the drop that made a moved operation count when it does; ok is false if
// none did.
func (l *life) dropFor(op Op) (drop Op, ok bool) {
	if _, moved := l.returned[op]; !moved {
		return drop, false
	}
	for _, d := range l.all {
		if d.Kind == Drop && (d.Return == op.Return || later(d.Return, l.options.MaxStale) == op.Return) {
			return d, true
		}
	}
	return drop, false
}

// withDrops adds the drops to a piece of history that others in it are held to.
func (l *life) withDrops(ops []Op) []Op {
	all := slices.Clone(ops)
	for _, op := range ops {
		if d, ok := l.dropFor(op); ok && !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}
