package bench

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Run warms up and then runs until the first limit of the Config, or until ctx ends.
// Running requests are finished and counted at the end of the run. If ctx ends, they are
// aborted and not counted; the report has their number. Run returns an error only if the
// Config is invalid. Then nothing was sent. Failed requests are in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.Interval = cmp.Or(c.Interval, defaultInterval)
	warmUp(ctx, c, e)
	r := newRun(c, e)
	report := r.measure(ctx)
	r.cleanUp(ctx, report)
	return report, nil
}

type run struct {
	Config
	endpoint  httpwire.Endpoint
	connect   func() exchanger
	nap       func(time.Duration)
	pickers   func(stream uint64) ids.Picker
	streams   uint64 // number of its first stream
	warmingUp bool
	recorders []*recorder
	created   *created

	start    time.Time
	stop     func()    // no request begins after it
	schedule *schedule // nil in a closed loop

	begun      atomic.Int64 // requests left, if their number is limited
	atWork     atomic.Int64 // users
	unfinished atomic.Int64
	dialed     atomic.Int64

	// Used only by watch.
	total    Tally
	timeline []Point
	latest   time.Time
}

func newRun(c Config, e httpwire.Endpoint) *run {
	return &run{
		Config: c, endpoint: e,
		connect:   func() exchanger { return newLine(e, c.Timeout) },
		nap:       nap,
		pickers:   c.Workload.Start(),
		streams:   uint64(c.Round) * maxUsers,
		recorders: newRecorders(c.Users),
		created:   newCreated(),
	}
}

// measure runs the measurement.
func (r *run) measure(ctx context.Context) *Report {
	cpuBefore, _ := cpuTime()
	r.start = time.Now()
	begin, stop := context.WithCancel(ctx)
	defer stop()
	r.stop = stop
	switch {
	case r.Rate > 0:
		// It ends after its last arrival, which may be sent later.
		r.schedule = newSchedule(&r.Config, r.start, r.nap)
	case r.Duration > 0:
		defer time.AfterFunc(r.Duration, stop).Stop()
	}

	var users sync.WaitGroup
	users.Go(func() { r.spawn(ctx, begin, &users) })
	done := make(chan struct{})
	var end time.Time
	go func() {
		users.Wait()
		end = time.Now()
		close(done)
	}()
	r.watch(done)

	report := &Report{
		Config: r.Config, Name: r.endpoint.Path,
		Start: r.start, Elapsed: end.Sub(r.start),
		Interrupted: ctx.Err() != nil,
		Unfinished:  r.unfinished.Load(),
		Connections: r.dialed.Load(),
		Processors:  runtime.GOMAXPROCS(0),
		Machine:     thisMachine(),
		Timeline:    r.timeline,
		Tally:       r.total,
	}
	if r.schedule != nil {
		report.Overtime = r.schedule.overtime()
		if report.Interrupted {
			report.Unfinished += r.schedule.backlog(end)
		}
	}
	if after, ok := cpuTime(); ok {
		report.CPU = after - cpuBefore
	}
	return report
}
