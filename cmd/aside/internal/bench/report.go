package bench

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Report is the result of a run. Package report formats it.
type Report struct {
	Config Config
	Name   string // the path of the URL

	Start       time.Time
	Elapsed     time.Duration // longer than Config.Duration, since running requests are finished
	Interrupted bool          // the context ended the run
	// Unfinished is the number of requests that were aborted, or, in an open loop, due
	// but not sent, when the run was interrupted. They are not counted elsewhere.
	Unfinished  int64
	Connections int64 // connections opened: one per user if all stay open
	Created     Created
	// Overtime is how long an open loop needed after its duration to send the backlog.
	Overtime time.Duration

	// CPU is the CPU time of the generator's process; 0 if unknown.
	CPU        time.Duration
	Processors int // processors that it may use
	Machine    Machine

	Timeline []Point
	Tally
}

// Created describes the records that a run has created.
type Created struct {
	Prefix string // of their ids
	Left   int64  // records that still exist, or may exist
}

// Rate returns the successful requests per second.
func (r *Report) Rate() float64 { return r.PerSecond(r.Succeeded) }

// PerSecond returns n divided by the length of the run in seconds.
func (r *Report) PerSecond(n int64) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(n) / r.Elapsed.Seconds()
}

// ErrorRatio returns the share of failed requests, 0 to 1.
func (r *Report) ErrorRatio() float64 {
	return float64(r.Failures()) / float64(max(r.Requests(), 1))
}

// CPUShare returns the share of its processors that the generator used, 0 to 1.
func (r *Report) CPUShare() float64 {
	if r.Elapsed <= 0 || r.Processors == 0 {
		return 0
	}
	return r.CPU.Seconds() / r.Elapsed.Seconds() / float64(r.Processors)
}

// Kinds returns the kinds of failures, the most frequent first.
func (t *Tally) Kinds() []FailureKey {
	return slices.SortedFunc(maps.Keys(t.Failed), func(a, b FailureKey) int {
		return cmp.Or(cmp.Compare(t.Failed[b].Count, t.Failed[a].Count), cmp.Compare(a.String(), b.String()), cmp.Compare(a.Op, b.Op))
	})
}

// OpenLoop describes how well an open loop kept its schedule.
type OpenLoop struct {
	Sent    int64
	Dropped int64   // never sent: no connection was free within the timeout
	Late    int64   // sent late: no connection was free when they were due
	Waited  Latency // wait of the late ones for a connection
	// Lag is the delay that the generator itself added to each request that was sent.
	// If it is not small compared with the latencies, the machine is too busy to
	// measure them.
	Lag        Latency
	Served     Latency // from sending to the response: the latencies without any wait
	MaxBacklog int64   // maximum number of requests due but not sent, at the end of an interval
}

// OpenLoop returns nil for a closed loop.
func (r *Report) OpenLoop() *OpenLoop {
	if r.Config.Rate == 0 {
		return nil
	}
	o := &OpenLoop{
		Dropped: r.Dropped(), Late: r.waited.count(),
		Waited: Latency{r.waited.clone()}, Lag: Latency{r.lag.clone()}, Served: Latency{r.served.clone()},
	}
	o.Sent = o.Lag.Count()
	for _, p := range r.Timeline {
		o.MaxBacklog = max(o.MaxBacklog, p.Backlog)
	}
	return o
}
