package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Histograms are reused for the next interval. Caught: a histogram that was not emptied.
func TestRecorderCollectsEachRequestOnce(t *testing.T) {
	rec := newRecorders(1)[0]
	var total Tally
	for interval := range 4 {
		for range 10 {
			rec.succeed(&Sample{Tier: TierL1, Took: time.Duration(interval+1) * time.Millisecond, Served: time.Millisecond, Bytes: 1})
			rec.depart(time.Millisecond, time.Microsecond)
		}
		rec.succeed(&Sample{Op: Create, Took: time.Millisecond})
		rec.fail(FailureKey{Kind: httpwire.Closed}, "", time.Now())
		var one Tally
		rec.collect(&one)
		if one.Succeeded != 11 || one.Hits(TierL1) != 10 || one.Failures() != 1 || one.Latency(Create).Count() != 1 {
			t.Errorf("interval %d: %d, %d in L1, %d failed", interval, one.Succeeded, one.Hits(TierL1), one.Failures())
		}
		if one.waited.count() != 10 || one.lag.count() != 10 || one.served.count() != 10 {
			t.Errorf("interval %d: waited %d, lag %d, served %d", interval, one.waited.count(), one.lag.count(), one.served.count())
		}
		total.add(&one)
	}
	if total.Succeeded != 44 || total.Latency().Count() != 44 || total.Failures() != 4 || total.Bytes() != 40 || total.Bytes(Create) != 0 {
		t.Errorf("total %+v", total)
	}
}

func TestLatenciesOutOfRangeAreKept(t *testing.T) {
	var tally Tally
	tally.Record(&Sample{Took: 0})
	tally.Record(&Sample{Took: 5 * time.Hour})
	if l := tally.Latency(); l.Count() != 2 || l.Max() < maxLatency || l.Min() != time.Microsecond {
		t.Errorf("%d latencies, from %v to %v", l.Count(), l.Min(), l.Max())
	}
}

// The first and the last failure of a kind do not depend on the order of the recorders.
// Caught: the example of the last failure.
func TestFirstAndLastFailure(t *testing.T) {
	var sum Tally
	start := time.Unix(1000, 0)
	for _, i := range []int{3, 1, 5, 2} {
		var one Tally
		one.Fail(FailureKey{BadStatus, 500, Read}, string(rune('0'+i)), start.Add(time.Duration(i)*time.Second))
		sum.AddFailures(&one)
	}
	f := sum.Failed[FailureKey{BadStatus, 500, Read}]
	if f.Count != 4 || f.Example != "1" || f.First.Sub(start) != time.Second || f.Last.Sub(start) != 5*time.Second {
		t.Errorf("%+v", f)
	}
	sum.Fail(FailureKey{Kind: Dropped}, "", start)
	sum.Fail(FailureKey{BadStatus, 404, Update}, "", start)
	kinds := sum.Kinds()
	if want := []FailureKey{{BadStatus, 500, Read}, {Kind: Dropped}, {BadStatus, 404, Update}}; !slices.Equal(kinds, want) {
		t.Errorf("%v, want %v", kinds, want)
	}
	if sum.Failures(Update) != 1 || sum.Failures(Read) != 5 || sum.Failures() != 6 || sum.Dropped() != 1 {
		t.Errorf("failures %d, %d, %d, %d", sum.Failures(Update), sum.Failures(Read), sum.Failures(), sum.Dropped())
	}
}

// Each operation and each tier has its own latencies, and the total has all of them.
func TestSeries(t *testing.T) {
	var tally Tally
	n := 0
	for _, tier := range Tiers() {
		for range int(tier) + 1 {
			tally.Record(&Sample{Tier: tier, Took: time.Duration(tier+1) * time.Millisecond})
			n++
		}
	}
	for _, op := range []Op{Create, Update, Delete} {
		for range 10 * int(op) {
			tally.Record(&Sample{Op: op, Took: time.Duration(op) * time.Second})
			n++
		}
	}
	for _, tier := range Tiers() {
		if l := tally.TierLatency(tier); l.Count() != int64(tier)+1 || l.Min().Round(time.Millisecond) != time.Duration(tier+1)*time.Millisecond || tally.Hits(tier) != l.Count() {
			t.Errorf("%v: %d, from %v", tier, l.Count(), l.Min())
		}
	}
	for _, op := range []Op{Create, Update, Delete} {
		if l := tally.Latency(op); l.Count() != 10*int64(op) || l.Max().Round(10*time.Millisecond) != time.Duration(op)*time.Second {
			t.Errorf("%v: %d, up to %v", op, l.Count(), l.Max())
		}
	}
	if l := tally.Latency(); l.Count() != int64(n) || tally.Latency(Read).Count() != 21 || tally.Latency(Read, Create).Count() != 31 {
		t.Errorf("all %d of %d, reads %d", l.Count(), n, tally.Latency(Read).Count())
	}
}

// The bars count every request once and cover all latencies. Caught: the bar where the width
// changes was counted twice; missing empty bars in the middle.
func TestBars(t *testing.T) {
	var tally Tally
	for i := range 1000 {
		tally.Record(&Sample{Took: time.Duration(i+1) * 17 * time.Microsecond})
	}
	tally.Record(&Sample{Took: 10 * time.Second})
	bars := tally.Latency().Bars()
	var sum int64
	for i, b := range bars {
		sum += b.Count
		if i > 0 && (b.UpTo <= bars[i-1].UpTo || float64(b.UpTo) > 1.11*float64(bars[i-1].UpTo)) {
			t.Errorf("bar %d ends at %v after %v", i, b.UpTo, bars[i-1].UpTo)
		}
	}
	if last := bars[len(bars)-1]; sum != 1001 || last.Count != 1 || last.UpTo < 10*time.Second || last.UpTo > 11*time.Second || bars[0].Count == 0 {
		t.Errorf("%d in %d bars, the last of %d up to %v", sum, len(bars), last.Count, last.UpTo)
	}
	if (Latency{}).Bars() != nil {
		t.Error("bars of nothing")
	}
}
