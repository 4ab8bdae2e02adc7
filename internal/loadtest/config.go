package loadtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/internal/wire"
)

// Config describes a run. URL, Users and Workload are required.
type Config struct {
	// URL is where the records are: a record is at URL/ID. http or https.
	URL string
	// Users is how many requests are under way at one time, each on its own
	// connection.
	Users int
	// SpawnRate is how many users begin in a second; 0: all begin at once.
	SpawnRate float64
	// Workload says which records are asked for.
	Workload Workload

	// The run ends at the first of these: after Duration, after Requests
	// requests (0: no such limit), with the workload, or with the context.
	Duration time.Duration
	Requests int64

	// Timeout is the longest time for one request, its connection included;
	// 0 means 30 s.
	Timeout time.Duration

	// Progress, if set, is called every Interval (0 means 1 s) by a goroutine
	// of Run, and never after Run returned.
	Progress func(Progress)
	Interval time.Duration
}

// Progress is what happened lately, and so far.
type Progress struct {
	Elapsed  time.Duration // since the start of the run
	Users    int           // that are at work
	Took     time.Duration // the length of Interval
	Interval *Tally        // since the last call
	Total    *Tally        // since the start; read-only, and only during the call
}

const (
	defaultTimeout  = 30 * time.Second
	defaultInterval = time.Second
	maxUsers        = 100_000
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
	if c.Workload == nil {
		fault("a workload is required")
	}
	for _, d := range []struct {
		name string
		time.Duration
	}{{"duration", c.Duration}, {"timeout", c.Timeout}, {"interval", c.Interval}} {
		if d.Duration < 0 {
			fault("%s must not be negative, is %v", d.name, d.Duration)
		}
	}
	if c.Requests < 0 {
		fault("requests must not be negative, is %d", c.Requests)
	}
	return errors.Join(errs...)
}

func (c *Config) endpoint() (wire.Endpoint, error) {
	e, err := wire.Parse(c.URL)
	if err != nil {
		err = fmt.Errorf("url %w", err)
	}
	return e, err
}
