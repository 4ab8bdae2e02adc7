package history

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestCountsAndStaleness: what is counted of one key, and of two.
// Caught: Add that forgets a field; reads counted at the wrong level; quantiles
// over all reads; a quantile above the worst.
func TestCountsAndStaleness(t *testing.T) {
	ops := []Op{write(0, 0, 10, 1), write(0, 20, 30, 2), unknown(5, 31, 99), unknownDel(6, 4000), del(0, 5000, 5001)}
	for i := range 50 { // stale by 1 ms, 2 ms, ... on nodes that promised nothing
		ops = append(ops, read(100+i, 31+i, 3000, 1), read(200+i, 31+i, 3000, 2))
	}
	ops = append(ops, strong(300, 37, 38, 1), strong(300, 39, 40, 2), strong(301, 39, 40, 2), strong(302, 39, 40, 2))
	a := Check(keyOf(ops...), Options{MaxStale: -1})
	check := func(r *Result, times int64) {
		t.Helper()
		if want := [...]int64{0, 3, 2, 4, 100, 0}; r.Ops != multiply(want, times) || r.Unknown != 2*times || r.Keys != times || r.Total() != 109*times {
			t.Errorf("%d keys, operations %v, unknown %d, all %d", r.Keys, r.Ops, r.Unknown, r.Total())
		}
		d, s := &r.Default, &r.Strong
		if d.Reads != 100*times || d.Stale != 50*times || d.Share() != 0.5 || d.Worst != ms(50) {
			t.Errorf("default reads: %d, stale %d (%v), worst %v", d.Reads, d.Stale, d.Share(), d.Worst)
		}
		if s.Reads != 4*times || s.Stale != times || s.Share() != 0.25 || s.Worst != ms(7) {
			t.Errorf("strong reads: %d, stale %d (%v), worst %v", s.Reads, s.Stale, s.Share(), s.Worst)
		}
		for q, want := range map[float64]time.Duration{0.5: ms(25), 0.98: ms(49), 0.99: ms(50), 0.999: ms(50), 1: ms(50)} {
			// Three digits.
			if got := d.Quantile(q); got < want || got > want+want/500 || got > d.Worst {
				t.Errorf("quantile %v of the default reads: %v, want %v", q, got, want)
			}
		}
		if got := s.Quantile(0.5); got != ms(7) {
			t.Errorf("median of the strong reads: %v", got)
		}
		if want := (counts{StrongReads: times, Linearizable: times}); !maps.Equal(r.Broken, want) || r.Violated() != 2*times {
			t.Errorf("broken: %v (%d), want %v", r.Broken, r.Violated(), want)
		}
	}
	check(&a, 1)
	var both Result
	both.Add(a)
	both.Add(a)
	check(&both, 2)
	check(&a, 1) // is what it was
	a.Add(Result{})
	check(&a, 1)
}

func multiply(a [Drop + 1]int64, by int64) [Drop + 1]int64 {
	for i := range a {
		a[i] *= by
	}
	return a
}

// TestDistributionsAreMerged: each key counts, and none changes.
// Caught: the first key's distribution taken for the sum's; the second's left out.
func TestDistributionsAreMerged(t *testing.T) {
	stale := func(by int) Result {
		return Check(keyOf(write(0, 0, 10, 1), write(0, 20, 30, 2), read(1, 30+by, 99, 1)), Options{MaxStale: -1})
	}
	a, b := stale(1), stale(9)
	var total Result
	for _, r := range []Result{b, a, b, b} {
		total.Add(r)
	}
	if d := &total.Default; d.Stale != 4 || d.Quantile(0.25) > ms(2) || d.Quantile(0.5) < ms(9) {
		t.Errorf("%d stale reads, quantiles %v and %v", d.Stale, d.Quantile(0.25), d.Quantile(0.5))
	}
	for want, d := range map[int]*Staleness{1: &a.Default, 9: &b.Default} {
		if d.Stale != 1 || d.Quantile(0) != ms(want) || d.Quantile(1) != ms(want) {
			t.Errorf("the key's own: %d stale reads, quantiles %v and %v, want %d ms", d.Stale, d.Quantile(0), d.Quantile(1), want)
		}
	}
}

