package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
)

// After a temporary error the driver (2.10) repeats the command without a pause until the
// context's deadline. A MongoDB that answered "exceeded time limit" got tens of thousands
// of finds for one read. No option limits that: SetMaxAdaptiveRetries is only for one
// other error. So this package repeats reads itself. But the driver must repeat a write,
// because its transaction number prevents that the write is applied twice. attemptMonitor
// adds a pause between these attempts, and ends the call after the last one.

// maxAttempts is how often a command is sent at most: enough for a broken connection
// followed by a primary that stepped down. The wait for a new primary is limited by
// ServerSelectionTimeout.
const maxAttempts = 3

// repeat runs a call that changes nothing until it succeeds or fails with a permanent
// error, but at most maxAttempts times.
func repeat(ctx context.Context, call func(context.Context) error) error {
	for n := 1; ; n++ {
		err := call(ctx)
		if n == maxAttempts || ctx.Err() != nil || !mayPass(err) || !pause.BeforeRetry(ctx, n) {
			return err
		}
	}
}

// Codes of temporary errors. The driver has the same list.
var passingCodes = []int{
	6,     // HostUnreachable
	7,     // HostNotFound
	89,    // NetworkTimeout
	91,    // ShutdownInProgress
	134,   // ReadConcernMajorityNotAvailableYet
	189,   // PrimarySteppedDown
	262,   // ExceededTimeLimit
	9001,  // SocketException
	10107, // NotWritablePrimary
	11600, // InterruptedAtShutdown
	11602, // InterruptedDueToReplStateChange
	13435, // NotPrimaryNoSecondaryOk
	13436, // NotPrimaryOrSecondary
}

// mayPass reports whether the error of a read may be temporary.
func mayPass(err error) bool {
	// The pool was cleared because another call lost its connection.
	var pool interface{ Retryable() bool }
	if errors.As(err, &pool) && pool.Retryable() {
		return true
	}
	var labeled mongo.LabeledError
	if errors.As(err, &labeled) && (labeled.HasErrorLabel("NetworkError") || labeled.HasErrorLabel("SystemOverloadedError")) {
		return true
	}
	return hasCode(err, passingCodes...)
}

// attempts counts how often the commands of a write were sent to a server. It is in the
// call's context, which the driver passes to its monitor. Only one goroutine uses it. The
// kind of the error is not enough: a retry that finds no server fails like a call that
// was never sent, although its first attempt may have been applied.
type attempts struct {
	n       int // commands that were sent
	number  any // the transaction number of the last command, nil if it had none
	same    int // how many of the last commands had it
	failure error
	gaveUp  bool
	cancel  context.CancelFunc // ends the call
}

type attemptsKey struct{}

var attemptMonitor = &event.CommandMonitor{
	// The driver calls it in the goroutine of the call, right before it sends the command,
	// and checks the context once more afterwards.
	Started: func(ctx context.Context, e *event.CommandStartedEvent) {
		if a, ok := ctx.Value(attemptsKey{}).(*attempts); ok {
			a.started(ctx, e)
		}
	},
	Failed: func(ctx context.Context, e *event.CommandFailedEvent) {
		if a, ok := ctx.Value(attemptsKey{}).(*attempts); ok && !a.gaveUp {
			a.failure = e.Failure
		}
	},
}

func (a *attempts) started(ctx context.Context, e *event.CommandStartedEvent) {
	// Only commands with a transaction number are repeated, with the same number.
	if number, ok := e.Command.Lookup("txnNumber").Int64OK(); ok && a.number == any(number) {
		if a.same == maxAttempts {
			a.gaveUp = true
			a.cancel()
			return
		}
		if !pause.BeforeRetry(ctx, a.same) {
			return // the driver sees that the context has ended, and sends nothing
		}
		a.same++
	} else {
		a.number, a.same = nil, 1
		if ok {
			a.number = number
		}
	}
	a.n++
}

// explain returns the last failure if the call was ended after its last attempt, instead
// of the context's error.
func (a *attempts) explain(err error) error {
	switch {
	case !a.gaveUp:
		return err
	case a.failure == nil: // the write concern failed, but not the command
		return fmt.Errorf("gave up after %d attempts: the write was not confirmed", a.n)
	}
	return fmt.Errorf("gave up after %d attempts: %w", a.n, a.failure)
}
