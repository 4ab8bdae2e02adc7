package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// partLength is how many states of a key are decided at one time. The memory
// that porcupine takes grows with the square of the operations.
const partLength = 64

const defaultTimeout = 10 * time.Second

// linearizable has porcupine decide whether strong reads, writes and deletes
// can be put in one order.
//
// Every read tells its version, and versions tell the order of the writes, so
// porcupine need not see everything:
//
//   - Of the reads of one version two decide, that which returned first and that
//     which was called last. If these have places in the order, so have all
//     others: each returned after the first one's place and was called before the
//     second one's, and the version is there from one to the other.
//   - The history is cut into parts of some states each. There is no order if and
//     only if an operation on a newer state returned before one on an older was
//     called, so of what is older than a part only its latest call matters to it.
func (l *life) linearizable() {
	undecided := false
	for _, part := range l.parts() {
		switch l.decide(part) {
		case porcupine.Unknown:
			undecided = true
		case porcupine.Illegal:
			ops := l.shortest(part)
			l.violated(Linearizable, ops[len(ops)-1], func() string {
				return fmt.Sprintf("no order of these %d operations, each at some time between its call and its return, explains what was read.", len(ops))
			}, ops...)
			return
		}
	}
	if undecided {
		l.result.Undecided = 1
	}
}

func (l *life) decide(ops []Op) porcupine.CheckResult {
	timeout := cmp.Or(l.options.Timeout, defaultTimeout)
	// The verbose one waits for its goroutine, also after a time-out.
	verdict, _ := l.porcupine(patient, operations(ops), timeout)
	return verdict
}

// ordered returns the operations that Linearizable is about, by rank, reads of
// one rank by call.
func (l *life) ordered() []ranked {
	ops := slices.Clone(l.writes)
	for _, read := range l.reads {
		if read.Kind == ReadStrong {
			ops = append(ops, ranked{l.evidence(read, l.shown), read.Version})
		}
	}
	settle(ops, l.deleting)
	slices.SortStableFunc(ops, func(a, b ranked) int { return cmp.Compare(a.rank, b.rank) })
	return ops
}

// parts cuts the history. Besides its own operations a part has
//
//   - that of all older ones which was called last;
//   - that which returned first of all that prove that the record existed, since
//     from then on an absent record is one that was deleted;
//   - the writes that its reads saw.
func (l *life) parts() [][]Op {
	ops := thin(l.ordered())
	wrote := map[register]int{} // index of the write
	proof, latest := -1, -1
	for i, op := range ops {
		if !op.isRead() {
			wrote[register{rank: op.rank, tag: op.Tag}] = i
		}
		if op.rank != absent && (proof < 0 || op.Return < ops[proof].Return) {
			proof = i
		}
	}
	var parts [][]Op
	for from := 0; from < len(ops); {
		part := map[int]bool{}
		add := func(i int) {
			if i < 0 {
				return
			}
			part[i] = true
			if w, ok := wrote[register{rank: ops[i].rank, tag: ops[i].Tag}]; ok && ops[i].isRead() {
				part[w] = true
			}
		}
		add(proof)
		add(latest)
		to := l.end(ops, from)
		for i := from; i < to; i++ {
			add(i)
			if latest < 0 || ops[i].Call > ops[latest].Call {
				latest = i
			}
		}
		parts = append(parts, pick(ops, part))
		from = to
	}
	return parts
}

// end returns the end of the part that begins at from.
func (l *life) end(ops []ranked, from int) int {
	states := 1
	for i := from + 1; i < len(ops); i++ {
		if ops[i].rank == ops[i-1].rank {
			continue
		}
		if states++; states > l.partLength {
			return i
		}
	}
	return len(ops)
}

func pick(ops []ranked, which map[int]bool) []Op {
	var picked []Op
	for _, i := range slices.Sorted(maps.Keys(which)) {
		picked = append(picked, ops[i].Op)
	}
	return byCall(picked)
}

// thin drops all reads of one state but that which returned first and that which
// was called last. ops are by rank, reads of one rank by call.
func thin(ops []ranked) []ranked {
	type reads struct{ first, last int }
	matter := map[register]reads{}
	of := func(op ranked) register {
		if op.Version == 0 {
			return register{rank: op.rank}
		}
		return register{rank: op.rank, tag: op.Tag}
	}
	for i, op := range ops {
		if !op.isRead() {
			continue
		}
		m, ok := matter[of(op)]
		if !ok || op.Return < ops[m.first].Return {
			m.first = i
		}
		m.last = i
		matter[of(op)] = m
	}
	var thinned []ranked
	for i, op := range ops {
		if m := matter[of(op)]; !op.isRead() || i == m.first || i == m.last {
			thinned = append(thinned, op)
		}
	}
	return thinned
}
