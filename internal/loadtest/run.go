package loadtest

import (
	"cmp"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/wire"
)

// Run runs until the first limit of the Config, or until ctx ends. Requests
// that are under way when the run ends are finished and counted, but those that
// ctx cuts off are neither: the report has their number. The error is that of a
// Config that cannot be used, and then nothing was asked; failed requests are in
// the report.
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
	r := &run{Config: c, endpoint: e, recorders: newRecorders(c.Users)}

	cpuBefore, _ := cpuTime()
	r.start = time.Now()
	begin, stop := context.WithCancel(ctx)
	defer stop()
	if c.Duration > 0 {
		defer time.AfterFunc(c.Duration, stop).Stop()
	}
	r.stop = stop

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
		URL: c.URL, Users: c.Users, SpawnRate: c.SpawnRate, Workload: c.Workload.String(),
		Start: r.start, Elapsed: end.Sub(r.start),
		Interrupted: ctx.Err() != nil,
		Unfinished:  r.unfinished.Load(),
		Connections: r.dialed.Load(),
		Processors:  runtime.GOMAXPROCS(0),
		Tally:       r.total,
	}
	if after, ok := cpuTime(); ok {
		report.CPU = after - cpuBefore
	}
	return report, nil
}

type run struct {
	Config
	endpoint  wire.Endpoint
	start     time.Time
	stop      func() // no request begins after it
	recorders []*recorder

	begun      atomic.Int64 // requests, if their number is limited
	atWork     atomic.Int64 // users
	unfinished atomic.Int64
	dialed     atomic.Int64

	// Only watch's.
	total     Tally
	lastWatch time.Time
}

// spawn starts the users. No request begins after begin has ended; one under way
// is cut off when ctx ends.
func (r *run) spawn(ctx, begin context.Context, users *sync.WaitGroup) {
	for i := range r.Users {
		if r.SpawnRate > 0 {
			at := r.start.Add(time.Duration(float64(i) / r.SpawnRate * float64(time.Second)))
			if !sleep(begin, time.Until(at)) {
				return
			}
		}
		users.Go(func() { r.user(ctx, begin, i) })
	}
}

func (r *run) user(ctx, begin context.Context, i int) {
	r.atWork.Add(1)
	defer r.atWork.Add(-1)
	c := newConn(r.endpoint, r.Timeout)
	defer context.AfterFunc(ctx, c.Abort)()
	defer c.Close()
	defer func() { r.dialed.Add(c.Dialed()) }()

	rec := r.recorders[i%len(r.recorders)]
	picker := r.Workload.Picker(i)
	path := []byte(r.endpoint.Path + "/")
	prefix := len(path)
	pause := minPause
	stopped := begin.Done()
	for {
		select {
		case <-stopped:
			return
		default:
		}
		if r.Requests > 0 && r.begun.Add(1) > r.Requests {
			r.stop()
			return
		}
		var ok bool
		if path, ok = picker.Next(path[:prefix]); !ok {
			r.stop() // users that are still to come would only make the run longer
			return
		}
		before := time.Now()
		c.Request.Header.SetRequestURIBytes(path)
		a, failed := c.Do(ctx)
		took := time.Since(before)
		switch {
		case failed == nil && a.Status/100 == 2:
			rec.succeed(took, len(a.Body()), parseCacheStatus(a.Header("Cache-Status")))
		case failed == nil:
			rec.fail(FailureKey{BadStatus, a.Status}, "GET "+string(path))
		case ctx.Err() != nil:
			r.unfinished.Add(1)
			return
		default:
			rec.fail(FailureKey{Kind: failed.Kind}, failed.Detail)
		}
		// A server that is not there must not be asked a million times a second.
		if failed != nil && (failed.Kind == wire.Refused || failed.Kind == wire.NotConnected) {
			if !sleep(begin, pause) {
				return
			}
			pause = min(2*pause, maxPause)
		} else {
			pause = minPause
		}
	}
}

const (
	minPause = 10 * time.Millisecond
	maxPause = time.Second
)

// sleep reports whether it lasted as long as it should.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch collects until done. The last collection is not reported as progress:
// it is part of an interval.
func (r *run) watch(done <-chan struct{}) {
	tick := time.NewTicker(r.Interval)
	defer tick.Stop()
	r.lastWatch = r.start
	for {
		select {
		case <-tick.C:
			now := time.Now()
			p := Progress{
				Elapsed: now.Sub(r.start), Users: int(r.atWork.Load()),
				Took: now.Sub(r.lastWatch), Interval: r.collect(), Total: &r.total,
			}
			r.lastWatch = now
			if r.Progress != nil {
				r.Progress(p)
			}
		case <-done:
			r.collect()
			return
		}
	}
}

func (r *run) collect() *Tally {
	interval := new(Tally)
	for _, rec := range r.recorders {
		rec.collect(interval)
	}
	r.total.add(interval)
	return interval
}
