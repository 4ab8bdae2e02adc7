package history

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

type (
	counts = map[Promise]int64
	pieces = map[Promise][]Op
)

// The bound of the hand-made histories.
const bound = 10 * time.Millisecond

// TestHandMadeHistories says for each history which promises it breaks, how
// often, and with which operations the first violation of each is shown.
// Caught: each comparison of times and of versions in the checkers turned to
// include, or to exclude, the equal case; each rule for absent reads and for
// unknown outcomes left out.
func TestHandMadeHistories(t *testing.T) {
	w1, w2, w3 := write(0, 0, 10, 1), write(0, 20, 30, 2), write(0, 40, 50, 3)
	for _, c := range []struct {
		name  string
		ops   []Op
		want  counts
		shown pieces // what is not named here is only counted
	}{
		{name: "nothing"},
		{name: "one after another", ops: []Op{w1, strong(1, 11, 12, 1), read(1, 13, 14, 1), w2, strong(1, 31, 32, 2), read(2, 31, 32, 2)}},
		{name: "absent before the creation", ops: []Op{strong(1, 0, 1, 0), read(1, 2, 3, 0), write(0, 4, 5, 1), read(0, 6, 7, 1)}},

		// Freshness.
		{
			name: "strong read of what was replaced", ops: []Op{w1, w2, strong(1, 31, 32, 1)},
			want: counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{
				StrongReads:  {w2, strong(1, 31, 32, 1)},
				Linearizable: {w1, w2, strong(1, 31, 32, 1)},
			},
		},
		{
			name: "strong read of absence after the creation", ops: []Op{w1, strong(1, 11, 12, 0)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {w1, strong(1, 11, 12, 0)}, Linearizable: {w1, strong(1, 11, 12, 0)}},
		},
		{name: "called in the instant of the acknowledgement", ops: []Op{w1, w2, strong(1, 30, 31, 1)}},
		{name: "overlapping the write, old", ops: []Op{w1, w2, strong(1, 25, 99, 1)}},
		{name: "overlapping the write, new", ops: []Op{w1, w2, strong(1, 20, 21, 2)}},
		{name: "two overlapping reads of both", ops: []Op{w1, w2, strong(1, 22, 24, 2), strong(2, 24, 26, 1)}},
		{
			name: "the write that was acknowledged first counts", ops: []Op{w1, w2, w3, strong(1, 60, 61, 1)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {w2, strong(1, 60, 61, 1)}},
		},
		{
			name: "acknowledged late, and newer than one acknowledged before",
			ops:  []Op{w1, write(2, 15, 100, 2), write(3, 16, 40, 3), strong(1, 50, 51, 1), strong(1, 52, 53, 2), strong(4, 54, 55, 3)},
			want: counts{StrongReads: 2, Linearizable: 1},
			shown: pieces{
				StrongReads: {write(3, 16, 40, 3), strong(1, 50, 51, 1)},
			},
		},
		{name: "default read, stale within the bound", ops: []Op{w1, w2, read(1, 40, 41, 1)}},
		{
			name: "default read, staler than the bound", ops: []Op{w1, w2, read(1, 41, 42, 1)},
			want:  counts{Bounded: 1},
			shown: pieces{Bounded: {w2, read(1, 41, 42, 1)}},
		},

		// What no acknowledgement tells.
		{
			name: "strong reads go back while the write is under way",
			ops:  []Op{w1, write(0, 20, 99, 2), strong(1, 30, 40, 2), strong(2, 41, 50, 1)},
			want: counts{Linearizable: 1},
			shown: pieces{
				Linearizable: {w1, write(0, 20, 99, 2), strong(1, 30, 40, 2), strong(2, 41, 50, 1)},
			},
		},
		{
			name:  "later version written first",
			ops:   []Op{write(0, 0, 10, 2), write(1, 20, 30, 1)},
			want:  counts{Linearizable: 1},
			shown: pieces{Linearizable: {write(0, 0, 10, 2), write(1, 20, 30, 1)}},
		},
		{name: "later version acknowledged first", ops: []Op{write(0, 0, 40, 1), write(1, 20, 30, 2)}},

		// A node's own writes, and what it answered before.
		{
			name: "node forgets its own write", ops: []Op{w1, w2, read(1, 31, 32, 1).on(0)},
			want:  counts{OwnWrites: 1},
			shown: pieces{OwnWrites: {w2, read(1, 31, 32, 1).on(0)}},
		},
		{
			name: "node forgets its own write, strong", ops: []Op{w1, w2, strong(1, 31, 32, 1).on(0)},
			want:  counts{OwnWrites: 1, StrongReads: 1, Linearizable: 1},
			shown: pieces{OwnWrites: {w2, strong(1, 31, 32, 1).on(0)}},
		},
		{name: "own write acknowledged in the instant of the call", ops: []Op{w1, w2, read(1, 30, 32, 1).on(0)}},
		{name: "newer than the own write", ops: []Op{write(0, 0, 10, 1), write(1, 11, 20, 2), read(0, 21, 22, 2)}},
		{
			name: "node goes back", ops: []Op{w1, w2, read(1, 31, 32, 2), read(2, 33, 34, 1).on(1)},
			want:  counts{Monotonic: 1},
			shown: pieces{Monotonic: {read(1, 31, 32, 2), read(2, 33, 34, 1).on(1)}},
		},
		{
			name: "node goes back behind its strong read", ops: []Op{w1, w2, strong(1, 31, 32, 2), read(2, 33, 34, 1).on(1)},
			want:  counts{Monotonic: 1},
			shown: pieces{Monotonic: {strong(1, 31, 32, 2), read(2, 33, 34, 1).on(1)}},
		},
		{
			name: "node goes back to absent", ops: []Op{w1, read(1, 11, 12, 1), read(1, 13, 14, 0)},
			want:  counts{Monotonic: 1},
			shown: pieces{Monotonic: {read(1, 11, 12, 1), read(1, 13, 14, 0)}},
		},
		{
			name: "node goes back to absent for a moment", ops: []Op{w1, read(1, 11, 12, 1), read(1, 13, 14, 0), read(1, 15, 16, 1)},
			want: counts{Monotonic: 1},
		},
		{name: "another node is behind", ops: []Op{w1, w2, read(1, 31, 32, 2), read(2, 33, 34, 1)}},
		{name: "the answer came in the instant of the call", ops: []Op{w1, w2, read(1, 31, 33, 2), read(2, 33, 34, 1).on(1)}},

		// Unknown outcomes.
		{name: "unknown write that nobody saw", ops: []Op{w1, unknown(1, 12, 99), strong(2, 90, 91, 1)}},
		{name: "unknown write that made what is missing", ops: []Op{w1, unknown(1, 12, 99), write(0, 20, 30, 3), strong(2, 31, 32, 3)}},
		{name: "unknown write seen long after", ops: []Op{w1, unknown(1, 12, 2), strong(2, 500, 501, 1), strong(2, 600, 601, 2), write(0, 700, 701, 3)}},
		{name: "unknown write is no acknowledgement", ops: []Op{w1, unknown(1, 12, 2), read(2, 20, 21, 2), read(3, 40, 41, 1), strong(3, 20, 22, 1)}},
		{name: "the tag of an absent read means nothing", ops: []Op{strong(2, 0, 1, 0).tagged(2), w1, unknown(1, 12, 2), strong(2, 20, 21, 2)}},
		{
			name: "unknown write seen and then not",
			ops:  []Op{w1, unknown(1, 12, 2), strong(2, 20, 21, 2), strong(3, 22, 23, 1)},
			want: counts{Linearizable: 1},
			shown: pieces{
				Linearizable: {w1, returned(unknown(1, 12, 2), 2), strong(2, 20, 21, 2), strong(3, 22, 23, 1)},
			},
		},
		{
			name:  "unknown write seen before it was called",
			ops:   []Op{w1, unknown(1, 22, 2), read(2, 20, 21, 2)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {read(2, 20, 21, 2), unknown(1, 22, 2)}},
		},
		{name: "unknown write seen in the instant of its call", ops: []Op{w1, unknown(1, 21, 2), read(2, 20, 21, 2), strong(2, 20, 21, 2)}},
		{
			name: "unknown write that was seen by default reads alone has a place among the versions",
			ops:  []Op{w1, unknown(1, 12, 2), write(0, 20, 30, 3), read(2, 20, 21, 2)},
		},
		{
			name: "called too late to make what is missing", ops: []Op{w1, write(0, 20, 30, 3), strong(2, 31, 32, 3), unknown(1, 31, 99)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {w1, write(0, 20, 30, 3)}},
		},
		{name: "called in the last instant to make what is missing", ops: []Op{w1, write(0, 20, 30, 3), unknown(1, 30, 99)}},
		{
			name: "called too late for what a read saw", ops: []Op{w1, write(0, 20, 30, 3), read(2, 21, 22, 3), unknown(1, 23, 99)},
			want: counts{Intact: 1},
		},
		{
			name: "called too late for what was deleted", ops: []Op{w1, unknown(2, 11, 3), read(2, 60, 61, 3), del(0, 12, 13), unknown(1, 14, 99)},
			want: counts{Intact: 1, Bounded: 1},
		},
		{
			name: "one unknown write cannot make two versions", ops: []Op{w1, unknown(1, 12, 99), write(0, 20, 30, 3), write(0, 31, 32, 5), write(0, 33, 34, 6)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {write(0, 20, 30, 3), write(0, 31, 32, 5)}},
		},
		{
			name: "what is missing is told once",
			ops:  []Op{w1, write(0, 20, 30, 3), unknown(1, 31, 98), write(0, 40, 50, 5)},
			want: counts{Intact: 1},
		},
		{
			name: "a version made twice does not make another", ops: []Op{w1, write(2, 5, 12, 1).tagged(50), write(0, 20, 30, 3)},
			want: counts{Intact: 2, Linearizable: 1},
		},
		{
			name: "the first version is missing", ops: []Op{write(0, 0, 10, 2)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {write(0, 0, 10, 2)}},
		},

		// The end of the life.
		{name: "absent after the delete", ops: []Op{w1, read(1, 11, 12, 1), del(0, 20, 30), strong(1, 31, 32, 0), read(1, 33, 34, 0), read(0, 33, 34, 0)}},
		{name: "absent while it is deleted", ops: []Op{w1, strong(1, 11, 12, 1), del(0, 20, 30), strong(1, 20, 21, 0), strong(2, 20, 21, 1)}},
		{name: "absent as the delete is called", ops: []Op{w1, read(1, 11, 12, 1), del(0, 20, 30), strong(1, 13, 20, 0), read(1, 13, 20, 0)}},
		{
			name: "absent before it is deleted", ops: []Op{w1, strong(1, 13, 19, 0), del(0, 20, 30)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{Linearizable: {w1, strong(1, 13, 19, 0)}},
		},
		{
			name: "seen after the delete", ops: []Op{w1, del(0, 20, 30), strong(1, 31, 32, 1), read(2, 33, 34, 1), read(3, 41, 42, 1)},
			want: counts{StrongReads: 1, Linearizable: 1, Bounded: 1},
			shown: pieces{
				StrongReads:  {del(0, 20, 30), strong(1, 31, 32, 1)},
				Bounded:      {del(0, 20, 30), read(3, 41, 42, 1)},
				Linearizable: {w1, del(0, 20, 30), strong(1, 31, 32, 1)},
			},
		},
		{
			name: "seen after the own delete", ops: []Op{w1, del(0, 20, 30), read(0, 31, 32, 1)},
			want:  counts{OwnWrites: 1},
			shown: pieces{OwnWrites: {del(0, 20, 30), read(0, 31, 32, 1)}},
		},
		{
			name:  "written after the delete",
			ops:   []Op{w1, del(0, 20, 30), write(1, 31, 32, 2)},
			want:  counts{Linearizable: 1},
			shown: pieces{Linearizable: {del(0, 20, 30), write(1, 31, 32, 2)}},
		},
		{name: "written while it is deleted", ops: []Op{w1, del(0, 20, 30), write(1, 30, 32, 2)}},
		{
			name: "there, deleted, there again on one node",
			ops:  []Op{w1, read(1, 11, 12, 1), del(0, 20, 99), read(1, 21, 22, 0), read(1, 23, 24, 1)},
			want: counts{Monotonic: 1},
			shown: pieces{
				Monotonic: {read(1, 11, 12, 1), read(1, 21, 22, 0), read(1, 23, 24, 1)},
			},
		},
		{
			name: "the node may have answered from before the creation",
			ops:  []Op{w1, read(2, 11, 12, 1), del(0, 20, 99), read(1, 21, 22, 0), read(1, 23, 24, 1)},
		},
		{
			name: "there in the instant in which the absent read was called",
			ops:  []Op{w1, read(1, 11, 21, 1), del(0, 20, 99), read(1, 21, 22, 0), read(1, 23, 24, 1)},
		},
		{
			name: "there, deleted, there again, strong",
			ops:  []Op{w1, del(0, 20, 99), strong(1, 21, 22, 0), strong(2, 23, 24, 1)},
			want: counts{Linearizable: 1},
			shown: pieces{
				Linearizable: {w1, del(0, 20, 99), strong(1, 21, 22, 0), strong(2, 23, 24, 1)},
			},
		},
		{
			name: "evidence keeps the delete that explains its absent read",
			ops:  []Op{w1, write(2, 11, 12, 2), strong(1, 13, 20, 0), del(0, 20, 99), strong(2, 21, 22, 1)},
			want: counts{StrongReads: 1, OwnWrites: 1, Linearizable: 1},
			shown: pieces{
				Linearizable: {w1, strong(1, 13, 20, 0), del(0, 20, 99), strong(2, 21, 22, 1)},
			},
		},
		{name: "absent over the whole life", ops: []Op{strong(1, 0, 99, 0), write(0, 1, 10, 1), del(0, 20, 30), strong(2, 100, 101, 0)}},
		{name: "absent over the whole life, and then there", ops: []Op{strong(1, 0, 25, 0), write(0, 1, 10, 1), del(0, 20, 50), strong(2, 26, 27, 1)}},
		{name: "unknown delete, applied", ops: []Op{w1, unknownDel(0, 20), strong(1, 21, 22, 0), strong(1, 23, 24, 0), read(1, 50, 51, 0)}},
		{name: "unknown delete, not applied", ops: []Op{w1, unknownDel(0, 20), strong(1, 21, 22, 1), read(0, 90, 91, 1), write(0, 92, 93, 2)}},
		{name: "unknown delete, and another", ops: []Op{w1, unknownDel(0, 20), strong(1, 21, 22, 1), del(0, 30, 31), strong(1, 32, 33, 0)}},
		{
			name: "unknown delete, seen and then not",
			ops:  []Op{w1, unknownDel(0, 20), strong(1, 21, 22, 0), strong(2, 23, 24, 1)},
			want: counts{Linearizable: 1},
		},

		// Records that are mixed up.
		{
			name: "tag that nobody wrote", ops: []Op{w1, read(1, 11, 12, 1).tagged(77)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {read(1, 11, 12, 1).tagged(77)}},
		},
		{
			name: "version that nobody made, strong", ops: []Op{w1, strong(1, 11, 12, 7)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {strong(1, 11, 12, 7)}, Linearizable: {strong(1, 11, 12, 7)}},
		},
		{
			name: "tag of another version", ops: []Op{w1, w2, strong(1, 31, 32, 2).tagged(1)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {w1, strong(1, 31, 32, 2).tagged(1)}, Linearizable: {strong(1, 31, 32, 2).tagged(1)}},
		},
		{
			name: "tag of another version among right ones", ops: []Op{w1, w2, strong(1, 31, 45, 2), strong(2, 40, 50, 2).tagged(1), strong(3, 60, 61, 2)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Linearizable: {strong(2, 40, 50, 2).tagged(1)}},
		},
		{
			name:  "read before it was written",
			ops:   []Op{w1, strong(1, 12, 19, 2), w2},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {strong(1, 12, 19, 2), w2}, Linearizable: {strong(1, 12, 19, 2), w2}},
		},
		{name: "read in the instant in which the write is called", ops: []Op{w1, strong(1, 12, 20, 2), w2}},
		{
			name:  "unknown write with two versions",
			ops:   []Op{w1, unknown(1, 12, 2), read(2, 20, 21, 2), read(3, 30, 31, 3).tagged(2)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {unknown(1, 12, 2), read(2, 20, 21, 2), read(3, 30, 31, 3).tagged(2)}},
		},
		{
			name:  "less than absent",
			ops:   []Op{w1, unknown(1, 12, 2), read(2, 20, 21, -1).tagged(2)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {read(2, 20, 21, -1).tagged(2)}},
		},
		{
			name:  "two writes make one version",
			ops:   []Op{w1, write(2, 5, 12, 1).tagged(50)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {w1, write(2, 5, 12, 1).tagged(50)}, Linearizable: {w1, write(2, 5, 12, 1).tagged(50)}},
		},
		{
			name:  "an unknown write makes a version that another made",
			ops:   []Op{w1, unknown(2, 5, 50), read(3, 12, 13, 1).tagged(50)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {w1, returned(unknown(2, 5, 50), 1), read(3, 12, 13, 1).tagged(50)}},
		},
		{
			name:  "two writes with one tag",
			ops:   []Op{w1, w2.tagged(1)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {w1, w2.tagged(1)}},
		},
		{
			name:  "a write that made no version",
			ops:   []Op{w1, write(1, 11, 12, 0).tagged(50)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {write(1, 11, 12, 0).tagged(50)}, Linearizable: {write(1, 11, 12, 0).tagged(50)}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 5 { // in any order of recording
				rand.Shuffle(len(c.ops), func(i, j int) { c.ops[i], c.ops[j] = c.ops[j], c.ops[i] })
				r := Check(keyOf(c.ops...), Options{MaxStale: bound})
				if !maps.Equal(r.Broken, c.want) {
					t.Errorf("broken: %v, want %v", r.Broken, c.want)
				}
				for p, want := range c.shown {
					if v := first(r, p); !slices.Equal(v.Ops, want) {
						t.Errorf("%s, want these operations:\n%s", v, table(want))
					}
				}
				if t.Failed() {
					t.Fatalf("history:\n%s\n%v", table(c.ops), r.Violations)
				}
			}
		})
	}
}

// returned is an unknown write whose version reads told.
func returned(op Op, version int64) Op {
	op.Version, op.Return = version, never
	return op
}

func first(r Result, p Promise) Violation {
	for _, v := range r.Violations {
		if v.Promise == p {
			return v
		}
	}
	return Violation{}
}
