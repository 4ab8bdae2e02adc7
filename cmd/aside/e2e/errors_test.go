package e2e

import (
	"slices"
	"strings"

	"github.com/asidecache/aside/cmd/aside/internal/check"
)

func isWrite(e check.Error) bool { return !strings.HasSuffix(e.Request, "read") }

// writesRefused expects what a server with --on-redis-down closed answers to
// writes while it does not reach Redis. Reads go on.
func writesRefused(e check.Error) bool {
	return isWrite(e) && slices.Contains([]string{"status 503 cache_unavailable", "status 504 unacknowledged"}, e.Problem)
}

// writesUnknown expects writes whose outcome the store did not tell.
func writesUnknown(e check.Error) bool {
	return isWrite(e) && e.Problem == "status 504 unknown_outcome"
}

func anything(check.Error) bool { return true }

// late: a time-out passed, of Redis or of the store. On a machine that is busy
// elsewhere that happens without a fault; it is no lie, and no error of another
// kind may hide behind it.
func late(e check.Error) bool {
	return writesRefused(e) || writesUnknown(e) || e.Problem == "status 503 store_unavailable" || !isWrite(e) && e.Problem == "status 503 timeout"
}

// onlyAt expects anything from one node.
func onlyAt(node int) func(check.Error) bool {
	return func(e check.Error) bool { return e.Target == node }
}

// loadsTimedOut expects reads at a node whose loads do.
func loadsTimedOut(node int) func(check.Error) bool {
	return func(e check.Error) bool {
		return e.Target == node && !isWrite(e) && e.Problem == "status 503 timeout"
	}
}
