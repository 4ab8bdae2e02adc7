package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

func benchProgress() bench.Progress {
	tally := new(bench.Tally)
	for range 30 {
		tally.Record(&bench.Sample{Tier: bench.TierL1, Took: time.Millisecond})
		tally.Record(&bench.Sample{Tier: bench.TierL2, Took: 4 * time.Millisecond})
	}
	for range 60 {
		tally.Record(&bench.Sample{Tier: bench.TierMiss, Took: 9 * time.Millisecond})
	}
	tally.Fail(bench.FailureKey{Kind: httpwire.Closed}, "\x1b[31mred\r\n", time.Now())
	return bench.Progress{Elapsed: 3 * time.Second, Users: 7, Took: time.Second, Interval: tally, Total: tally}
}

var benchConfig = bench.Config{Workload: ids.Uniform(ids.Range{First: 1, Last: 9}, 1), Duration: time.Minute}

// The panel has the right lines, is redrawn in place, and never wraps. Text of a server is
// escaped. Caught: a wrong number of lines; an escape sequence in an error.
func TestBenchPanel(t *testing.T) {
	var out bytes.Buffer
	width := 120
	v := &benchPanel{w: &out, width: func() int { return width }}
	v.end()
	if out.Len() > 0 {
		t.Errorf("nothing was shown, and %q is drawn", &out)
	}
	p := benchProgress()
	v.begin("http://h/todos", &benchConfig)
	v.show(p)
	first := out.String()
	for _, want := range []string{"http://h/todos", "3s of 1m0s", "requests/s", "120", "p50", "4.", "p95", "p99", "9.0", "hit ratio", "50.0 %", "L1", "25.0 %", "L2", "miss", "failed", "1 with closed without a response", "█"} {
		if !strings.Contains(first, want) {
			t.Errorf("%q is missing in\n%s", want, first)
		}
	}
	if strings.Contains(first, "\x1b[31m") || strings.Contains(first, "backlog") {
		t.Errorf("%q", first)
	}
	lines := strings.Count(first, "\n")

	out.Reset()
	p.Backlog, p.WarmUp = 55, true
	width = 40
	v.show(p)
	second := out.String()
	if !strings.HasPrefix(second, "\x1b["+string([]byte{byte('0' + lines/10), byte('0' + lines%10)})+"A\r") {
		t.Errorf("after %d lines it begins with %q", lines, second[:20])
	}
	if !strings.Contains(second, "backlog") || !strings.Contains(second, "55") || !strings.Contains(second, "warming up") {
		t.Errorf("%s", second)
	}
	for line := range strings.Lines(second) {
		line = strings.TrimSuffix(strings.TrimPrefix(line[strings.IndexByte(line, '\r')+1:], "\r"), "\x1b[K\n")
		if line = strings.TrimSuffix(line, "\x1b[J"); utf8.RuneCountInString(line) > 39 {
			t.Errorf("a line of %d: %q", utf8.RuneCountInString(line), line)
		}
	}
	v.end()
	out.Reset()
	v.show(p)
	if strings.Contains(out.String(), "A\r") {
		t.Error("the next panel is drawn over the last")
	}
}

func TestBenchLines(t *testing.T) {
	var out bytes.Buffer
	v := &benchLines{w: &out}
	p := benchProgress()
	p.Backlog = 12
	v.begin("http://h/todos", &benchConfig)
	for range 2 * benchEvery {
		v.show(p)
	}
	v.end()
	const line = "   3s  7 users  120/s  p50 4.0  p95 9.0  p99 9.0 ms  L1 25.0 %  L2 25.0 %  backlog 12  1 failed\n"
	if got, want := out.String(), "http://h/todos: uniform over 1-9, seed 1\n"+line+line; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	out.Reset()
	p.WarmUp = true
	v.begin("x", &benchConfig)
	for range benchEvery {
		v.show(p)
	}
	if !strings.Contains(out.String(), "warm-up    3s") {
		t.Errorf("%q", &out)
	}
}

func TestSpark(t *testing.T) {
	for want, values := range map[string][]float64{"": nil, "▁▁": {0, 0}, "▁▄█": {0, 50, 100}, "█": {3}} {
		if got := spark(values); got != want {
			t.Errorf("%v: %q, want %q", values, got, want)
		}
	}
}

// While no request succeeds, no latency is shown. Caught: p50 0.0, as if the failures had
// been fast.
func TestBenchViewWithoutSuccess(t *testing.T) {
	tally := new(bench.Tally)
	tally.Fail(bench.FailureKey{Kind: httpwire.Refused}, "refused \u202e", time.Now())
	p := bench.Progress{Elapsed: time.Second, Users: 1, Took: time.Second, Interval: tally, Total: tally}
	if line := benchLine(p); !strings.Contains(line, "p50 n/a  p95 n/a  p99 n/a ms") {
		t.Errorf("%q", line)
	}
	var out bytes.Buffer
	v := &benchPanel{w: &out, width: func() int { return 100 }}
	v.begin("http://h/todos", &benchConfig)
	v.show(p)
	if strings.Count(out.String(), "n/a") != 8 || strings.Contains(out.String(), "0.000") || strings.Contains(out.String(), "\u202e") {
		t.Errorf("%s", &out)
	}
}
