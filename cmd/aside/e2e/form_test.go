package e2e

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// form is the length of a run. CI uses the short form. The published table is made with
// the long one.
type form struct {
	timing
	// Before, Fault and After are the lengths of the parts of each row. The time that a
	// fault needs, such as for a fence to expire, is added.
	Before, Fault, After time.Duration
	Clients, Keys        int
	Writes               float64
	// Short: as many rows in parallel as there are processors. They slow each other down, so
	// their figures are less exact.
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
	// The timeouts are the defaults of aside serve.
	long = form{
		timing: timing{
			Load: 5 * time.Second, Write: 5 * time.Second, Fence: 10 * time.Second,
			L2: 100 * time.Millisecond, Silence: 2 * time.Second, Degraded: time.Second,
		},
		Before: 10 * time.Second, Fault: 10 * time.Second, After: 20 * time.Second,
		Clients: 32, Keys: 8, Writes: 0.02,
	}
)

// formOf reads ASIDE_E2E: "short", the default, or "long". With a factor, as in "long*2",
// the parts of each row are longer by that factor.
func formOf(t *testing.T) form {
	t.Helper()
	name, factor, scaled := cutFactor(os.Getenv("ASIDE_E2E"))
	f, ok := map[string]form{"": short, "short": short, "long": long}[name]
	if !ok || scaled && factor <= 0 {
		t.Fatalf("ASIDE_E2E must be short or long, possibly with a factor as in long*2, is %q", os.Getenv("ASIDE_E2E"))
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

// lease returns how long the lease of a load lasts.
func (c timing) lease() time.Duration { return c.Load + 2*c.L2 + time.Second }
