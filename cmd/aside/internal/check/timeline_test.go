package check

import (
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
)

// A time counts as good only if all later ones are good too, and if an operation started
// then: clients that hang start nothing and fail nothing. Caught: the first good bucket
// instead of the first since which all are good; empty buckets counted as good; a time before
// the start.
func TestTimelineFrom(t *testing.T) {
	const (
		good  = 'g'
		bad   = 'b'
		empty = '.'
		none  = -1
	)
	for _, tt := range []struct {
		buckets string
		after   time.Duration
		want    time.Duration
	}{
		{"ggggg", 0, 0},
		{"ggggg", 150 * time.Millisecond, 150 * time.Millisecond},
		{"gbggg", 0, 200 * time.Millisecond},
		{"gbgbg", 0, 400 * time.Millisecond},
		{"gbgbg", 410 * time.Millisecond, 410 * time.Millisecond},
		{"gbgbg", 310 * time.Millisecond, 400 * time.Millisecond},
		{"ggggb", 0, none},
		{"gb..g", 0, 400 * time.Millisecond},
		{"gbg..", 0, 200 * time.Millisecond},
		{"gbg..", 300 * time.Millisecond, none},
		{"g...g", 110 * time.Millisecond, 400 * time.Millisecond},
		{"", 0, none},
		{"g", time.Hour, none},
		{"g", -time.Second, 0},
	} {
		var tl Timeline
		for _, kind := range tt.buckets {
			b := Bucket{Operations: 1}
			switch kind {
			case bad:
				b.Errors = 1
			case empty:
				b = Bucket{}
			}
			tl.Buckets = append(tl.Buckets, b)
		}
		got, ok := tl.Clean(tt.after)
		if !ok {
			got = none
		}
		if got != tt.want {
			t.Errorf("%s after %v: %v, want %v", tt.buckets, tt.after, got, tt.want)
		}
	}
}

// Each operation is in the bucket of its start. Caught: stale reads in the bucket of their
// end.
func TestTimelineBuckets(t *testing.T) {
	start := time.Now()
	r := newRecorder(start, 2)
	r.succeeded(0, put, 50*time.Millisecond, 7*time.Second)
	r.succeeded(1, readStrong, 250*time.Millisecond, time.Millisecond)
	r.erred(1, readStrong, 260*time.Millisecond, 3*time.Second, outcome{sure: nothing, problem: "timeout"})
	r.cameLate(270*time.Millisecond, 2*time.Millisecond)
	r.stale(history.Op{Kind: history.ReadDefault, Call: 90 * time.Millisecond, Return: 150 * time.Millisecond}, 20*time.Millisecond)
	r.stale(history.Op{Kind: history.ReadDefault, Call: 95 * time.Millisecond}, 10*time.Millisecond)
	r.stale(history.Op{Kind: history.ReadStrong, Call: 420 * time.Millisecond}, 5*time.Millisecond)
	r.violated(history.StrongReads, history.Op{Call: 420 * time.Millisecond})

	tl := &r.timeline
	want := []Bucket{
		{Operations: 1, MaxLatency: 7 * time.Second, StaleDefault: 2, WorstDefault: 20 * time.Millisecond},
		{},
		{Operations: 3, Errors: 1, MaxLatency: 2 * time.Millisecond, MaxFailed: 3 * time.Second},
		{},
		{StaleStrong: 1, WorstStrong: 5 * time.Millisecond, Violations: 1},
	}
	if len(tl.Buckets) != len(want) {
		t.Fatalf("%d buckets", len(tl.Buckets))
	}
	for i, b := range tl.Buckets {
		if b != want[i] {
			t.Errorf("bucket %d: %+v, want %+v", i, b, want[i])
		}
	}
	if sum := tl.Between(0, time.Hour); sum.Operations != 4 || sum.Errors != 1 || sum.MaxLatency != 7*time.Second || sum.MaxFailed != 3*time.Second ||
		sum.StaleDefault != 2 || sum.StaleStrong != 1 || sum.WorstDefault != 20*time.Millisecond || sum.WorstStrong != 5*time.Millisecond || sum.Violations != 1 {
		t.Errorf("all: %+v", sum)
	}
	if b := tl.Between(150*time.Millisecond, 300*time.Millisecond); b != want[2] {
		t.Errorf("from 100 to 300 ms: %+v", b)
	}
	if at := tl.At(start.Add(time.Second)); at != time.Second {
		t.Errorf("at %v", at)
	}
}

func TestTimelineFastAndFresh(t *testing.T) {
	tl := Timeline{Buckets: []Bucket{
		{Operations: 1, MaxLatency: time.Second, WorstDefault: time.Second},
		{Operations: 1, MaxLatency: 10 * time.Millisecond, WorstDefault: time.Second},
		{Operations: 1, MaxLatency: 10 * time.Millisecond, WorstDefault: 10 * time.Millisecond},
		{Operations: 2, Errors: 1, MaxFailed: time.Minute},
		{Operations: 1, MaxLatency: 20 * time.Millisecond},
	}}
	for name, tt := range map[string]struct {
		got  func() (time.Duration, bool)
		want time.Duration
	}{
		"fast, 1 s":    {func() (time.Duration, bool) { return tl.Fast(0, time.Second) }, 400 * time.Millisecond},
		"fresh, 10 ms": {func() (time.Duration, bool) { return tl.Fresh(0, 10*time.Millisecond) }, 200 * time.Millisecond},
		"fresh, 1 s":   {func() (time.Duration, bool) { return tl.Fresh(0, time.Second) }, 0},
		"fresh, 0":     {func() (time.Duration, bool) { return tl.Fresh(0, 0) }, 300 * time.Millisecond},
	} {
		if got, ok := tt.got(); !ok || got != tt.want {
			t.Errorf("%s: %v, %v; want %v", name, got, ok, tt.want)
		}
	}
	if from, ok := tl.Fast(0, 15*time.Millisecond); ok {
		t.Errorf("fast, 15 ms: %v", from)
	}
}
