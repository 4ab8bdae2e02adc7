// Package check puts running nodes under a load of reads and writes and checks
// what they answered against the promises of docs/guarantees.md.
//
// Clients ask all nodes, over HTTP, for the same few records and change them.
// Every write has a tag of its own in the record, and its answer has the version
// that it made; so each read tells which write it saw. When a record's life is
// over, package history holds all that was seen of it against the promises.
//
// A server that fails is no liar: requests that fail are counted as errors and
// break no promise, and a write whose outcome nobody knows may have been applied
// or not.
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

// Config describes a run. Targets is required; zero means the default.
type Config struct {
	// Targets are the nodes, each the URL under which /todos is. They must share
	// one Redis and one database.
	Targets []string
	// Clients is how many requests are under way at one time; default 32.
	Clients int
	// Keys is how many records are written and read at one time; default 8. A
	// record is created, lives for some thousands of operations, is deleted, and
	// replaced by another.
	Keys int
	// Life is about how many operations a record lives for, if it does not get
	// too old; default 2500.
	Life int
	// Writes is the share of operations that write, Strong the share of the
	// reads that ask for the newest value; default 0.1 and 0.5. Negative: none.
	// Up to a third of the records get no strong reads at all, the others more.
	Writes, Strong float64
	// Sticky has each client ask one target alone, so that one that hangs holds up
	// its own clients and not, before long, all of them.
	Sticky bool
	// The run ends at the first of these, or with the context. Stop ends it by
	// being closed. What is under way is then finished; the end of the context
	// breaks it off.
	Duration   time.Duration
	Operations int64
	Stop       <-chan struct{}
	// MaxStale is how stale a default read may be before that counts as a
	// violation; default 5s, negative: any.
	MaxStale time.Duration
	// Promises are those to check; default all. Staleness is measured in any
	// case.
	Promises []history.Promise
	// Timeout is the longest time for one request; default 10s.
	Timeout time.Duration
	// Seed makes the same choices again, as far as timing allows; zero: another
	// one each time.
	Seed uint64
	// Pictures is the directory where violations are drawn; "" draws none.
	Pictures string
	// Progress, if set, is called every second by a goroutine of Run, and never
	// after Run returned.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Elapsed    time.Duration
	Operations int64
	Errors     int64
	Violations int64
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
)

// Validate reports all mistakes at once, without the passwords that a URL may
// hold.
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
	}
	if c.Operations < 0 {
		fault("operations must not be negative, is %d", c.Operations)
	}
	for _, p := range c.Promises {
		if !slices.Contains(history.Promises(), p) {
			fault("there is no promise %q", p)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) endpoints() ([]httpwire.Endpoint, error) {
	if len(c.Targets) == 0 {
		return nil, errors.New("a target is required")
	}
	var errs []error
	endpoints := make([]httpwire.Endpoint, len(c.Targets))
	for i, raw := range c.Targets {
		e, err := httpwire.Parse(raw)
		if err != nil {
			errs = append(errs, fmt.Errorf("target %d: url %w", i+1, err))
			continue
		}
		if slices.Contains(endpoints[:i], e) {
			errs = append(errs, fmt.Errorf("target %d: %s is there already", i+1, raw))
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
	if len(c.Promises) == 0 {
		c.Promises = history.Promises()
	}
	if c.Seed == 0 {
		var b [8]byte
		rand.Read(b[:]) // never fails
		c.Seed = binary.LittleEndian.Uint64(b[:])
	}
	return c
}
