package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Error codes of the server. https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
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

// read runs a call that changes nothing. It may run the call several times.
func (s *Store) read(ctx context.Context, call func(context.Context) error) error {
	return s.once(ctx, func(ctx context.Context) error { return repeat(ctx, call) })
}

// once is like read, but runs the call only once.
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

// bounded adds a deadline to a context without one. The driver's own timeout would
// apply to each attempt.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || s.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.timeout)
}

// write runs a call that sends one write command. Its error tells whether the write may
// have been applied.
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

// withContext adds the context's error if the driver's error does not contain it, for
// example because the socket reached the deadline first.
func withContext(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// isRefusal reports whether the server replied that it did not apply the write.
func isRefusal(err error) bool {
	var reply mongo.ServerError
	if !errors.As(err, &reply) || hasWriteConcernError(err) {
		return false
	}
	// A network error is a CommandError without a code. The label is on replies of a
	// server that was interrupted, possibly after the write.
	if reply.HasErrorLabel("RetryableWriteError") || reply.HasErrorLabel("NetworkError") {
		return false
	}
	return isReply(err) && !hasCode(err, codeMaxTimeExpired, codeWriteConcernFailed, codeWriteConcernTimeout)
}

// isReply reports whether err is a reply of the server with an error code.
func isReply(err error) bool {
	var reply mongo.ServerError
	return errors.As(err, &reply) &&
		slices.ContainsFunc(reply.ErrorCodes(), func(code int) bool { return code != 0 })
}

// hasWriteConcernError reports whether the write was applied but not acknowledged by the
// majority, so that it may be rolled back.
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
