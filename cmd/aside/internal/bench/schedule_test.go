package bench

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// fakeLine answers after the time that took returns, in the time of a synctest bubble.
type fakeLine struct {
	took func() time.Duration
	note func()
}

func (f *fakeLine) exchange(ctx context.Context, _ *request) (answer, *httpwire.Failure) {
	f.note()
	t := time.NewTimer(f.took())
	defer t.Stop()
	select {
	case <-t.C:
		return answer{status: 200, cache: cacheStatus{tier: TierL1}, ended: time.Now()}, nil
	case <-ctx.Done():
		return answer{}, &httpwire.Failure{Kind: httpwire.Closed}
	}
}

func (*fakeLine) abort()        {}
func (*fakeLine) close()        {}
func (*fakeLine) dialed() int64 { return 1 }

// openLoop runs c in fake time against a server whose latencies took returns. sent has the
// time of each request since the start.
func openLoop(t *testing.T, ctx context.Context, c Config, took func() time.Duration) (r *Report, sent []time.Duration) {
	t.Helper()
	return openLoopBy(t, ctx, nil, c, took) // a system call does not use fake time
}

func openLoopBy(t *testing.T, ctx context.Context, nap func(time.Duration), c Config, took func() time.Duration) (r *Report, sent []time.Duration) {
	t.Helper()
	c.URL, c.Workload = "http://h/todos", uniform(1, 9, 1)
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := c.endpoint()
	if err != nil {
		t.Fatal(err)
	}
	run := newRun(c, e)
	run.nap = nap
	start := time.Now()
	var mu sync.Mutex
	run.connect = func() exchanger {
		return &fakeLine{took, func() {
			mu.Lock()
			sent = append(sent, time.Since(start))
			mu.Unlock()
		}}
	}
	return run.measure(ctx), sent
}

func always(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// A fast server gets its requests exactly when they are due, and the latencies are its own.
// Caught: each user waited for the clock and took an arrival after it woke up, so that the
// schedule was as slow as the slowest user.
func TestRequestsAreSentWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sent := openLoop(t, t.Context(), Config{Users: 5, Rate: 100, Duration: 2 * time.Second}, always(30*time.Millisecond))
		if len(sent) != 200 || r.Succeeded != 200 || r.Failures() != 0 {
			t.Fatalf("%d sent, %d succeeded, failed %v; want 200", len(sent), r.Succeeded, r.Failed)
		}
		for i, at := range sent {
			if want := time.Duration(i) * 10 * time.Millisecond; at != want {
				t.Fatalf("request %d was sent after %v, want %v", i, at, want)
			}
		}
		l, o := r.Latency(), r.OpenLoop()
		if l.Min() != 30*time.Millisecond || l.Percentile(99) > 31*time.Millisecond {
			t.Errorf("latency from %v to %v, want 30ms", l.Min(), l.Percentile(99))
		}
		// A request may be due exactly at the end of an interval.
		if o.Sent != 200 || o.Late != 0 || o.Dropped != 0 || o.MaxBacklog > 1 || r.Overtime != 0 {
			t.Errorf("%+v, overtime %v", o, r.Overtime)
		}
	})
}

// If a server hangs for a second, the requests of this second count, each from the time when
// it was due. With coordinated omission they would not. Caught: latencies that start when a
// request is sent.
func TestOpenLoopOmitsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := time.Now().Add(time.Second)
		r, _ := openLoop(t, t.Context(), Config{Users: 1, Rate: 100, Duration: 4 * time.Second}, func() time.Duration {
			if !time.Now().Before(stall) {
				stall = stall.Add(time.Hour)
				return time.Second
			}
			return time.Millisecond
		})
		if r.Succeeded != 400 {
			t.Fatalf("%d succeeded, want 400", r.Succeeded)
		}
		// After the stall about 100 requests are due, and 100 per second follow. One request takes
		// 1 ms, so the backlog ends after about 0.11 s. 111 of 400 requests are affected. Together
		// they waited about 55 s.
		l, o := r.Latency(), r.OpenLoop()
		if p50, p73, p99 := l.Percentile(50), l.Percentile(73), l.Percentile(99); p50 > 2*time.Millisecond || p73 < time.Millisecond || p99 < 950*time.Millisecond {
			t.Errorf("p50 %v, p73 %v, p99 %v", p50, p73, p99)
		}
		if o.Late < 105 || o.Late > 115 {
			t.Errorf("%d were late, want about 110", o.Late)
		}
		if p := o.Served.Percentile(99); p > 2*time.Millisecond {
			t.Errorf("without waiting p99 is %v, want 1ms: a single request was slow", p)
		}
		if mean := l.Mean(); mean < 125*time.Millisecond || mean > 150*time.Millisecond {
			t.Errorf("mean %v, want about 139ms", mean)
		}
		if max := o.Waited.Max(); max < 980*time.Millisecond || max > time.Second {
			t.Errorf("the longest wait was %v, want 0.99s", max)
		}
	})
}

