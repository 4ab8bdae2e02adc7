package bench

import "time"

// Point is the measurement of one interval of a run.
type Point struct {
	At    time.Duration // end of the interval, since the start of the run
	Took  time.Duration
	Users int

	Succeeded, Failed  int64
	P50, P95, P99, Max time.Duration
	Hits               [tiers]int64 // reads by the tier that answered
	Backlog            int64        // at its end, in an open loop

	// From the start of the run to the end of the interval.
	Total Totals
}

// Totals summarises all requests up to a time.
type Totals struct {
	Succeeded, Failed, Bytes int64
	Sum, Min, Max            time.Duration // of latencies
	// Percentiles are those of Percentiles, as locust defines them: of n latencies in
	// order, the one at place p*n, rounded down, from 0.
	Percentiles [len(Percentiles)]time.Duration
}

// Percentiles are those that locust reports.
var Percentiles = [...]float64{50, 66, 75, 80, 90, 95, 98, 99, 99.9, 99.99, 100}

// TotalsOf summarises the requests with these latencies, and failed ones.
func TotalsOf(succeeded Latency, failed, bytes int64) Totals {
	s := Totals{
		Succeeded: succeeded.Count(), Failed: failed, Bytes: bytes,
		Sum: succeeded.h.sum, Min: succeeded.Min(), Max: succeeded.Max(),
	}
	for i, p := range Percentiles {
		s.Percentiles[i] = succeeded.at(int64(p / 100 * float64(s.Succeeded)))
	}
	return s
}

// watch collects the measurements until done.
func (r *run) watch(done <-chan struct{}) {
	tick := time.NewTicker(r.Interval)
	defer tick.Stop()
	r.latest = r.start
	var latency Latency // of all so far
	for {
		select {
		case <-tick.C:
			now := time.Now()
			p := r.collect(now, &latency)
			r.latest = now
			if r.Progress != nil {
				r.Progress(p)
			}
		case <-done:
			// The last collection is not reported as progress: its interval may be too short
			// for a rate.
			now := time.Now()
			r.collect(now, &latency)
			if n := len(r.timeline) - 1; n > 0 && r.timeline[n].Took < r.Interval/4 {
				r.timeline = r.timeline[:n]
			}
			return
		}
	}
}

func (r *run) collect(now time.Time, latency *Latency) Progress {
	interval := new(Tally)
	for _, rec := range r.recorders {
		rec.collect(interval)
	}
	r.total.add(interval)
	l := interval.Latency()
	latency.h.merge(&l.h)
	ps := l.Percentiles(50, 95, 99)
	p := Point{
		At: now.Sub(r.start), Took: now.Sub(r.latest), Users: int(r.atWork.Load()),
		Succeeded: interval.Succeeded, Failed: interval.Failures(),
		P50: ps[0], P95: ps[1], P99: ps[2], Max: l.Max(),
		Total: TotalsOf(*latency, r.total.Failures(), r.total.Bytes()),
	}
	for t := range tiers {
		p.Hits[t] = interval.Hits(t)
	}
	if r.schedule != nil {
		p.Backlog = r.schedule.backlog(now)
	}
	r.timeline = append(r.timeline, p)
	return Progress{
		WarmUp: r.warmingUp, Elapsed: p.At, Users: p.Users, Backlog: p.Backlog,
		Took: p.Took, Interval: interval, Total: &r.total,
	}
}
