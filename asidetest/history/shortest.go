package history

import (
	"slices"

	"github.com/anishathalye/porcupine"
)

// shortest drops operations from a piece of history that is not linearizable
// until none can be dropped without losing that.
//
// What is left proves the violation of the whole: if the whole could be put in
// an order, so could what is left of it by taking the rest out of that order.
// That holds for reads, and for a write if the reads that saw it go with it:
// versions may have gaps. A delete takes all reads with it that may have seen
// the record deleted.
//
// One pass is enough. What cannot be dropped from a piece cannot be dropped from
// a shorter one.
func (l *life) shortest(ops []Op) []Op {
	kept := slices.Clone(ops)
	for _, op := range ops {
		if !slices.Contains(kept, op) {
			continue
		}
		if less := without(kept, op); l.decide(less) == porcupine.Illegal {
			kept = less
		}
	}
	return kept
}

func without(ops []Op, drop Op) []Op {
	deleting := never
	for _, op := range ops {
		if op.Kind == Delete {
			deleting = min(deleting, op.Call)
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(op Op) bool {
		switch {
		case op == drop:
			return true
		case drop.Kind == Write:
			return op.isRead() && op.Version == drop.Version && op.Tag == drop.Tag
		case drop.Kind == Delete:
			return op.isRead() && op.Version == 0 && deleting <= op.Return
		}
		return false
	})
}
