package history

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The bound for outside writes in the hand-made histories.
const outsideBound = 100 * time.Millisecond

// past makes a write one that went past all nodes. Its node means nothing.
func (o Op) past() Op {
	o.Outside = true
	return o
}

// TestOutsideWrites says for each history which promises it breaks, and with which
// operations, as they were recorded.
// Caught: the Return of an outside write not moved, or moved twice as far; a default read
// allowed MaxStale on top of the bound; own writes held against node 0, the zero value;
// what the primary had acknowledged not taken for there; evidence with moved times.
func TestOutsideWrites(t *testing.T) {
	w1, out2, w3 := write(0, 0, 10, 1), write(0, 20, 30, 2).past(), write(0, 40, 50, 3)
	for _, c := range []struct {
		name  string
		ops   []Op
		want  counts
		shown pieces
	}{
		{name: "old just before the bound", ops: []Op{w1, out2, strong(1, 31, 32, 1), strong(1, 130, 131, 1), read(2, 130, 131, 1), read(0, 130, 131, 1)}},
		{name: "new before the bound, and after it", ops: []Op{w1, out2, strong(1, 21, 22, 2), strong(1, 200, 201, 2), read(2, 200, 201, 2)}},
		{
			name: "strong read, old just behind the bound", ops: []Op{w1, out2, strong(1, 131, 132, 1)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {out2, strong(1, 131, 132, 1)}, Linearizable: {w1, out2, strong(1, 131, 132, 1)}},
		},
		{
			name: "default read, old just behind the bound", ops: []Op{w1, out2, read(1, 131, 132, 1)},
			want:  counts{Bounded: 1},
			shown: pieces{Bounded: {out2, read(1, 131, 132, 1)}},
		},
		{
			name: "old behind the bound, on the node that its zero value names", ops: []Op{w1, out2, read(0, 131, 132, 1)},
			want: counts{Bounded: 1},
		},
		{
			name: "a write through a node is not late because of an outside one", ops: []Op{w1, out2, w3, strong(1, 51, 52, 1), strong(2, 53, 54, 2), read(3, 61, 62, 2), read(0, 51, 52, 2)},
			want: counts{StrongReads: 2, Linearizable: 1, Bounded: 1, OwnWrites: 1},
			shown: pieces{
				StrongReads: {w3, strong(1, 51, 52, 1)}, Bounded: {w3, read(3, 61, 62, 2)}, OwnWrites: {w3, read(0, 51, 52, 2)},
			},
		},
		{
			name: "an outside write after one through a node", ops: []Op{w1, write(0, 20, 30, 2), write(5, 40, 50, 3).past(), strong(1, 60, 61, 2), read(1, 150, 151, 2), strong(2, 151, 152, 2)},
			want:  counts{StrongReads: 1, Linearizable: 1},
			shown: pieces{StrongReads: {write(5, 40, 50, 3).past(), strong(2, 151, 152, 2)}},
		},
		{
			name: "seen and then not, within the bound",
			ops:  []Op{w1, out2, strong(1, 31, 32, 2), strong(2, 130, 131, 1), read(3, 31, 32, 2), read(4, 130, 131, 1).on(3)},
		},
		{
			name: "seen and then not, behind the bound", ops: []Op{w1, out2, read(1, 31, 32, 2), read(2, 131, 132, 1).on(1)},
			want:  counts{Bounded: 1, Monotonic: 1},
			shown: pieces{Monotonic: {read(1, 31, 32, 2), read(2, 131, 132, 1).on(1)}},
		},
		{
			name: "seen and then not, with a write through a node on top", ops: []Op{w1, out2, write(0, 40, 99, 3), strong(1, 50, 51, 3), strong(2, 52, 53, 2)},
			want:  counts{Linearizable: 1},
			shown: pieces{Linearizable: {out2, write(0, 40, 99, 3), strong(1, 50, 51, 3), strong(2, 52, 53, 2)}},
		},
		{
			name: "seen before it was called", ops: []Op{w1, read(1, 18, 19, 2), out2},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {read(1, 18, 19, 2), out2}},
		},
		{
			name: "two writes make one version", ops: []Op{w1, write(0, 20, 30, 2), write(5, 22, 32, 2).past().tagged(50)},
			want:  counts{Intact: 1, Linearizable: 1},
			shown: pieces{Intact: {write(0, 20, 30, 2), write(5, 22, 32, 2).past().tagged(50)}},
		},
		{
			name: "called too late to make what is missing before it", ops: []Op{w1, write(5, 20, 30, 3).past(), unknown(1, 31, 99)},
			want:  counts{Intact: 1},
			shown: pieces{Intact: {w1, write(5, 20, 30, 3).past()}},
		},
		{name: "called in time to make what is missing before it", ops: []Op{w1, write(5, 20, 30, 3).past(), unknown(1, 30, 99)}},

		{name: "unknown outside write, never seen", ops: []Op{w1, unknown(5, 12, 99).past(), strong(1, 900, 901, 1), read(2, 900, 901, 1)}},
		{name: "unknown outside write, seen late", ops: []Op{w1, unknown(5, 12, 2).past(), strong(1, 900, 901, 1), strong(1, 902, 903, 2)}},
		{
			name: "unknown outside write, seen and then not", ops: []Op{w1, unknown(5, 12, 2).past(), strong(1, 900, 901, 2), strong(2, 1002, 1003, 1)},
			want:  counts{Linearizable: 1},
			shown: pieces{Linearizable: {w1, returned(unknown(5, 12, 2).past(), 2), strong(1, 900, 901, 2), strong(2, 1002, 1003, 1)}},
		},
		{name: "unknown outside write, seen and then not, soon after it was seen first", ops: []Op{w1, unknown(5, 12, 2).past(), strong(1, 900, 901, 2), strong(2, 1001, 1002, 1)}},

		{name: "there after the outside delete, before the bound", ops: []Op{w1, del(5, 20, 30).past(), strong(1, 31, 32, 1), read(2, 130, 131, 1), strong(1, 200, 201, 0)}},
		{
			name: "there after the outside delete, behind the bound", ops: []Op{w1, del(5, 20, 30).past(), strong(1, 131, 132, 1), read(2, 131, 132, 1)},
			want:  counts{StrongReads: 1, Linearizable: 1, Bounded: 1},
			shown: pieces{StrongReads: {del(5, 20, 30).past(), strong(1, 131, 132, 1)}, Bounded: {del(5, 20, 30).past(), read(2, 131, 132, 1)}},
		},
		{
			name: "there, deleted outside, there again, behind the bound", ops: []Op{w1, del(5, 20, 30).past(), strong(1, 31, 32, 0), strong(2, 131, 132, 1)},
			want: counts{Linearizable: 1, StrongReads: 1},
		},
		{name: "there, deleted outside, there again", ops: []Op{w1, del(5, 20, 30).past(), strong(1, 31, 32, 0), strong(2, 33, 34, 1)}},
		{
			name: "there, deleted on both ways, there again", ops: []Op{w1, del(5, 20, 30).past(), del(0, 22, 99), strong(1, 31, 32, 0), strong(2, 33, 34, 1)},
			want: counts{Linearizable: 1},
		},
		{name: "absent as the outside delete is called", ops: []Op{w1, strong(1, 13, 20, 0), del(5, 20, 30).past()}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 5 { // in any order of recording
				rand.Shuffle(len(c.ops), func(i, j int) { c.ops[i], c.ops[j] = c.ops[j], c.ops[i] })
				r := Check(keyOf(c.ops...), Options{MaxStale: bound, MaxOutside: outsideBound})
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

// TestOutsideStaleness: the lag of outside writes is measured from their returns, within
// the bound too, and the staleness against the bound apart from it.
// Caught: the lag measured against what nodes wrote; against moved returns; Held that
// counts reads for which a write through a node was newer; Add without the new fields.
func TestOutsideStaleness(t *testing.T) {
	ops := []Op{
		write(0, 0, 10, 1), write(9, 20, 30, 2).past(), unknown(8, 5000, 99).past(),
		strong(1, 34, 35, 1), strong(2, 90, 91, 2), strong(3, 200, 201, 2), // held: one
		read(4, 40, 41, 1), read(5, 190, 191, 1), read(6, 210, 211, 2), // held: two, one of them stale
		write(0, 300, 310, 3),
		strong(7, 320, 321, 3), read(8, 330, 331, 2), // a write through a node is newer
	}
	type late struct {
		client int
		by     time.Duration
	}
	var told, stale []late
	r := Check(keyOf(ops...), Options{
		MaxStale: time.Second, MaxOutside: outsideBound,
		OnOutside: func(read Op, by time.Duration) { told = append(told, late{read.Client, by}) },
		OnStale:   func(read Op, by time.Duration) { stale = append(stale, late{read.Client, by}) },
	})
	if want := (counts{Bounded: 1}); !maps.Equal(r.Broken, want) {
		t.Errorf("broken: %v, want %v", r.Broken, want)
	}
	if want := []late{{1, ms(4)}, {4, ms(10)}, {5, ms(160)}}; !slices.Equal(told, want) {
		t.Errorf("late for outside writes: %v, want %v", told, want)
	}
	if want := []late{{5, ms(60)}, {8, ms(20)}}; !slices.Equal(stale, want) {
		t.Errorf("stale: %v, want %v", stale, want)
	}
	check := func(r *Result, times int64) {
		t.Helper()
		if r.Outside != 2*times || r.Held != 3*times || r.Unknown != times {
			t.Errorf("%d outside writes, %d reads held to them, %d unknown", r.Outside, r.Held, r.Unknown)
		}
		s, d := &r.OutsideStrong, &r.OutsideDefault
		if s.Reads != 4*times || s.Stale != times || s.Worst != ms(4) || s.Quantile(0.5) != ms(4) {
			t.Errorf("strong reads: %+v", s)
		}
		if d.Reads != 4*times || d.Stale != 2*times || d.Worst != ms(160) || d.Quantile(0.5) != ms(10) {
			t.Errorf("default reads: %+v", d)
		}
		if r.Strong.Stale != 0 || r.Default.Stale != 2*times || r.Default.Worst != ms(60) {
			t.Errorf("%+v, %+v", r.Strong, r.Default)
		}
	}
	check(&r, 1)
	var both Result
	both.Add(r)
	both.Add(r)
	check(&both, 2)
}

// TestOutsideBound: a negative bound allows everything, a very long one does not overflow,
// and a negative MaxStale checks no default read.
// Caught: the sum of a time and a long bound below zero.
func TestOutsideBound(t *testing.T) {
	ops := []Op{write(0, 0, 10, 1), write(9, 20, 30, 2).past(), strong(1, 5000, 5001, 1), read(2, 5000, 5001, 1)}
	for _, bound := range []time.Duration{-1, never, never - 1} {
		r := Check(keyOf(ops...), Options{MaxOutside: bound})
		if r.Violated() != 0 || r.Held != 0 || r.OutsideStrong.Worst != ms(4970) {
			t.Errorf("bound %d: broken: %v, %d reads held, worst %v", bound, r.Broken, r.Held, r.OutsideStrong.Worst)
		}
	}
	r := Check(keyOf(ops...), Options{MaxOutside: outsideBound, MaxStale: -1})
	if want := (counts{StrongReads: 1, Linearizable: 1}); !maps.Equal(r.Broken, want) {
		t.Errorf("with any staleness allowed: %v, want %v", r.Broken, want)
	}
}

// TestOutsideViolationsAreReadable: the text and the picture say that a write came from
// outside, when it returned, and which bound holds.
// Caught: texts that name a node for it; the picture drawn with the times as recorded, in
// which the read has no place at all.
func TestOutsideViolationsAreReadable(t *testing.T) {
	ops := []Op{write(0, 0, 10, 1), write(9, 20, 30, 2).past(), strong(1, 60, 61, 1), strong(2, 1031, 1032, 1)}
	r := Check(keyOf(ops...), Options{MaxOutside: time.Second, Promises: []Promise{StrongReads}, Pictures: t.TempDir()})
	v := first(r, StrongReads)
	const want = `P2 strong reads: it does not hold that a strong read returns no version older than a write that was acknowledged before its call: key k: a strong read of client 2 on node 2, called at 1.031000s, returned version 1, but version 2 (client 9, outside) had been acknowledged 1.001s before; the bound is 1s.

  client     node    operation  version  tag       call     return
       9  outside        write        2    2  0.020000s  0.030000s
       2        2  strong read        1    1  1.031000s  1.032000s
`
	if got, _, _ := strings.Cut(v.String(), "\ndrawn in"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	page, err := os.ReadFile(v.Picture)
	if err != nil || !strings.Contains(string(page), "write 2 (client 9, outside)") || !strings.Contains(string(page), `"OriginalEnd":"1030000000"`) {
		t.Errorf("%v\n%s", err, page)
	}
}

// shifted is the history as the checkers are to see it: without drops, and with what is
// known of an outside write moved to when it is to be shown.
func shifted(ops []Op, shown func(t time.Duration) time.Duration) []Op {
	moved := byCall(ops)
	for i, op := range moved {
		switch {
		case op.Outside && !op.Unknown:
			moved[i].Return = shown(op.Return)
		case op.isRead() && op.Version > 0:
			for _, w := range ops {
				if w.Kind != Write || !w.Outside || w.Tag != op.Tag {
					continue
				}
				if w.Unknown { // since the first read that showed it
					w.Return = byCall(ops)[slices.IndexFunc(byCall(ops), func(o Op) bool { return o.isRead() && o.Version > 0 && o.Tag == op.Tag })].Return
				}
				moved[i].Return = max(op.Return, shown(w.Return))
			}
		case op.isRead() && op.Version == 0 && bruteDeleting(ops) <= op.Return:
			gone := never
			for _, w := range ops {
				if w.Kind == Delete && !w.Outside {
					gone = -never
				} else if w.Kind == Delete && !w.Unknown {
					gone = min(gone, shown(w.Return))
				}
			}
			moved[i].Return = max(op.Return, gone)
		}
	}
	return slices.DeleteFunc(moved, func(op Op) bool { return op.Kind == Drop })
}

// bruteShown returns when an outside write of a time is to be shown: by everybody, if it
// returned by so long ago; and after a drop, as much later as extra says.
func bruteShown(ops []Op, by time.Duration, extra func(drop Op) time.Duration) func(t time.Duration) time.Duration {
	return func(t time.Duration) time.Duration {
		first := t + by
		for _, d := range ops {
			if d.Kind == Drop && d.Call > t {
				first = min(first, d.Return+extra(d))
			}
		}
		return first
	}
}

func atOnce(Op) time.Duration { return 0 }

// someDrops adds drops.
func someDrops(t *rapid.T, ops []Op, until time.Duration) []Op {
	for i := range rapid.IntRange(0, 2).Draw(t, "drops") {
		d := Op{Kind: Drop, Client: 1000 + i, Node: rapid.IntRange(0, 1).Draw(t, "node of the drop")}
		d.Call = time.Duration(rapid.IntRange(0, int(until)).Draw(t, "call of the drop"))
		d.Return = d.Call + time.Duration(rapid.IntRange(0, 3).Draw(t, "the drop takes"))
		ops = append(ops, d)
	}
	return ops
}

// someOutside makes some of the writes outside ones.
func someOutside(t *rapid.T, ops []Op) []Op {
	share := rapid.IntRange(0, 3).Draw(t, "share of outside writes")
	for i := range ops {
		ops[i].Outside = ops[i].isWrite() && rapid.IntRange(0, 2).Draw(t, "outside") < share
	}
	return ops
}

// lagging draws a history of a cached record that is changed outside too. The cache learns
// of that up to lag after the write's return; until then all reads return what was there
// before, or what the primary has. A write through a node makes the cache know all.
func lagging(t *rapid.T, operations int, lag time.Duration) []Op {
	type state struct {
		version int64
		tag     uint64
	}
	var ops []Op
	var now time.Duration
	var primary, cached state
	var known []struct { // what the cache will learn, and when
		at time.Duration
		state
	}
	gone := false
	learn := func(until time.Duration) {
		for len(known) > 0 && known[0].at <= until {
			if cached.version >= 0 && (known[0].version > cached.version || known[0].version < 0) {
				cached = known[0].state
			}
			known = known[1:]
		}
	}
	for i := range operations {
		now += time.Duration(rapid.IntRange(1, 6).Draw(t, "pause"))
		learn(now)
		op := Op{Client: i, Node: i % 3, Call: now - time.Duration(rapid.IntRange(0, 6).Draw(t, "early"))}
		op.Return = now + time.Duration(rapid.IntRange(0, 6).Draw(t, "late"))
		outside := func() {
			op.Outside = true
			at := now + time.Duration(rapid.IntRange(0, int(op.Return-now+lag)).Draw(t, "learns after"))
			for i := range known { // in order
				known[i].at = min(known[i].at, at)
			}
			known = append(known, struct {
				at time.Duration
				state
			}{at, primary})
		}
		what := rapid.IntRange(0, 19).Draw(t, "what")
		switch {
		case what < 6 && !gone:
			op.Kind = Write
			primary = state{primary.version + 1, uint64(i) + 1}
			op.Version, op.Tag = primary.version, primary.tag
			if what < 3 && primary.version > 1 {
				outside()
			} else {
				cached, known = primary, nil
			}
		case what == 6 && !gone && i > operations/2 && primary.version > 0:
			op.Kind, gone = Delete, true
			primary = state{version: -1}
			if rapid.Bool().Draw(t, "deleted outside") {
				outside()
			} else {
				cached, known = primary, nil
			}
		case what == 7:
			op.Kind = Drop
			cached, known = primary, nil
		default:
			op.Kind = rapid.SampledFrom([]Kind{ReadStrong, ReadDefault}).Draw(t, "level")
			sees := cached
			if rapid.IntRange(0, 3).Draw(t, "goes to the primary") == 0 {
				sees = primary
			}
			if sees.version > 0 {
				op.Version, op.Tag = sees.version, sees.tag
			}
		}
		ops = append(ops, op)
	}
	return ops
}

// TestLaggingCacheKeepsAllPromises: a cache that shows every outside write within the bound
// is never taken for one that breaks a promise. With a shorter bound, some are.
// Caught: linearizability, or the meaning of absences, judged by the returns as recorded; a
// delete outside that counts at once; a read of the primary after which no other might be
// older: under another writer's fence, whose release publishes what that one wrote.
func TestLaggingCacheKeepsAllPromises(t *testing.T) {
	broken := 0
	property(t, 500, func(t *rapid.T) {
		lag := time.Duration(rapid.IntRange(0, 60).Draw(t, "lag"))
		ops := lagging(t, rapid.IntRange(0, 300).Draw(t, "operations"), lag)
		r := Check(keyOf(ops...), Options{MaxOutside: lag})
		if r.Violated() > 0 || r.Undecided > 0 || r.Strong.Stale+r.Default.Stale > 0 {
			t.Fatalf("lag %d: %v, undecided %d, stale %d and %d\n%v\n%s", lag, r.Broken, r.Undecided, r.Strong.Stale, r.Default.Stale, r.Violations, table(ops))
		}
		if worst := max(r.OutsideStrong.Worst, r.OutsideDefault.Worst); worst > lag {
			t.Fatalf("lag %d, measured %d\n%s", lag, worst, table(ops))
		} else if worst > 0 {
			if r := Check(keyOf(ops...), Options{MaxOutside: worst - 1}); r.Violated() == 0 {
				t.Fatalf("lag %d, bound %d: nothing is broken\n%s", worst, worst-1, table(ops))
			}
			broken++
		}
	})
	if broken == 0 {
		t.Error("no read was late")
	}
}
