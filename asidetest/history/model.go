package history

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// register is the state of the model: what the record is, and how many reads
// have seen it so.
type register struct {
	rank  int64
	tag   uint64
	reads int
}

// step is an operation of the model. Writes follow each other in the order of
// their versions: from is the rank before, due how many reads see that one.
type step struct {
	op   ranked
	from int64
	due  int
}

// record is the model: its reads return what it is.
var record = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, _ any) (bool, any) {
		r, s := state.(register), input.(step)
		switch {
		case s.op.isRead():
			ok := r.rank == s.op.rank && (s.op.Version == 0 || r.tag == s.op.Tag)
			r.reads++
			return ok, r
		case s.op.Kind == Delete && r.rank == deleted:
			return true, r // again
		default:
			return r.rank == s.from, register{rank: s.op.rank, tag: s.op.Tag}
		}
	},
	DescribeOperation: func(input, _ any) string {
		op := input.(step).op.Op
		what := versionOf(op)
		if op.Kind == Delete {
			what = ""
		}
		s := fmt.Sprintf("%s %s (client %d, %s)", op.Kind, what, op.Client, through(op))
		if op.Unknown {
			s += ", never acknowledged"
		}
		return s
	},
	DescribeState: func(s any) string { return state(s.(register).rank) },
}

// patient is the same model, but that a write waits for the reads of the state
// that it ends. No state comes back, so they have no other place, and no verdict
// changes; but while record lets porcupine find that out much later, by trying
// everything in between, this leaves next to nothing to search.
var patient = func() porcupine.Model {
	m := record
	m.Step = func(state, input, output any) (bool, any) {
		ok, next := record.Step(state, input, output)
		r, s := state.(register), input.(step)
		return ok && (s.op.isRead() || r.rank == deleted || r.reads == s.due), next
	}
	return m
}()

// operations makes a piece of history one for the models. Where it is cut out of
// a longer one, each read must have its write with it.
func operations(ops []Op) []porcupine.Operation {
	ops = slices.DeleteFunc(slices.Clone(ops), func(op Op) bool { return op.Kind == Drop })
	deleting := never
	all := make([]ranked, len(ops))
	for i, op := range ops {
		all[i] = ranked{op, op.Version}
		if op.Kind == Delete {
			deleting = min(deleting, op.Call)
			all[i].rank = deleted
		}
	}
	settle(all, deleting)
	due := map[int64]int{}
	ranks := []int64{absent}
	for _, op := range all {
		if op.isRead() {
			due[op.rank]++
		} else {
			ranks = append(ranks, op.rank)
		}
	}
	slices.Sort(ranks)
	rows := rows{}
	out := make([]porcupine.Operation, len(all))
	for i, op := range all {
		s := step{op: op}
		if !op.isRead() {
			// The first of ranks is absent. A write that claims to have made that,
			// or less, has no place.
			at, _ := slices.BinarySearch(ranks, op.rank)
			s.from = -1
			if at > 0 {
				s.from = ranks[at-1]
			}
			s.due = due[s.from]
		}
		out[i] = porcupine.Operation{
			ClientId: rows.of(op.Op),
			Input:    s,
			Call:     int64(op.Call),
			Return:   int64(op.Return),
		}
	}
	return out
}

// rows gives the operations of a picture their rows: one for each client, and
// one for each operation that its client did not wait for.
type rows map[int]int

func (r rows) of(op Op) int {
	key := op.Client
	if op.Unknown {
		key = -1 - len(r)
	}
	row, ok := r[key]
	if !ok {
		row = len(r)
		r[key] = row
	}
	return row
}