// If a server is too slow, the backlog grows, and all of it is sent in the end. Caught: a run
// that ended with its duration and dropped the requests that had waited longest.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []int64
		r, sent := openLoop(t, t.Context(), Config{
			Users: 2, Rate: 200, Duration: 5 * time.Second,
			Progress: func(p Progress) { seen = append(seen, p.Backlog) },
		}, always(20*time.Millisecond)) // 100/s
		o := r.OpenLoop()
		if r.Succeeded != 1000 || len(sent) != 1000 || o.Dropped != 0 {
			t.Fatalf("%d succeeded of %d sent, %d dropped; want 1000, 1000, 0", r.Succeeded, len(sent), o.Dropped)
		}
		if len(seen) < 9 || seen[0] < 95 || seen[0] > 105 || seen[4] < 495 || seen[4] > 505 || seen[8] > 105 {
			t.Errorf("backlog second by second %v, want 100, 200 ... 500 ... 0", seen)
		}
		if o.MaxBacklog != seen[4] || r.Overtime < 4900*time.Millisecond || r.Overtime > 5100*time.Millisecond {
			t.Errorf("largest backlog %d, overtime %v; want %d, 5s", o.MaxBacklog, r.Overtime, seen[4])
		}
		if max := r.Latency().Max(); max < 4900*time.Millisecond || max > 5100*time.Millisecond {
			t.Errorf("the slowest took %v, want 5s", max)
		}
		if rate := r.Rate(); rate < 98 || rate > 102 {
			t.Errorf("%.1f requests/s, want 100", rate)
		}
	})
}

// A request that waits longer than the timeout is dropped and counted. Caught: dropped
// requests were not counted, so that the error ratio was 0.
func TestDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sent := openLoop(t, t.Context(), Config{Users: 1, Rate: 100, Duration: 10 * time.Second, Timeout: time.Second}, always(100*time.Millisecond))
		o := r.OpenLoop()
		if r.Requests() != 1000 || int64(len(sent)) != o.Sent || o.Sent+o.Dropped != 1000 || r.Failures() != o.Dropped {
			t.Fatalf("%d requests, %d sent, %d dropped, failed %v; want 1000 in all", r.Requests(), len(sent), o.Dropped, r.Failed)
		}
		if o.Sent < 100 || o.Sent > 120 {
			t.Errorf("%d were sent, want about 110: 10/s for 11 s", o.Sent)
		}
		if max := o.Waited.Max(); max > 1001*time.Millisecond {
			t.Errorf("one was sent after %v", max)
		}
		if r.ErrorRatio() < 0.88 {
			t.Errorf("error ratio %v", r.ErrorRatio())
		}
	})
}

// Requests that were due but not sent when the run was interrupted are counted.
func TestInterruptedOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(1005*time.Millisecond, cancel).Stop()
		r, _ := openLoop(t, ctx, Config{Users: 1, Rate: 100}, always(100*time.Millisecond))
		if r.Succeeded != 10 || r.Unfinished != 91 || !r.Interrupted || r.Failures() != 0 {
			t.Errorf("succeeded %d, unfinished %d, interrupted %v, failed %v; want 10, 91: one under way, 90 due", r.Succeeded, r.Unfinished, r.Interrupted, r.Failed)
		}
	})
}

func TestOpenLoopEndsAfterItsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, sent := openLoop(t, t.Context(), Config{Users: 7, Rate: 1000, Requests: 123}, always(time.Millisecond))
		if len(sent) != 123 || r.Succeeded != 123 || r.Elapsed > 130*time.Millisecond {
			t.Errorf("%d sent in %v, want 123 in 123ms", len(sent), r.Elapsed)
		}
	})
}

// Random arrivals have the right mean rate and exponentially distributed gaps. The same seed
// gives the same arrivals. Caught: uniform gaps.
func TestPoissonArrivals(t *testing.T) {
	gaps := func(seed uint64) (ds []float64) {
		a := newArrivals(1000, true, seed)
		was := time.Duration(0)
		for range 100_000 {
			ds = append(ds, (a.at-was).Seconds()*1000)
			was = a.at
			a.pass()
		}
		return ds
	}
	a, again, other := gaps(1), gaps(1), gaps(2)
	sum, squares, short := 0.0, 0.0, 0.0
	same := 0
	for i, g := range a {
		if g != again[i] {
			t.Fatal("the same seed made other arrivals")
		}
		if g == other[i] {
			same++
		}
		sum += g
		squares += g * g
		if g < math.Ln2 {
			short++
		}
	}
	n := float64(len(a))
	// Mean 1, mean of squares 2, median ln 2: within about 6 standard errors.
	if math.Abs(sum/n-1) > 0.02 || math.Abs(squares/n-2) > 0.09 || math.Abs(short/n-0.5) > 0.01 || same > 10 {
		t.Errorf("mean %.3f, mean of squares %.3f, share below ln 2 %.3f, %d equal with another seed", sum/n, squares/n, short/n, same)
	}
}

// Arrivals at equal intervals do not drift. Caught: gaps that were rounded to a nanosecond
// and added up.
func TestEvenArrivals(t *testing.T) {
	a := newArrivals(3, false, 0)
	for range 3_000_000 {
		a.pass()
	}
	if a.at != 1_000_000*time.Second {
		t.Errorf("the 3,000,001st comes after %v, want 1,000,000 s", a.at)
	}
}

// A late clock does not count as a wait for a connection. It is a delay of the generator, and
// part of the latency. Caught: the time until a request was sent counted as a wait for a
// connection.
func TestLateClockIsNotAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := func(d time.Duration) { time.Sleep(d + 3*time.Millisecond) }
		r, sent := openLoopBy(t, t.Context(), late, Config{Users: 3, Rate: 100, Requests: 50}, always(time.Millisecond))
		o := r.OpenLoop()
		// The first request is due at the start, so no user waits for the clock.
		if len(sent) != 50 || sent[0] != 0 || sent[1] != 13*time.Millisecond || o.Late != 0 || o.Lag.Count() != 50 {
			t.Errorf("%d sent, after %v; %d late", len(sent), sent[:min(len(sent), 3)], o.Late)
		}
		near := func(name string, got, want time.Duration) {
			if got < want || got > want+10*time.Microsecond {
				t.Errorf("%s %v, want %v", name, got, want)
			}
		}
		near("lag", o.Lag.Percentile(50), 3*time.Millisecond)
		near("latency", r.Latency().Percentile(50), 4*time.Millisecond)
		near("served", o.Served.Percentile(50), time.Millisecond)
	})
}

// A nap ends near its time, even if it is interrupted. Users stop when stop is closed.
func TestWaitOnTheRealClock(t *testing.T) {
	s := newSchedule(&Config{Rate: 1000, Requests: 20}, time.Now(), nap)
	for i := range 20 {
		due, now, ok := s.next(nil)
		if !ok || now.Before(due) {
			t.Fatalf("request %d: %v early, %v", i, due.Sub(now), ok)
		}
	}
	if _, _, ok := s.next(nil); ok {
		t.Error("one more than the limit")
	}
	stop := make(chan struct{})
	s = newSchedule(&Config{Rate: 0.001}, time.Now(), nap)
	var ended atomic.Int64
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for {
				if _, _, ok := s.next(stop); !ok {
					ended.Add(1)
					return
				}
			}
		})
	}
	close(stop)
	users.Wait()
	if ended.Load() != 4 {
		t.Errorf("%d of 4 users ended", ended.Load())
	}
}
