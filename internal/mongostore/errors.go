package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/internal/todo"
)

// attempts counts how often a call's commands went out to a server. It travels
// in the call's context, which the driver hands to its monitor. The kind of the
// error would not do: a retry that finds no server fails like a call that was
// never sent, although its first attempt may have been applied.
type attempts struct{ n atomic.Int32 }

type attemptsKey struct{}

var attemptMonitor = &event.CommandMonitor{
	Started: func(ctx context.Context, _ *event.CommandStartedEvent) {
		if a, ok := ctx.Value(attemptsKey{}).(*attempts); ok {
			a.n.Add(1)
		}
	},
}

// Codes of replies. https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const (
	codeUnauthorized         = 13
	codeNamespaceNotFound    = 26
	codeIndexNotFound        = 27
	codeMaxTimeExpired       = 50
	codeCommandNotFound      = 59
	codeWriteConcernFailed   = 64
	codeIndexOptionsConflict = 85
	codeIndexKeyConflict     = 86
	codeWriteConcernTimeout  = 100
	codeDocumentInvalid      = 121
	codeNotImplemented       = 238
	codeTooLarge             = 10334
	codeTooLargeUpdated      = 17419
	codeTooLargeInserted     = 17420
)

// read runs a call that changes nothing.
func (s *Store) read(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := call(ctx)
	if err == nil || isDomain(err) {
		return err
	}
	return unavailable(ctx, err)
}

// write runs a call that sends one command that changes something, and tells
// from what became of it whether that may have been applied.
func (s *Store) write(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(ctx, err)
	}
	var sent attempts
	err := call(context.WithValue(ctx, attemptsKey{}, &sent))
	if err == nil || isDomain(err) {
		return err
	}
	n := sent.n.Load()
	switch {
	case n == 0:
		return unavailable(ctx, err)
	case mongo.IsDuplicateKeyError(err) && !hasWriteConcernError(err):
		return todo.ErrExists
	case n == 1 && isInvalid(err):
		return fmt.Errorf("%w: MongoDB refused the record: %w", todo.ErrInvalid, err)
	case n == 1 && isRefusal(err):
		return unavailable(ctx, err)
	}
	return fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, withContext(ctx, err))
}

func isDomain(err error) bool {
	return errors.Is(err, todo.ErrNotFound) || errors.Is(err, todo.ErrExists) || errors.Is(err, todo.ErrInvalid)
}

func unavailable(ctx context.Context, err error) error {
	return fmt.Errorf("%w: %w", todo.ErrUnavailable, withContext(ctx, err))
}

// withContext adds the context's error where the driver's does not show that the
// call ended with it, as when a socket reaches the deadline first.
func withContext(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// isRefusal reports whether the server answered that it did not do it.
func isRefusal(err error) bool {
	var reply mongo.ServerError
	if !errors.As(err, &reply) || hasWriteConcernError(err) {
		return false
	}
	// A network error is a CommandError too, without a code. The label is on
	// replies of a server that was interrupted, perhaps behind the write.
	if reply.HasErrorLabel("RetryableWriteError") || reply.HasErrorLabel("NetworkError") {
		return false
	}
	return isReply(err) && !hasCode(err, codeMaxTimeExpired, codeWriteConcernFailed, codeWriteConcernTimeout)
}

// isReply reports whether err came from the server, with a code.
func isReply(err error) bool {
	var reply mongo.ServerError
	return errors.As(err, &reply) &&
		slices.ContainsFunc(reply.ErrorCodes(), func(code int) bool { return code != 0 })
}

// hasWriteConcernError reports whether the write was applied, but not
// acknowledged by the majority: it may be rolled back, or not.
func hasWriteConcernError(err error) bool {
	var one mongo.WriteException
	var bulk mongo.BulkWriteException
	return errors.As(err, &one) && one.WriteConcernError != nil ||
		errors.As(err, &bulk) && bulk.WriteConcernError != nil
}

func isInvalid(err error) bool {
	return hasCode(err, codeDocumentInvalid, codeTooLarge, codeTooLargeUpdated, codeTooLargeInserted)
}

func hasCode(err error, codes ...int) bool {
	var reply mongo.ServerError
	return errors.As(err, &reply) && slices.ContainsFunc(codes, reply.HasErrorCode)
}
