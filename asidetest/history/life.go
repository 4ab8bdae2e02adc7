package history

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// A key's states in the order in which it goes through them, as ranks: absent,
// its versions, deleted.
const (
	absent  int64 = 0
	deleted int64 = math.MaxInt64
)

const never = time.Duration(math.MaxInt64)

// ranked is an operation with the state that it made or saw.
type ranked struct {
	Op
	rank int64
}

// life is a key's history, prepared for the checkers.
type life struct {
	key     string
	options Options
	result  Result

	all []Op // by time of call
	// writes are those, deletes too, that took effect as far as anyone can tell:
	// the acknowledged ones; those of unknown outcome that a read saw, with the
	// version it saw; and deletes of unknown outcome. What nobody waited for may
	// take effect at any time after its call, so it returns never. Outside writes
	// return MaxOutside later than they did, or with a drop.
	writes []ranked
	// returned is when outside writes did return, by what they are in writes, and reads,
	// by what evidence makes of them.
	returned map[Op]time.Duration
	drops    drops // all
	dropsOn  map[int]drops
	// applied is, by the tag of an outside write, when the primary had it for certain. gone
	// is the same for the end of the record, if it was deleted outside alone.
	applied map[uint64]time.Duration
	gone    time.Duration
	// unseen are the writes of unknown outcome that no read saw.
	unseen []Op
	reads  []Op
	// seen are the first reads, by call, that returned each tag.
	seen map[uint64]Op
	// deleting is when the first delete was called; never if none was.
	deleting time.Duration

	partLength int // partLength
	// porcupine decides whether operations are linearizable.
	porcupine func(porcupine.Model, []porcupine.Operation, time.Duration) (porcupine.CheckResult, porcupine.LinearizationInfo)
}

func newLife(k *Key, o Options) *life {
	l := &life{
		key: k.Name(), options: o, all: k.snapshot(), seen: map[uint64]Op{}, returned: map[Op]time.Duration{}, deleting: never,
		partLength: partLength, porcupine: porcupine.CheckOperationsVerbose,
	}
	l.all = byCall(l.all)
	for _, op := range l.all {
		if op.isRead() {
			l.reads = append(l.reads, op)
			if _, ok := l.seen[op.Tag]; !ok && op.Version > 0 {
				l.seen[op.Tag] = op
			}
		}
	}
	l.drops, l.dropsOn = dropsOf(l.all)
	for _, op := range l.all {
		if !op.isWrite() {
			continue
		}
		if op.Unknown {
			op.Return = never
		} else if op.Outside {
			r := op.Return
			op.Return = l.shown(r)
			l.returned[op] = r
		}
		switch {
		case op.Kind == Delete:
			l.deleting = min(l.deleting, op.Call)
			l.writes = append(l.writes, ranked{op, deleted})
		case !op.Unknown:
			l.writes = append(l.writes, ranked{op, op.Version})
		case l.seen[op.Tag].Version != 0:
			op.Version = l.seen[op.Tag].Version
			l.writes = append(l.writes, ranked{op, op.Version})
		default:
			l.unseen = append(l.unseen, op)
		}
	}
	l.learn()
	return l
}

// learn finds out when the primary had outside writes.
func (l *life) learn() {
	l.applied, l.gone = map[uint64]time.Duration{}, never
	for _, w := range l.writes {
		switch {
		case w.Kind == Delete && !w.Outside:
			l.gone = -never
		case w.Kind == Delete:
			l.gone = min(l.gone, l.recorded(w.Op).Return)
		case w.Outside && w.Unknown:
			l.applied[w.Tag] = l.seen[w.Tag].Return
		case w.Outside:
			l.applied[w.Tag] = l.recorded(w.Op).Return
		}
	}
}

// shown is when strong reads must show an outside write that the primary had at t.
func (l *life) shown(t time.Duration) time.Duration {
	return min(later(t, l.options.MaxOutside), l.drops.after(t).Return)
}

// shownOn is the same for all reads on a node.
func (l *life) shownOn(node int, t time.Duration) time.Duration {
	return min(l.shownAnywhere(t), l.dropsOn[node].after(t).Return)
}

// shownAnywhere is the same for all reads on all nodes.
func (l *life) shownAnywhere(t time.Duration) time.Duration {
	return min(later(t, l.options.MaxOutside), later(l.drops.after(t).Return, l.options.MaxStale))
}

// evidence is a read as others are held to it: what it shows of an outside write counts
// only when all of them must show that.
func (l *life) evidence(read Op, shown func(t time.Duration) time.Duration) Op {
	t, ok := l.applied[read.Tag]
	if read.Version == 0 {
		t, ok = l.gone, l.deleting <= read.Return && l.gone != -never
	}
	if !ok {
		return read
	}
	if from := shown(t); from > read.Return {
		r := read.Return
		read.Return = from
		l.returned[read] = r
	}
	return read
}

// recorded is an operation of writes, or a read, as it was recorded.
func (l *life) recorded(op Op) Op {
	if r, ok := l.returned[op]; ok {
		op.Return = r
	}
	return op
}

// later is the time by after t; never if by is negative, or that is too late for a
// time.
func later(t, by time.Duration) time.Duration {
	if by < 0 || t > never-by {
		return never
	}
	return t + by
}

// newest is the newest state that a read can have seen. A read that found the
// record absent saw it deleted if a delete had begun by its return.
func newest(read Op, deleting time.Duration) int64 {
	if read.Version == 0 && deleting <= read.Return {
		return deleted
	}
	return read.Version
}

// settle decides of each read that found the record absent whether it saw it not
// yet created or deleted. Only one that returned after a delete was called can
// mean either. It means deleted if an operation that proves that the record
// existed returned before its call: then it can mean nothing else. Otherwise it
// means not yet created: it can, and that stands in no later operation's way.
func settle(ops []ranked, deleting time.Duration) {
	existed := never // when an operation first returned that proves it
	for _, op := range ops {
		if op.rank != absent {
			existed = min(existed, op.Return)
		}
	}
	for i, op := range ops {
		if op.isRead() && op.Version == 0 && deleting <= op.Return && existed < op.Call {
			ops[i].rank = deleted
		}
	}
}
