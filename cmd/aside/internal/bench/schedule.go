package bench

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// arrivals computes when requests are due, as the time since the start of the run.
type arrivals struct {
	rate float64    // in a second
	rng  *rand.Rand // of a Poisson process; nil: at even intervals

	n  int64         // number of previous arrivals
	at time.Duration // time of the next one
}

func newArrivals(rate float64, poisson bool, seed uint64) *arrivals {
	a := &arrivals{rate: rate}
	if poisson {
		a.rng = rand.New(rand.NewPCG(seed, 0xd1b54a32d192ed03))
		a.at = a.gap()
	}
	return a
}

func (a *arrivals) gap() time.Duration {
	return time.Duration(a.rng.ExpFloat64() / a.rate * float64(time.Second))
}

func (a *arrivals) pass() {
	a.n++
	if a.rng != nil {
		a.at += a.gap()
		return
	}
	a.at = time.Duration(float64(a.n) / a.rate * float64(time.Second)) // a sum would accumulate rounding errors
}

// schedule hands out the arrivals of an open loop, each to one user.
type schedule struct {
	start    time.Time
	duration time.Duration       // 0: no limit
	limit    int64               // of arrivals; 0: none
	nap      func(time.Duration) // nil: only timers

	// One user waits for the clock, and the others wait for this user. So if a user is
	// free, a request is sent when it is due, or at once if it is overdue. Only the
	// user whose turn it is may use coming and latest.
	turn   chan struct{}
	coming *arrivals
	latest time.Time // when the last arrival was handed out
	taken  atomic.Int64

	counted *arrivals // the same arrivals again; used only by backlog
}

func newSchedule(c *Config, start time.Time, nap func(time.Duration)) *schedule {
	return &schedule{
		start: start, duration: c.Duration, limit: c.Requests, nap: nap,
		turn:    make(chan struct{}, 1),
		coming:  newArrivals(c.Rate, c.Poisson, c.Seed),
		counted: newArrivals(c.Rate, c.Poisson, c.Seed),
	}
}

// more reports whether the next arrival of a belongs to the run.
func (s *schedule) more(a *arrivals) bool {
	return (s.duration == 0 || a.at < s.duration) && (s.limit == 0 || a.n < s.limit)
}

// next waits until the next request is due. It returns the time when it was due and the
// current time. ok is false if there are no more requests, or if stop is closed.
func (s *schedule) next(stop <-chan struct{}) (due, now time.Time, ok bool) {
	select {
	case s.turn <- struct{}{}:
	case <-stop:
		return due, now, false
	}
	defer func() { <-s.turn }()
	if !s.more(s.coming) {
		return due, now, false
	}
	due = s.start.Add(s.coming.at)
	if now, ok = s.wait(due, stop); !ok {
		return due, now, false
	}
	s.taken.Add(1)
	s.coming.pass()
	s.latest = now
	return due, now, true
}

// napTime is how long before a request is due the wait changes from a timer to nap. Timers
// of Go are up to a millisecond late in an idle process. This delay would look like a
// delay of the server.
const napTime = 2 * time.Millisecond

// wait waits until due. It returns false if stop is closed before.
func (s *schedule) wait(due time.Time, stop <-chan struct{}) (now time.Time, ok bool) {
	for {
		select {
		case <-stop:
			return now, false
		default:
		}
		now = time.Now()
		left := due.Sub(now)
		switch {
		case left <= 0:
			return now, true
		case s.nap != nil && left <= napTime:
			s.nap(left)
			continue
		case s.nap != nil:
			left -= napTime / 2
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-stop:
			t.Stop()
			return now, false
		}
	}
}

// overtime returns how long after the end of the run arrivals were handed out. Call it
// when no user is left.
func (s *schedule) overtime() time.Duration {
	if s.duration == 0 {
		return 0
	}
	return max(s.latest.Sub(s.start)-s.duration, 0)
}

// backlog returns the number of requests that were due at now but not sent. Only one
// goroutine may call it, with increasing times.
func (s *schedule) backlog(now time.Time) int64 {
	for s.more(s.counted) && !s.start.Add(s.counted.at).After(now) {
		s.counted.pass()
	}
	return max(s.counted.n-s.taken.Load(), 0)
}
