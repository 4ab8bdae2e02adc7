package mongofeed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/driver"
)

// Error codes of the server. https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const (
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18
	codeCursorNotFound       = 43
	codeCommandNotFound      = 59
	codeOptionNotSupported   = 166
	codeNotImplemented       = 238
	codeUnrecognizedStage    = 40324
	codeOnlyReplicaSets      = 40573
)

// gapCodes: the server cannot go on from the token.
var gapCodes = []int{
	136,   // CappedPositionLost
	222,   // CloseChangeStream
	260,   // InvalidResumeToken
	280,   // ChangeStreamFatalError
	286,   // ChangeStreamHistoryLost
	10334, // BSONObjectTooLarge: it cannot send the next event, now or later
	40576, // the names of 286 and 280 before MongoDB 4.2
	40585,
	40615,
	40647, // a token with a resume token of another form
	40648,
	40649,
}

// tokenCodes are of a token that the server cannot read, if one was sent.
var tokenCodes = []int{
	2,  // BadValue
	9,  // FailedToParse
	14, // TypeMismatch
}

// fatalCodes are errors that trying again does not change.
var fatalCodes = []int{
	codeUnauthorized, codeAuthenticationFailed, codeCommandNotFound, codeOptionNotSupported, codeNotImplemented,
	codeUnrecognizedStage, codeOnlyReplicaSets,
}

// errNoAnswer ends a command that the server did not answer in time.
var errNoAnswer = errors.New("the server did not answer in time")

func gap(err error) error { return fmt.Errorf("%w: %w", driver.ErrGap, err) }

func hasCode(err error, codes ...int) bool {
	var reply mongo.ServerError
	return errors.As(err, &reply) && slices.ContainsFunc(codes, reply.HasErrorCode)
}

// isGap reports whether changes are lost, by the error of a command that continues a
// stream.
func isGap(err error) bool {
	var reply mongo.ServerError
	return errors.Is(err, driver.ErrGap) || hasCode(err, gapCodes...) ||
		errors.As(err, &reply) && reply.HasErrorLabel("NonResumableChangeStreamError")
}

// Kinds of errors of Open that trying again does not change. Each text says what to do.
var (
	// ErrServer: the server has no change streams.
	ErrServer = errors.New("mongofeed: server")
	// ErrRights: the user may not follow the collection.
	ErrRights = errors.New("mongofeed: rights of the user")
)

// faultError has a kind that its text does not repeat.
type faultError struct {
	error
	kind error
}

func (e *faultError) Unwrap() []error { return []error{e.error, e.kind} }

func fault(kind error, format string, args ...any) error {
	return &faultError{fmt.Errorf(format, args...), kind}
}

// explain returns an error for the caller, with what to do where that is known. resumed:
// it is of a stream at a position.
func explain(ns string, err error, resumed bool) error {
	switch {
	case errors.Is(err, driver.ErrGap):
	case resumed && (isGap(err) || hasCode(err, tokenCodes...)):
		err = gap(err)
	case hasCode(err, codeOnlyReplicaSets):
		err = fault(ErrServer, "MongoDB must run as a replica set, of one server if need be (mongod --replSet rs0, then rs.initiate()): %w", err)
	case hasCode(err, codeUnauthorized, codeAuthenticationFailed):
		err = fault(ErrRights, "the user needs the role read in the database (find, changeStream, listCollections): %w", err)
	case hasCode(err, codeCommandNotFound, codeNotImplemented, codeUnrecognizedStage, codeOptionNotSupported):
		err = fault(ErrServer, "the server has no change streams: %w", err)
	}
	return fmt.Errorf("mongofeed: follow %s: %w", ns, err)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
