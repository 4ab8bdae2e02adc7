package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Config configures a run. URL, Users and Workload are required.
type Config struct {
	// URL is the URL of the records, http or https. The URL of a record is URL/ID.
	URL string
	// Users is the number of concurrent users, each with one connection and one request
	// at a time. In an open loop it is the maximum number of concurrent requests.
	Users int
	// SpawnRate is how many users start per second; 0: all at once. An open loop does
	// not use it.
	SpawnRate float64
	// Rate, if it is not 0, makes it an open loop: Rate requests are due per second,
	// even if the responses are slow.
	Rate float64
	// Poisson sends the requests of an open loop at random times, as many independent
	// clients do, instead of at equal intervals. Rate is then the mean.
	Poisson bool
	// Workload chooses the records.
	Workload ids.Workload
	// Mix chooses the operations. The zero Mix only reads.
	Mix Mix
	// Seed is the seed of the choices of operations and of arrivals.
	Seed uint64
	// Round makes runs with the same seed different: each round makes other choices.
	// Rounds start at 0.
	Round int

	// WarmUp runs before the measurement.
	WarmUp WarmUp
	// KeepCreated keeps the records that the run has created. Otherwise they are
	// deleted after the measurement.
	KeepCreated bool

	// The run ends at the first of these: after Duration, after Requests requests (0:
	// no limit), at the end of the workload, or with the context.
	Duration time.Duration
	Requests int64

	// AddedLatency is what the server adds to the time of its store, such as "2ms"; "": nothing.
	// The reports say it.
	AddedLatency string

	// Timeout is the timeout for one request, including the time to connect. In an open
	// loop it is also the timeout for the wait for a free connection. 0 means 30 s.
	Timeout time.Duration

	// Progress, if set, is called every Interval (0 means 1 s) by a goroutine of Run,
	// and not after Run has returned.
	Progress func(Progress)
	Interval time.Duration
}

// Progress is the progress of a run: the last interval, and the total.
type Progress struct {
	WarmUp   bool          // not part of the report
	Elapsed  time.Duration // since the start of the run, or of the warm-up
	Users    int           // users that have started
	Backlog  int64         // requests that are due but not sent, in an open loop
	Took     time.Duration // the length of Interval
	Interval *Tally        // since the last call
	Total    *Tally        // since the start; read-only, and only during the call
}

const (
	defaultTimeout  = 30 * time.Second
	defaultInterval = time.Second
	maxUsers        = 100_000
	maxRate         = 10_000_000
	minRate         = 1e-6                      // with a smaller one, the time of the next request would overflow
	maxTime         = 10 * 365 * 24 * time.Hour // so that sums do not overflow
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
	for _, r := range []struct {
		name string
		is   float64
	}{{"spawn rate", c.SpawnRate}, {"rate", c.Rate}} {
		if r.is > 0 && r.is < minRate {
			fault("%s must be 0 or at least %v, is %v", r.name, minRate, r.is)
		}
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
		if d.Duration > maxTime {
			fault("%s must be at most %v, is %v", d.name, maxTime, d.Duration)
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
