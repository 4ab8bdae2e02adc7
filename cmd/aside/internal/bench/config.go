package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Config describes a run. URL, Users and Workload are required.
type Config struct {
	// URL is where the records are: a record is at URL/ID. http or https.
	URL string
	// Users is how many requests are under way at one time, each on its own
	// connection. In an open loop it is how many there may be at most.
	Users int
	// SpawnRate is how many users begin in a second; 0: all begin at once. An
	// open loop does not use it.
	SpawnRate float64
	// Rate, if it is not 0, makes it an open loop: so many requests are due in a
	// second, however fast the answers come.
	Rate float64
	// Poisson spaces the requests of an open loop at random, as those of many
	// independent clients are, rather than evenly. The rate is its mean.
	Poisson bool
	// Workload says which records are asked for.
	Workload ids.Workload
	// Mix says what is done with them; the zero one reads.
	Mix Mix
	// Seed makes the same choices of operations, and of arrivals, in every run.
	Seed uint64
	// Round tells runs with the same seed apart: those of another round make other
	// choices. From 0 on.
	Round int

	// WarmUp is what happens before anything is measured.
	WarmUp WarmUp
	// KeepCreated leaves the records that the run has created; else they are
	// deleted at the end, after the measurement.
	KeepCreated bool

	// The run ends at the first of these: after Duration, after Requests
	// requests (0: no such limit), with the workload, or with the context.
	Duration time.Duration
	Requests int64

	// Timeout is the longest time for one request, its connection included, and
	// in an open loop also the longest wait for a free connection; 0 means 30 s.
	Timeout time.Duration

	// Progress, if set, is called every Interval (0 means 1 s) by a goroutine
	// of Run, and never after Run returned.
	Progress func(Progress)
	Interval time.Duration
}

// Progress is what happened lately, and so far.
type Progress struct {
	WarmUp   bool          // nothing of this will be in the report
	Elapsed  time.Duration // since the start of the run, or of the warm-up
	Users    int           // that are at work
	Backlog  int64         // requests that are due and not begun, in an open loop
	Took     time.Duration // the length of Interval
	Interval *Tally        // since the last call
	Total    *Tally        // since the start; read-only, and only during the call
}

const (
	defaultTimeout  = 30 * time.Second
	defaultInterval = time.Second
	maxUsers        = 100_000
	maxRate         = 10_000_000
)

// Validate reports all mistakes at once.
func (c *Config) Validate() error {
	_, err := c.endpoint()
	errs := []error{err}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Users < 1 || c.Users > maxUsers {
		fault("users must be 1 to %d, is %d", maxUsers, c.Users)
	}
	if !(c.SpawnRate >= 0) { // NaN too
		fault("spawn rate must not be negative, is %v", c.SpawnRate)
	}
	if !(c.Rate >= 0 && c.Rate <= maxRate) {
		fault("rate must be 0 (a closed loop) to %d, is %v", maxRate, c.Rate)
	}
	if c.Poisson && c.Rate == 0 {
		fault("arrivals at random need a rate")
	}
	if c.Workload == nil {
		fault("a workload is required")
	}
	errs = append(errs, c.Mix.validate())
	for _, d := range []struct {
		name string
		time.Duration
	}{{"duration", c.Duration}, {"timeout", c.Timeout}, {"interval", c.Interval}, {"warm-up", c.WarmUp.Duration}} {
		if d.Duration < 0 {
			fault("%s must not be negative, is %v", d.name, d.Duration)
		}
	}
	if c.Requests < 0 {
		fault("requests must not be negative, is %d", c.Requests)
	}
	return errors.Join(errs...)
}

func (c *Config) endpoint() (httpwire.Endpoint, error) {
	e, err := httpwire.Parse(c.URL)
	if err != nil {
		err = fmt.Errorf("url %w", err)
	}
	return e, err
}
