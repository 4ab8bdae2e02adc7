package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// form is how long a run takes: the short one is what CI has time for, the long
// one is what the published table is made of.
type form struct {
	timing
	// Before, Fault and After are the parts of each row. What a fault needs to
	// show, such as the end of a fence, comes on top.
	Before, Fault, After time.Duration
	Clients, Keys        int
	Writes               float64
	// Short: as many rows at one time as there are processors. Much of a row is
	// waiting; but they slow each other down, so the figures are of less worth.
	Short bool
}

var (
	short = form{
		timing: timing{
			Load: 2 * time.Second, Write: 2 * time.Second, Fence: 2200 * time.Millisecond,
			L2: 300 * time.Millisecond, Silence: time.Second, Degraded: 500 * time.Millisecond,
		},
		Before: 500 * time.Millisecond, Fault: 1200 * time.Millisecond, After: time.Second,
		Clients: 24, Keys: 8, Writes: 0.03, Short: true,
	}
	// The time-outs are those that aside serve has without flags.
	long = form{
		timing: timing{
			Load: 5 * time.Second, Write: 5 * time.Second, Fence: 10 * time.Second,
			L2: 100 * time.Millisecond, Silence: 2 * time.Second, Degraded: time.Second,
		},
		Before: 10 * time.Second, Fault: 10 * time.Second, After: 20 * time.Second,
		Clients: 32, Keys: 8, Writes: 0.02,
	}
)

// formOf reads ASIDE_E2E: "short", the default, or "long"; with a factor behind
// it, as in "long*2", the parts of each row are that much longer.
func formOf(t *testing.T) form {
	t.Helper()
	name, factor, scaled := cutFactor(os.Getenv("ASIDE_E2E"))
	f, ok := map[string]form{"": short, "short": short, "long": long}[name]
	if !ok || scaled && factor <= 0 {
		t.Fatalf("ASIDE_E2E is %q, want short or long, perhaps with a factor as in long*2", os.Getenv("ASIDE_E2E"))
	}
	if scaled {
		for _, d := range []*time.Duration{&f.Before, &f.Fault, &f.After} {
			*d = time.Duration(float64(*d) * factor)
		}
	}
	return f
}

func cutFactor(s string) (name string, factor float64, scaled bool) {
	for i := range s {
		if s[i] == '*' {
			factor, _ = strconv.ParseFloat(s[i+1:], 64)
			return s[:i], factor, true
		}
	}
	return s, 0, false
}

// lease is how long that of a load lasts, see leaseTTL in read.go.
func (c timing) lease() time.Duration { return c.Load + 2*c.L2 + time.Second }
