package bench

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Report is what a run measured. Package report writes it down.
type Report struct {
	Config Config
	Name   string // the path of the URL

	Start       time.Time
	Elapsed     time.Duration // longer than Config.Duration by what was finished then
	Interrupted bool          // by the context
	// Unfinished is the number of requests that were cut off, or in an open loop
	// due and not begun, when the run was interrupted; counted nowhere else.
	Unfinished  int64
	Connections int64 // that were made: one for each user if all were kept alive
	Created     Created
	// Overtime is how long after its duration an open loop had to go on sending
	// what had piled up.
	Overtime time.Duration

	// CPU is what the generator's process used; 0 if that is not known here.
	CPU        time.Duration
	Processors int // that it may use
	Machine    Machine

	Timeline []Point
	Tally
}

// Created tells of the records that a run has made.
type Created struct {
	Prefix string // of their ids
	Left   int64  // that still exist, or may
}

// Rate is in successful requests per second.
func (r *Report) Rate() float64 { return r.PerSecond(r.Succeeded) }

// PerSecond is n divided by the length of the run.
func (r *Report) PerSecond(n int64) float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(n) / r.Elapsed.Seconds()
}

// ErrorRatio is the share of the requests that failed, 0 to 1.
func (r *Report) ErrorRatio() float64 {
	return float64(r.Failures()) / float64(max(r.Requests(), 1))
}

// CPUShare is the generator's part of all its processors, 0 to 1.
func (r *Report) CPUShare() float64 {
	if r.Elapsed <= 0 || r.Processors == 0 {
		return 0
	}
	return r.CPU.Seconds() / r.Elapsed.Seconds() / float64(r.Processors)
}

// Kinds lists what failed, the most frequent first.
func (t *Tally) Kinds() []FailureKey {
	return slices.SortedFunc(maps.Keys(t.Failed), func(a, b FailureKey) int {
		return cmp.Or(cmp.Compare(t.Failed[b].Count, t.Failed[a].Count), cmp.Compare(a.String(), b.String()), cmp.Compare(a.Op, b.Op))
	})
}

// OpenLoop tells how an open loop kept to its schedule.
type OpenLoop struct {
	Sent    int64
	Dropped int64   // never sent: no connection was free within the time-out
	Late    int64   // sent late: no connection was free when they were due
	Waited  Latency // of the late ones, for a connection
	// Lag is what the generator itself was late, for each request that was sent.
	// Where it is not small beside the latencies, the machine is too busy to
	// tell them.
	Lag        Latency
	Served     Latency // from sending to the answer: the latencies without any wait
	MaxBacklog int64   // the most requests that were due and not begun, at the end of an interval
}

// OpenLoop is nil for a closed loop.
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
