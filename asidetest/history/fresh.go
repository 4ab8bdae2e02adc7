package history

import (
	"fmt"
	"time"
)

// fresh holds every read against the acknowledgements before its call: that is
// StrongReads, Bounded, and the staleness of all.
func (l *life) fresh() {
	acknowledged := newFrontier(l.writes, byReturn)
	// due is what default reads must show at the latest, whatever MaxStale says of writes
	// through nodes; late is what it says of these too.
	anywhere := func(w ranked) time.Duration {
		if w.Outside && !w.Unknown {
			return l.shownAnywhere(l.recorded(w.Op).Return)
		}
		return w.Return
	}
	due := newFrontier(l.writes, anywhere)
	late := newFrontier(l.writes, func(w ranked) time.Duration {
		if w.Outside {
			return anywhere(w)
		}
		return later(w.Return, l.options.MaxStale)
	})
	bounded := l.options.checks(Bounded) && l.options.MaxStale >= 0
	for _, read := range l.reads {
		s, held := &l.result.Default, due
		if read.Kind == ReadStrong {
			s, held = &l.result.Strong, acknowledged
		}
		s.Reads++
		if w, ok := held.last(read.Call); ok && w.Outside {
			l.result.Held++
			if read.Kind == ReadStrong && read.Call <= later(l.recorded(w.Op).Return, l.options.MaxOutside) {
				l.result.HeldByDrop++
			}
		}
		shows := newest(read, l.deleting)
		if w, ok := acknowledged.newer(shows, read.Call); ok {
			by := read.Call - w.Return
			s.stale(by)
			if l.options.OnStale != nil {
				l.options.OnStale(read, by)
			}
			if read.Kind == ReadStrong && l.options.checks(StrongReads) {
				l.tooOld(StrongReads, read, w.Op)
			}
		}
		if read.Kind == ReadDefault && bounded {
			if w, ok := late.newer(shows, read.Call); ok {
				l.tooOld(Bounded, read, w.Op)
			}
		}
	}
}

// tooOld is a violation by a read that must have shown the write w.
func (l *life) tooOld(p Promise, read, w Op) {
	l.violated(p, read, func() string {
		text := fmt.Sprintf("%s, %s before", saw(read), acked(w, read.Call-l.recorded(w).Return))
		d, dropped := l.dropFor(w)
		switch {
		case w.Outside && dropped:
			text += fmt.Sprintf(", and a drop through node %d that was called after that had returned %v before", d.Node, read.Call-d.Return)
		case w.Outside:
			text += fmt.Sprintf("; the bound is %v", l.options.MaxOutside)
		case p == Bounded:
			text += fmt.Sprintf("; the bound is %v", l.options.MaxStale)
		}
		return text + "."
	}, w, read)
}

// lag measures how late every read saw outside writes, from their returns on.
func (l *life) lag() {
	var ws []ranked
	for _, w := range l.writes {
		if w.Outside {
			ws = append(ws, w)
		}
	}
	outside := newFrontier(ws, func(w ranked) time.Duration { return l.recorded(w.Op).Return })
	for _, read := range l.reads {
		s := &l.result.OutsideDefault
		if read.Kind == ReadStrong {
			s = &l.result.OutsideStrong
		}
		s.Reads++
		w, ok := outside.newer(newest(read, l.deleting), read.Call)
		if !ok {
			continue
		}
		by := read.Call - w.at
		s.stale(by)
		if l.options.OnOutside != nil {
			l.options.OnOutside(read, by)
		}
	}
}

// ownWrites holds every read against what its own node had acknowledged: writes, and drops
// of what was older than a write that had been acknowledged before their call.
func (l *life) ownWrites() {
	byNode := map[int][]ranked{}
	for _, w := range l.writes {
		if !w.Outside {
			byNode[w.Node] = append(byNode[w.Node], w)
		}
	}
	acknowledged := map[int]frontier{}
	for node, ws := range byNode {
		acknowledged[node] = newFrontier(ws, byReturn)
	}
	written := newFrontier(l.writes, func(w ranked) time.Duration { return l.recorded(w.Op).Return })
	dropped := map[int]frontier{}
	for node, ds := range l.dropsOn {
		var forgot []ranked
		for _, d := range ds {
			if w, ok := written.last(d.Call); ok {
				forgot = append(forgot, ranked{d, w.rank})
			}
		}
		dropped[node] = newFrontier(forgot, byReturn)
	}
	for _, read := range l.reads {
		shows := newest(read, l.deleting)
		// An absence may have no tag, so that no drop by a tag reaches it.
		if d, ok := dropped[read.Node].newer(shows, read.Call); ok && read.Version != 0 {
			w, _ := written.last(d.Call)
			l.violated(OwnWrites, read, func() string {
				return fmt.Sprintf("%s, %s before, and the same node had dropped the record after that, %v before.",
					saw(read), acked(w.Op, read.Call-w.at), read.Call-d.Return)
			}, w.Op, d.Op, read)
			continue
		}
		if w, ok := acknowledged[read.Node].newer(shows, read.Call); ok {
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
		shown := func(t time.Duration) time.Duration { return l.shownOn(read.Node, t) }
		byNode[read.Node] = append(byNode[read.Node], ranked{l.evidence(read, shown), read.Version})
	}
	answered := map[int]frontier{}
	for node, reads := range byNode {
		settle(reads, l.deleting)
		answered[node] = newFrontier(reads, byReturn)
	}
	for _, read := range l.reads {
		f := answered[read.Node]
		a, ok := f.newer(newest(read, l.deleting), read.Call)
		if !ok {
			continue
		}
		ops := []Op{a.Op, read}
		text := func() string {
			return fmt.Sprintf("%s, but this node had answered %s to client %d, %v before.", saw(read), state(a.rank), a.Client, read.Call-l.recorded(a.Op).Return)
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
	return fmt.Sprintf("but %s (client %d, %s) had been acknowledged %v", what, w.Client, through(w), before)
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
