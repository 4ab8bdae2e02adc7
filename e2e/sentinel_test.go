package e2e

import (
	"testing"
	"time"

	"github.com/asidecache/aside/internal/testserver"
)

// The sentinels notice a master's death after two seconds, and then elect.
const failover = 15 * time.Second

func TestSentinel(t *testing.T) {
	var g *testserver.SentinelGroup
	start := func(args ...string) func(*testing.T, form, policy) *system {
		return func(t *testing.T, f form, p policy) *system {
			g = testserver.Sentinel(t, 1, 3)
			return startOn(t, f.timing, p, g.URL(), args...)
		}
	}
	_ = start
}
