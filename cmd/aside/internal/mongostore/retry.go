package mongostore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The driver (2.10) sends a command that failed in a way that may pass again at
// once, and again, until the context's deadline: a MongoDB that answers "exceeded
// time limit" got tens of thousands of finds for one read. None of its options
// bounds that; SetMaxAdaptiveRetries is for one other error alone. So reads are
// repeated here and not by the driver. A write must be repeated by the driver,
// whose transaction number keeps it from being applied twice: attemptMonitor
// holds it back between attempts and ends it after the last.

// maxAttempts is how often a command is sent: as often as is needed to get over a
// connection that broke and a primary that stepped down. The wait for a new
// primary is ServerSelectionTimeout's.
const maxAttempts = 3

// pause waits before a command is sent for another time, after it failed n times,
// or until ctx ends.
func pause(ctx context.Context, n int) error {
	limit := 25 * time.Millisecond << (2 * min(n, 4)) // 100 ms, 400 ms
	timer := time.NewTimer(limit/2 + rand.N(limit/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repeat runs a call that changes nothing until it succeeds, or fails in a way
// that will not pass, but at most maxAttempts times.
func repeat(ctx context.Context, call func(context.Context) error) error {
	for n := 1; ; n++ {
		err := call(ctx)
		if n == maxAttempts || ctx.Err() != nil || !mayPass(err) || pause(ctx, n) != nil {
			return err
		}
	}
}

// Codes that the driver, too, takes for errors that pass.
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

// mayPass reports whether a read that failed so may succeed a moment later.
func mayPass(err error) bool {
	// A pool that was emptied, since another call lost its connection.
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

// attempts knows how often a write's commands went out to a server. It travels in
// the call's context, which the driver hands to its monitor; one goroutine uses
// it. The kind of the error would not do: a retry that finds no server fails like
// a call that was never sent, although its first attempt may have been applied.
type attempts struct {
	n       int // commands that were sent
	number  any // the transaction number of the last one, nil if it had none
	same    int // how many of the last ones had it
	failure error
	gaveUp  bool
	cancel  context.CancelFunc // ends the call
}

type attemptsKey struct{}

var attemptMonitor = &event.CommandMonitor{
	// The driver calls it in the goroutine of the call, right before it sends the
	// command, and looks at the context once more after it.
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
	// Only what has a transaction number is repeated, and then with the same one.
	if number, ok := e.Command.Lookup("txnNumber").Int64OK(); ok && a.number == any(number) {
		if a.same == maxAttempts {
			a.gaveUp = true
			a.cancel()
			return
		}
		if pause(ctx, a.same) != nil {
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

// explain returns the last failure in place of the error of a call that was ended
// after its last attempt.
func (a *attempts) explain(err error) error {
	switch {
	case !a.gaveUp:
		return err
	case a.failure == nil: // the write concern failed, which is no failure of the command
		return fmt.Errorf("gave up after %d attempts: the write was not confirmed", a.n)
	}
	return fmt.Errorf("gave up after %d attempts: %w", a.n, a.failure)
}
