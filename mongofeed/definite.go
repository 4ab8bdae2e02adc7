package mongofeed

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// DefiniteError is for Options.DefiniteError of a cache of which MongoDB is the primary.
// It reports whether err says for certain that MongoDB has not applied the write or the
// transaction and will not do so later: a duplicate key, a document that was refused, no
// documents, a transaction that was aborted.
//
// It is false for everything else: a timeout, a lost connection, a server that steps
// down, a write concern that was not met (the write may be kept or rolled back), a commit
// whose result is unknown. It is also false if err has such an error beside one of the
// above.
func DefiniteError(err error) bool {
	definite, doubtful := judge(err)
	return definite && !doubtful
}

func judge(err error) (definite, doubtful bool) {
	switch e := err.(type) {
	case nil:
		return false, false
	case mongo.ServerError:
		definite = refused(e)
		return definite, !definite
	}
	switch err {
	case mongo.ErrNoDocuments:
		return true, false
	case context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF:
		return false, true
	}
	if _, ok := err.(net.Error); ok {
		return false, true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return judge(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			yes, doubt := judge(one)
			definite, doubtful = definite || yes, doubtful || doubt
		}
	}
	return definite, doubtful
}

// refused reports whether a reply of the server means that it did not apply the write.
func refused(e mongo.ServerError) bool {
	switch {
	case e.HasErrorLabel("UnknownTransactionCommitResult"):
		return false
	case e.HasErrorLabel("TransientTransactionError"):
		return true // not even a lost connection: the commit was not sent, or it failed
	case e.HasErrorLabel("RetryableWriteError"), e.HasErrorLabel("NetworkError"):
		return false // the server may have been interrupted after the write
	case unconfirmed(e):
		return false
	}
	codes := slices.DeleteFunc(e.ErrorCodes(), func(code int) bool { return code == 0 })
	return len(codes) > 0 && !slices.ContainsFunc(codes, func(code int) bool { return slices.Contains(doubtfulCodes, code) })
}

// doubtfulCodes are those of a server that was interrupted, or that waited in vain for
// others. https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
var doubtfulCodes = []int{
	6,     // HostUnreachable
	7,     // HostNotFound
	50,    // MaxTimeMSExpired
	64,    // WriteConcernFailed
	89,    // NetworkTimeout
	91,    // ShutdownInProgress
	100,   // UnsatisfiableWriteConcern
	189,   // PrimarySteppedDown
	202,   // NetworkInterfaceExceededTimeLimit
	262,   // ExceededTimeLimit
	9001,  // SocketException
	10107, // NotWritablePrimary
	11600, // InterruptedAtShutdown
	11601, // Interrupted
	11602, // InterruptedDueToReplStateChange
	13435, // NotPrimaryNoSecondaryOk
	13436, // NotPrimaryOrSecondary
}

// unconfirmed reports whether the write was applied, but not by as many members as was
// asked for, so that it may be rolled back.
func unconfirmed(err error) bool {
	var one mongo.WriteException
	var bulk mongo.BulkWriteException
	var all mongo.ClientBulkWriteException
	return errors.As(err, &one) && one.WriteConcernError != nil ||
		errors.As(err, &bulk) && bulk.WriteConcernError != nil ||
		errors.As(err, &all) && len(all.WriteConcernErrors) > 0
}