// TestStalenessOfNothing: no reads, no division by zero; a day and more is a day
// in the distribution; less than its unit is never shown as none.
// Caught: a value out of the histogram's range, which RecordValue refuses.
func TestStalenessOfNothing(t *testing.T) {
	var s Staleness
	if s.Share() != 0 || s.Quantile(0.99) != 0 {
		t.Errorf("nothing is stale by %v, %v", s.Share(), s.Quantile(0.99))
	}
	s.stale(1)
	if got := s.Quantile(0.5); got != 1 {
		t.Errorf("stale by a nanosecond: %v", got)
	}
	s.stale(48 * time.Hour)
	if s.Worst != 48*time.Hour || s.Quantile(1) < 24*time.Hour {
		t.Errorf("stale by two days: worst %v, %v", s.Worst, s.Quantile(1))
	}
}

// TestFirstViolationsAreKept: three of each promise, the rest are counted, in one
// key and over several, and the caller is told of each.
// Caught: keeping all; keeping three of all promises together; calling OnViolation only for
// those kept.
func TestFirstViolationsAreKept(t *testing.T) {
	ops := []Op{write(0, 0, 10, 1), write(0, 20, 30, 2)}
	for i := range 10 {
		ops = append(ops, read(0, 31+2*i, 32+2*i, 1), strong(3, 31+2*i, 32+2*i, 1))
	}
	rand.Shuffle(len(ops), func(i, j int) { ops[i], ops[j] = ops[j], ops[i] })
	told := counts{}
	r := Check(keyOf(ops...), Options{OnViolation: func(p Promise, op Op) {
		told[p]++
		if !op.isRead() || op.Version != 1 {
			t.Errorf("told of %v", op)
		}
	}})
	want := counts{OwnWrites: 10, Bounded: 10, StrongReads: 10, Linearizable: 1}
	if !maps.Equal(r.Broken, want) || !maps.Equal(told, want) {
		t.Errorf("broken: %v, told of %v, want %v", r.Broken, told, want)
	}
	kept := func(r *Result) counts {
		c := counts{}
		for _, v := range r.Violations {
			c[v.Promise]++
		}
		return c
	}
	if got, want := kept(&r), (counts{OwnWrites: 3, Bounded: 3, StrongReads: 3, Linearizable: 1}); !maps.Equal(got, want) {
		t.Errorf("kept: %v, want %v", got, want)
	}
	var total Result
	for range 5 {
		total.Add(r)
	}
	if got, want := kept(&total), (counts{OwnWrites: 3, Bounded: 3, StrongReads: 3, Linearizable: 3}); !maps.Equal(got, want) {
		t.Errorf("kept of five: %v, want %v", got, want)
	}
	if v := first(r, OwnWrites); v.Ops[1] != read(0, 31, 32, 1) {
		t.Errorf("the first is not the earliest:\n%s", v)
	}
}

// TestOnlyWhatWasAskedFor: each checker runs alone, and staleness is measured
// whichever run.
// Caught: a checker that does not ask, or that asks for another.
func TestOnlyWhatWasAskedFor(t *testing.T) {
	ops := []Op{
		write(0, 0, 10, 1), write(0, 20, 30, 2), strong(1, 31, 32, 2), strong(1, 33, 34, 1),
		read(0, 33, 34, 1), read(2, 33, 34, 7),
	}
	for _, p := range Promises() {
		r := Check(keyOf(ops...), Options{Promises: []Promise{p}})
		if len(r.Broken) != 1 || r.Broken[p] != 1 {
			t.Errorf("asked for %q: %v", p, r.Broken)
		}
		if r.Strong.Stale != 1 || r.Default.Stale != 1 {
			t.Errorf("asked for %q: %d and %d stale reads", p, r.Strong.Stale, r.Default.Stale)
		}
		if p.Guarantee() == "" {
			t.Errorf("%q guarantees nothing", p)
		}
	}
	if r := Check(keyOf(ops...), Options{}); len(r.Broken) != len(Promises()) {
		t.Errorf("asked for nothing in particular: %v", r.Broken)
	}
	if r := Check(keyOf(ops...), Options{MaxStale: -1}); r.Broken[Bounded] != 0 {
		t.Errorf("any staleness is allowed: %v", r.Broken)
	}
}

