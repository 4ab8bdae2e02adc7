package e2e

import (
	"slices"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/check"
)

func isWrite(e check.Error) bool { return !strings.HasSuffix(e.Request, "read") }

// writesRefused expects the errors of writes on a server with --on-redis-down closed while
// Redis is unreachable. Reads must not fail.
func writesRefused(e check.Error) bool {
	return isWrite(e) && slices.Contains([]string{"status 503 cache_unavailable", "status 504 unacknowledged"}, e.Problem)
}

// writesUnknown expects writes with unknown outcome.
func writesUnknown(e check.Error) bool {
	return isWrite(e) && e.Problem == "status 504 unknown_outcome"
}

func anything(check.Error) bool { return true }

// late: a timeout of Redis or of the store. On a busy machine this happens without a fault.
// It breaks no promise. Errors of other kinds do not match.
func late(e check.Error) bool {
	return writesRefused(e) || writesUnknown(e) || e.Problem == "status 503 store_unavailable" || !isWrite(e) && e.Problem == "status 503 timeout"
}

// onlyAt expects any error, but only from one node.
func onlyAt(node int) func(check.Error) bool {
	return func(e check.Error) bool { return e.Target == node }
}

// loadsTimedOut expects timeouts of reads at a node whose loads time out.
func loadsTimedOut(node int) func(check.Error) bool {
	return func(e check.Error) bool {
		return e.Target == node && !isWrite(e) && e.Problem == "status 503 timeout"
	}
}
