package history

import (
	"fmt"
	"time"
)

// fresh holds every read against the acknowledgements before its call: that is
// StrongReads, Bounded, and the staleness of all.
func (l *life) fresh() {
	acknowledged := newFrontier(l.writes)
	for _, read := range l.reads {
		s := &l.result.Default
		if read.Kind == ReadStrong {
			s = &l.result.Strong
		}
		s.Reads++
		w, ok := acknowledged.newer(newest(read, l.deleting), read.Call)
		if !ok {
			continue
		}
		by := read.Call - w.Return
		s.stale(by)
		if l.options.OnStale != nil {
			l.options.OnStale(read, by)
		}
		switch {
		case read.Kind == ReadStrong && l.options.checks(StrongReads):
			l.violated(StrongReads, read, func() string {
				return fmt.Sprintf("%s, %s before.", saw(read), acked(w.Op, by))
			}, w.Op, read)
		case read.Kind == ReadDefault && l.options.checks(Bounded) && l.options.MaxStale >= 0 && by > l.options.MaxStale:
			l.violated(Bounded, read, func() string {
				return fmt.Sprintf("%s, %s before; the bound is %v.", saw(read), acked(w.Op, by), l.options.MaxStale)
			}, w.Op, read)
		}
	}
}

// ownWrites holds every read against what its own node had acknowledged.
func (l *life) ownWrites() {
	byNode := map[int][]ranked{}
	for _, w := range l.writes {
		byNode[w.Node] = append(byNode[w.Node], w)
	}
	acknowledged := map[int]frontier{}
	for node, ws := range byNode {
		acknowledged[node] = newFrontier(ws)
	}
	for _, read := range l.reads {
		if w, ok := acknowledged[read.Node].newer(newest(read, l.deleting), read.Call); ok {
			l.violated(OwnWrites, read, func() string {
				return fmt.Sprintf("%s, %s before, through the same node.", saw(read), acked(w.Op, read.Call-w.Return))
			}, w.Op, read)
		}
	}
}

// monotonic holds every read against what its node had answered before.
func (l *life) monotonic() {
	byNode := map[int][]ranked{}
	for _, read := range l.reads {
		byNode[read.Node] = append(byNode[read.Node], ranked{read, read.Version})
	}
	answered := map[int]frontier{}
	for node, reads := range byNode {
		settle(reads, l.deleting)
		answered[node] = newFrontier(reads)
	}
	for _, read := range l.reads {
		f := answered[read.Node]
		a, ok := f.newer(newest(read, l.deleting), read.Call)
		if !ok {
			continue
		}
		ops := []Op{a.Op, read}
		text := func() string {
			return fmt.Sprintf("%s, but this node had answered %s to client %d, %v before.", saw(read), state(a.rank), a.Client, read.Call-a.Return)
		}
		if a.Version == 0 {
			// That answer could have come from before the record was created, had
			// the node not shown it before.
			existed, _ := f.newer(absent, a.Call)
			ops = append(ops, existed.Op)
		}
		l.violated(Monotonic, read, text, ops...)
	}
}

func saw(read Op) string {
	return fmt.Sprintf("a %s of client %d on node %d, called at %s, returned %s", read.Kind, read.Client, read.Node, at(read.Call), state(read.Version))
}

func acked(w Op, before time.Duration) string {
	what := "the delete"
	if w.Kind == Write {
		what = fmt.Sprintf("version %d", w.Version)
	}
	return fmt.Sprintf("but %s (client %d, node %d) had been acknowledged %v", what, w.Client, w.Node, before)
}

func state(rank int64) string {
	switch rank {
	case absent:
		return "absent"
	case deleted:
		return "deleted"
	}
	return fmt.Sprintf("version %d", rank)
}
