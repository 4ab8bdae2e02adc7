package history

import (
	"slices"
	"time"
)

// Checkers that are right by their looks, and slow: the promises said once more,
// for all choices and all orders.

// bruteLinearizable tries all orders of strong reads, writes and deletes. With
// gaps, a write may raise the version by more than one, and a write of unknown
// outcome counts only if a read told its version; without, each raises it by
// one, and those that nobody saw may or may not be in the order.
func bruteLinearizable(ops []Op, gaps bool) bool {
	told := map[uint64]int64{}
	for _, op := range byCall(ops) {
		if _, ok := told[op.Tag]; op.isRead() && op.Version > 0 && !ok {
			told[op.Tag] = op.Version
		}
	}
	var pending []Op
	for _, op := range ops {
		if op.Kind == ReadDefault {
			continue
		}
		if op.Unknown {
			op.Return = never
			op.Version = told[op.Tag]
			if op.Kind == Write && op.Version == 0 && gaps {
				continue
			}
		}
		pending = append(pending, op)
	}
	return order(pending, bruteState{}, gaps)
}

type bruteState struct {
	version int64
	tag     uint64
	deleted bool
}

func order(pending []Op, s bruteState, gaps bool) bool {
	done := true
	for i, op := range pending {
		optional := op.Unknown && (op.Kind == Delete || op.Version == 0)
		done = done && optional
		if slices.ContainsFunc(pending, func(o Op) bool { return o.Return < op.Call }) {
			continue
		}
		next, ok := apply(op, s, gaps)
		if ok && order(slices.Delete(slices.Clone(pending), i, i+1), next, gaps) {
			return true
		}
	}
	return done
}

func apply(op Op, s bruteState, gaps bool) (bruteState, bool) {
	switch {
	case op.Kind == Delete:
		return bruteState{deleted: true}, true
	case op.isRead() && op.Version == 0:
		return s, s.deleted || s.version == 0
	case op.isRead():
		return s, !s.deleted && s.version == op.Version && s.tag == op.Tag
	case op.Version == 0: // of unknown outcome, and not seen
		return bruteState{version: s.version + 1, tag: op.Tag}, !s.deleted
	}
	ok := !s.deleted && (op.Version == s.version+1 || gaps && op.Version > s.version)
	return bruteState{version: op.Version, tag: op.Tag}, ok
}

// brutePairs says the same as bruteLinearizable with gaps, for histories whose
// tags are in order, by looking at every two and three operations.
func brutePairs(ops []Op) bool {
	var all []ranked
	for _, op := range ops {
		switch {
		case op.Kind == ReadDefault:
		case op.Kind == Delete:
			all = append(all, ranked{op, deleted})
		default:
			all = append(all, ranked{op, op.Version})
		}
	}
	deleting := bruteDeleting(ops)
	for _, a := range all {
		for _, b := range all {
			if a.Unknown || a.Return >= b.Call {
				continue
			}
			backwards := a.rank > b.rank || a.rank == b.rank && a.isRead() && b.Kind == Write
			if b.isRead() && b.Version == 0 && b.Return >= deleting {
				backwards = false // it may have seen the record deleted
			}
			if backwards {
				return false
			}
			if a.rank == absent || !b.isRead() || b.Version != 0 {
				continue
			}
			for _, c := range all {
				if b.Return < c.Call && c.rank < deleted && (c.Version != 0 || c.Return < deleting) {
					return false
				}
			}
		}
	}
	return true
}

// bruteMonotonic gives each absent read that may have seen the record deleted
// either meaning, and reports whether under one of them no two reads of a node
// go back.
func bruteMonotonic(ops []Op) bool {
	deleting := bruteDeleting(ops)
	var reads []ranked
	var unclear []int
	for _, op := range ops {
		if op.isRead() {
			if op.Version == 0 && op.Return >= deleting {
				unclear = append(unclear, len(reads))
			}
			reads = append(reads, ranked{op, op.Version})
		}
	}
	for choice := range 1 << len(unclear) {
		for bit, i := range unclear {
			reads[i].rank = int64(choice>>bit&1) * deleted
		}
		if forwards(reads) {
			return true
		}
	}
	return false
}

func forwards(reads []ranked) bool {
	for _, a := range reads {
		for _, b := range reads {
			if a.Node == b.Node && a.Return < b.Call && a.rank > b.rank {
				return false
			}
		}
	}
	return true
}

// bruteStale is how stale a read is, over the writes that count.
func bruteStale(ops []Op, read Op, counts func(w Op) bool) time.Duration {
	var worst time.Duration
	for _, w := range ops {
		if w.isRead() || w.Unknown || !counts(w) || w.Return >= read.Call {
			continue
		}
		newer := w.Kind == Delete || w.Version > read.Version
		if read.Version == 0 && bruteDeleting(ops) <= read.Return {
			newer = false
		}
		if newer {
			worst = max(worst, read.Call-w.Return)
		}
	}
	return worst
}

// bruteDropped reports whether a read shows less than its node had dropped.
func bruteDropped(ops []Op, read Op) bool {
	for _, d := range ops {
		if d.Kind != Drop || d.Node != read.Node || d.Return >= read.Call {
			continue
		}
		for _, w := range ops {
			if w.isWrite() && !w.Unknown && w.Return < d.Call && (w.Kind == Delete || w.Version > read.Version) {
				return true
			}
		}
	}
	return false
}

func bruteDeleting(ops []Op) time.Duration {
	deleting := never
	for _, op := range ops {
		if op.Kind == Delete {
			deleting = min(deleting, op.Call)
		}
	}
	return deleting
}
