package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

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

// read runs a call that changes nothing, and may be run several times.
func (s *Store) read(ctx context.Context, call func(context.Context) error) error {
	return s.once(ctx, func(ctx context.Context) error { return repeat(ctx, call) })
}

// once is read for a call that is not repeated.
func (s *Store) once(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err := call(ctx)
	if err == nil || isDomain(err) {
		return err
	}
	return unavailable(ctx, err)
}

// bounded gives a call a deadline if its context has none: that of the driver
// would be for each attempt.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || s.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// write runs a call that sends one command that changes something, and tells
// from what became of it whether that may have been applied.
func (s *Store) write(ctx context.Context, call func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(ctx, err)
	}
	ctx, end := s.bounded(ctx)
	defer end()
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := attempts{cancel: cancel}
	err := call(context.WithValue(callCtx, attemptsKey{}, &sent))
	if err == nil || isDomain(err) {
		return err
	}
	err = sent.explain(err)
	switch {
	case sent.n == 0:
		return unavailable(ctx, err)
	case mongo.IsDuplicateKeyError(err) && !hasWriteConcernError(err):
		return todo.ErrExists
	case sent.n == 1 && isInvalid(err):
		return fmt.Errorf("%w: MongoDB refused the record: %w", todo.ErrInvalid, err)
	case sent.n == 1 && isRefusal(err):
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
