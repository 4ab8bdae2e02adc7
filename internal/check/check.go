// Package check puts running nodes under a load of reads and writes and checks
// what they answered against the promises of docs/guarantees.md.
package check

import "time"

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
	// Writes is the share of operations that write, Strong the share of the
	// reads that ask for the newest value; default 0.1 and 0.5.
	Writes, Strong float64
	// The run ends at the first of these, or with the context.
	Duration   time.Duration
	Operations int64
	// MaxStale is how stale a default read may be before that counts as a
	// violation; default 5s, negative: any.
	MaxStale time.Duration
	// Timeout is the longest time for one request; default 10s.
	Timeout time.Duration
	// Seed makes the same choices again, as far as timing allows.
	Seed uint64
	// Pictures is the directory where violations are drawn; "" draws none.
	Pictures string
	// Progress, if set, is called every second by a goroutine of Run.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Elapsed    time.Duration
	Operations int64
	Errors     int64
	Violations int64
}