// TestStaleReadsAreTold: each with its time, by time of call.
// Caught: telling of strong reads alone, and in the order of recording.
func TestStaleReadsAreTold(t *testing.T) {
	ops := []Op{
		read(3, 60, 61, 1), strong(2, 41, 42, 1), read(1, 35, 99, 1), read(1, 100, 101, 2),
		write(0, 20, 30, 2), write(0, 0, 10, 1),
	}
	type stale struct {
		client int
		by     time.Duration
	}
	var told []stale
	Check(keyOf(ops...), Options{OnStale: func(op Op, by time.Duration) { told = append(told, stale{op.Client, by}) }})
	if want := []stale{{1, ms(5)}, {2, ms(11)}, {3, ms(30)}}; !slices.Equal(told, want) {
		t.Errorf("told: %v, want %v", told, want)
	}
}

// TestUndecidedIsNotKept: a part that porcupine did not decide in time makes the
// key undecided, but not if another part shows a violation. Options.Timeout is
// what it is given.
// Caught: Unknown taken for Ok; the search ended at the first undecided part;
// evidence cut down to what was not decided.
func TestUndecidedIsNotKept(t *testing.T) {
	var ops []Op
	for v := range 3 * partLength {
		ops = append(ops, write(0, 10*v+10, 10*v+15, int64(v)+1))
	}
	run := func(timeout time.Duration, ops ...Op) Result {
		l := newLife(keyOf(ops...), Options{Timeout: timeout})
		part := 0
		l.porcupine = func(m porcupine.Model, ops []porcupine.Operation, given time.Duration) (porcupine.CheckResult, porcupine.LinearizationInfo) {
			if want := map[time.Duration]time.Duration{0: 10 * time.Second, time.Minute: time.Minute}[timeout]; given != want {
				t.Errorf("porcupine was given %v, want %v", given, want)
			}
			if part++; part == 1 {
				return porcupine.Unknown, porcupine.LinearizationInfo{}
			}
			return porcupine.CheckOperationsVerbose(m, ops, given)
		}
		l.linearizable()
		return l.result
	}
	r := run(0, ops...)
	if r.Undecided != 1 || r.Violated() != 0 {
		t.Errorf("undecided: %d, broken: %v", r.Undecided, r.Broken)
	}
	var total Result
	total.Add(r)
	total.Add(r)
	if total.Undecided != 2 {
		t.Errorf("two are undecided: %d", total.Undecided)
	}
	l := newLife(keyOf(write(0, 0, 10, 1), write(0, 20, 30, 2), write(0, 40, 50, 3)), Options{})
	verdict := porcupine.Illegal
	l.porcupine = func(porcupine.Model, []porcupine.Operation, time.Duration) (v porcupine.CheckResult, _ porcupine.LinearizationInfo) {
		v, verdict = verdict, porcupine.Unknown
		return
	}
	l.linearizable()
	if v := first(l.result, Linearizable); len(v.Ops) != 3 {
		t.Errorf("evidence that nobody decided: %s", v)
	}
	last := int64(3*partLength) - 1
	r = run(time.Minute, append(ops, strong(1, 100_000, 100_001, last))...)
	if r.Undecided != 0 || r.Broken[Linearizable] != 1 {
		t.Errorf("with a violation elsewhere, undecided: %d, broken: %v", r.Undecided, r.Broken)
	}
}
