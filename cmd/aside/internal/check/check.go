// Package check puts running nodes under a load of reads and writes and checks their
// responses against the promises in docs/reference/guarantees.md.
//
// Clients read and change the same few records through all nodes, over HTTP. Every write
// stores its own tag in the record, and its response has the new version. So each read
// shows which write it saw. When a record has been deleted, package history checks its
// whole history.
//
// Failed requests are counted as errors and break no promise. If the outcome of a write is
// unknown, both outcomes are accepted.
//
// With Config.Outside, other writers change the records in the database itself. Reads must
// show what they wrote after a bound. With Config.Drops, clients drop records from the
// cache. Strong reads must show outside writes at once after that.
package check

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Config configures a run. Targets is required. Zero means the default.
type Config struct {
	// Targets are the base URLs of the nodes, without /todos. The nodes must share one
	// Redis and one database.
	Targets []string
	// Clients is the number of concurrent clients, each with one request at a time;
	// default 32.
	Clients int
	// Keys is how many records are in use at the same time; default 8. A record is
	// created, used for some thousands of operations, deleted, and replaced by a new
	// one.
	Keys int
	// Life is the approximate number of operations on a record; default 2500. A record
	// is replaced earlier if it gets too old.
	Life int
	// Writes is the share of writes among the operations; default 0.1. Strong is the
	// share of strong reads among the reads; default 0.5. Negative: none. Up to a third
	// of the records get no strong reads, the others get more.
	Writes, Strong float64
	// Sticky assigns each client to one target. Then a target that hangs delays only
	// its own clients.
	Sticky bool
	// The run ends at the first of these limits, when Stop is closed, or with the
	// context. Running requests are then finished, but aborted at the end of the
	// context.
	Duration   time.Duration
	Operations int64
	Stop       <-chan struct{}
	// MaxStale is the maximum staleness of a default read; default 5s, negative: no
	// limit. A staler read is a violation.
	MaxStale time.Duration
	// Outside adds writers that go past all nodes; nil: none.
	Outside *Outside
	// Drops adds operations that drop records from the cache; nil: none.
	Drops *Drops
	// Promises are the promises to check; default all that the other fields allow. Staleness
	// is always measured.
	Promises []history.Promise
	chosen   bool // Promises were given
	// Timeout is the timeout for one request; default 10s.
	Timeout time.Duration
	// Seed is the seed of the random choices. The same seed makes the same choices, as
	// far as the timing of the responses allows. Zero: a new seed for each run.
	Seed uint64
	// Pictures is the directory for pictures of violations; "" means none.
	Pictures string
	// Warn, if set, is called before the load with each reason to doubt that the
	// guarantees can hold. The report has them too.
	Warn func(text string)
	// Progress, if set, is called every second by a goroutine of Run, and not after Run
	// has returned.
	Progress func(Progress)
}

// Progress is the progress of a run.
type Progress struct {
	Elapsed    time.Duration
	Operations int64
	Errors     int64
	Violations int64
	// Outside is the number of successful outside writes, OutsideErrors that of failed ones.
	Outside, OutsideErrors int64
}

const (
	defaultClients  = 32
	defaultKeys     = 8
	defaultLife     = 2500
	defaultWrites   = 0.1
	defaultStrong   = 0.5
	defaultMaxStale = 5 * time.Second
	defaultTimeout  = 10 * time.Second

	maxClients = 10_000
	maxKeys    = 100_000
	maxLife    = 100_000
	maxTime    = 10 * 365 * 24 * time.Hour // so that sums do not overflow
)

// Validate reports all mistakes at once, but not that Outside has no Store. The error does not contain passwords.
func (c *Config) Validate() error {
	_, err := c.endpoints()
	errs := []error{err}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, n := range []struct {
		name       string
		value, max int
	}{{"clients", c.Clients, maxClients}, {"keys", c.Keys, maxKeys}, {"life", c.Life, maxLife}} {
		if n.value < 0 || n.value > n.max {
			fault("%s must be 1 to %d, is %d", n.name, n.max, n.value)
		}
	}
	for _, share := range []struct {
		name  string
		value float64
	}{{"writes", c.Writes}, {"strong", c.Strong}} {
		if !(share.value <= 1) { // NaN too
			fault("%s must be a share from 0 to 1, is %v", share.name, share.value)
		}
	}
	for _, d := range []struct {
		name string
		time.Duration
	}{{"duration", c.Duration}, {"timeout", c.Timeout}} {
		if d.Duration < 0 {
			fault("%s must not be negative, is %v", d.name, d.Duration)
		}
		if d.Duration > maxTime {
			fault("%s must be at most %v, is %v", d.name, maxTime, d.Duration)
		}
	}
	if c.MaxStale > maxTime {
		fault("the maximum staleness must be at most %v, is %v (negative: no limit)", maxTime, c.MaxStale)
	}
	if c.Operations < 0 {
		fault("operations must not be negative, is %d", c.Operations)
	}
	if c.Outside != nil {
		errs = append(errs, c.Outside.faults(c.Keys)...)
	}
	if c.Drops != nil {
		errs = append(errs, c.Drops.faults(c.Targets)...)
	}
	for _, p := range c.Promises {
		if !slices.Contains(history.Promises(), p) {
			fault("promise %q does not exist", p)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) endpoints() ([]httpwire.Endpoint, error) {
	if len(c.Targets) == 0 {
		return nil, errors.New("at least one target is required")
	}
	return parseURLs("target", c.Targets)
}

// parseURLs parses the URLs of different servers; name is what they are in errors.
func parseURLs(name string, urls []string) ([]httpwire.Endpoint, error) {
	var errs []error
	endpoints := make([]httpwire.Endpoint, len(urls))
	for i, raw := range urls {
		e, err := httpwire.Parse(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %d: url %w", name, i+1, err))
			continue
		}
		if slices.Contains(endpoints[:i], e) {
			errs = append(errs, fmt.Errorf("%s %d: %s is given twice", name, i+1, raw))
		}
		endpoints[i] = e
	}
	return endpoints, errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.Clients = cmp.Or(c.Clients, defaultClients)
	c.Keys = cmp.Or(c.Keys, defaultKeys)
	c.Life = cmp.Or(c.Life, defaultLife)
	c.Writes = max(cmp.Or(c.Writes, defaultWrites), 0)
	c.Strong = max(cmp.Or(c.Strong, defaultStrong), 0)
	c.MaxStale = cmp.Or(c.MaxStale, defaultMaxStale)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	if c.Outside != nil {
		c.Outside = c.Outside.withDefaults()
	}
	if c.chosen = len(c.Promises) > 0; !c.chosen {
		c.Promises = history.Promises()
	}
	if c.Seed == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		c.Seed = binary.LittleEndian.Uint64(b[:])
	}
	return c
}
