package history

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestDrops says for each history which promises it breaks, and with which operations, as
// they were recorded: after a drop, an outside write counts at once.
// Caught: a drop that was called before the write had returned; one of another node that
// counted at once for default reads; absences, which a drop by a tag does not reach, held to
// a drop; evidence without the drop.
func TestDrops(t *testing.T) {
	w1, out2, d := write(0, 0, 10, 1), write(9, 20, 30, 2).past(), drop(5, 31, 40)
	for _, c := range []struct {
		name  string
		ops   []Op
		want  counts
		shown pieces
	}{
		{name: "new after it", ops: []Op{w1, out2, d, strong(1, 41, 42, 2), read(2, 41, 42, 2), read(5, 41, 42, 2)}},
		{name: "old before its end", ops: []Op{w1, out2, d, strong(1, 40, 42, 1), read(5, 40, 42, 1), read(2, 50, 51, 1)}},
		{
			name: "strong read, old", ops: []Op{w1, out2, d, strong(1, 41, 42, 1)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {out2, d, strong(1, 41, 42, 1)}, Linearizable: {w1, out2, d, strong(1, 41, 42, 1)}},
		},
		{
			name: "default read on the same node, old", ops: []Op{w1, out2, d, read(5, 41, 42, 1)},
			want:  counts{OwnWrites: 1},
			shown: pieces{OwnWrites: {out2, d, read(5, 41, 42, 1)}},
		},
		{
			name: "default read on another node, old for too long", ops: []Op{w1, out2, d, read(2, 51, 52, 1)},
			want:  counts{Bounded: 1},
			shown: pieces{Bounded: {out2, d, read(2, 51, 52, 1)}},
		},
		{name: "called when the write returned", ops: []Op{w1, out2, drop(5, 30, 40), strong(1, 41, 42, 1), read(5, 41, 42, 1)}},
		{name: "called too early, and returned late", ops: []Op{w1, out2, drop(5, 22, 60), strong(1, 61, 62, 1), read(5, 61, 62, 1)}},
		{
			name: "the one that returned first counts", ops: []Op{w1, out2, drop(6, 31, 60), drop(5, 32, 40), drop(7, 50, 55), strong(1, 41, 42, 1)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {out2, drop(5, 32, 40), strong(1, 41, 42, 1)}},
		},
		{
			name: "later than the bound", ops: []Op{w1, out2, drop(5, 31, 140), strong(1, 131, 132, 1)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {out2, strong(1, 131, 132, 1)}},
		},
		{
			name: "of a write through another node", ops: []Op{w1, write(0, 20, 30, 2), drop(5, 31, 38), read(5, 39, 40, 1), read(6, 39, 40, 1)},
			want:  counts{OwnWrites: 1},
			shown: pieces{OwnWrites: {write(0, 20, 30, 2), drop(5, 31, 38), read(5, 39, 40, 1)}},
		},
		{name: "an absence that it did not reach", ops: []Op{write(0, 20, 30, 1), drop(5, 31, 38), read(5, 39, 40, 0)}},
		{name: "seen and then not, elsewhere", ops: []Op{w1, out2, read(3, 31, 32, 2), drop(5, 33, 40), read(4, 50, 51, 1).on(3)}},
		{
			name: "seen and then not, elsewhere, for too long", ops: []Op{w1, out2, read(3, 31, 32, 2), drop(5, 33, 40), read(4, 51, 52, 1).on(3)},
			want:  counts{Bounded: 1, Monotonic: 1},
			shown: pieces{Monotonic: {read(3, 31, 32, 2), drop(5, 33, 40), read(4, 51, 52, 1).on(3)}},
		},
		{
			name: "seen and then not, on the same node", ops: []Op{w1, out2, read(3, 31, 32, 2), drop(3, 33, 40), read(4, 41, 42, 1).on(3)},
			want:  counts{OwnWrites: 1, Monotonic: 1},
			shown: pieces{Monotonic: {read(3, 31, 32, 2), drop(3, 33, 40), read(4, 41, 42, 1).on(3)}},
		},
		{
			name: "an unknown outside write, seen and then not", ops: []Op{w1, unknown(9, 12, 2).past(), strong(1, 20, 21, 2), drop(5, 22, 30), strong(2, 31, 32, 1)},
			want:  counts{Linearizable: 1},
			shown: pieces{Linearizable: {w1, returned(unknown(9, 12, 2).past(), 2), strong(1, 20, 21, 2), drop(5, 22, 30), strong(2, 31, 32, 1)}},
		},
		{name: "an unknown outside write, seen after its call", ops: []Op{w1, unknown(9, 12, 2).past(), strong(1, 20, 23, 2), drop(5, 22, 30), strong(2, 31, 32, 1)}},
		{
			name: "there after an outside delete", ops: []Op{w1, del(9, 20, 30).past(), d, strong(1, 41, 42, 1), strong(2, 41, 42, 0)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {del(9, 20, 30).past(), d, strong(1, 41, 42, 1)}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 5 { // in any order of recording
				rand.Shuffle(len(c.ops), func(i, j int) { c.ops[i], c.ops[j] = c.ops[j], c.ops[i] })
				r := Check(keyOf(c.ops...), Options{MaxStale: bound, MaxOutside: outsideBound, Pictures: t.TempDir()})
				if !maps.Equal(r.Broken, c.want) {
					t.Errorf("broken: %v, want %v", r.Broken, c.want)
				}
				for p, want := range c.shown {
					v := first(r, p)
					if !slices.Equal(v.Ops, want) || v.PictureErr != nil {
						t.Errorf("%s, %v, want these operations:\n%s", v, v.PictureErr, table(want))
					}
				}
				if t.Failed() {
					t.Fatalf("history:\n%s\n%v", table(c.ops), r.Violations)
				}
			}
		})
	}
}

// TestDropsAreCounted: which reads a drop alone held to an outside write, and what a
// violation says of it.
// Caught: reads past the bound among them; default reads.
func TestDropsAreCounted(t *testing.T) {
	ops := []Op{
		write(0, 0, 10, 1), write(9, 20, 30, 2).past(), drop(5, 31, 40),
		strong(1, 40, 41, 2), strong(2, 41, 42, 2), strong(3, 130, 131, 1), strong(4, 131, 132, 2), // the second and the third
		read(6, 41, 42, 2), read(7, 51, 52, 2), // held: one
	}
	r := Check(keyOf(ops...), Options{MaxStale: bound, MaxOutside: outsideBound})
	var sum Result
	sum.Add(r)
	sum.Add(r)
	if r.HeldByDrop != 2 || r.Held != 4 || r.Ops[Drop] != 1 || sum.HeldByDrop != 4 {
		t.Errorf("%+v", r)
	}
	v := first(r, StrongReads)
	const want = `a strong read of client 3 on node 3, called at 0.130000s, returned version 1, but version 2 (client 9, outside) had been acknowledged 100ms before, and a drop through node 5 that was called after that had returned 90ms before.

  client     node    operation  version  tag       call     return
       9  outside        write        2    2  0.020000s  0.030000s
       5        5         drop        -    -  0.031000s  0.040000s
       3        3  strong read        1    1  0.130000s  0.131000s
`
	if _, got, _ := strings.Cut(v.String(), "key k: "); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
