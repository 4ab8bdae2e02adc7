package mongofeed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/mongofeed"
)

// Caught: a duplicate key beside a write concern that was not met, and a refusal joined
// with a timeout, were definite.
func TestDefiniteError(t *testing.T) {
	duplicate := mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: 11000, Message: "duplicate key"}}}
	command := func(code int32, labels ...string) error {
		return mongo.CommandError{Code: code, Message: "refused", Labels: labels}
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{errors.New("something"), false},
		{duplicate, true},
		{fmt.Errorf("insert: %w", duplicate), true},
		{fmt.Errorf("%w: %w", errors.New("conflict"), duplicate), true},
		{mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 121}}}}, true},
		{mongo.WriteException{WriteErrors: duplicate.WriteErrors, WriteConcernError: &mongo.WriteConcernError{Code: 64}}, false},
		{mongo.WriteException{WriteConcernError: &mongo.WriteConcernError{Code: 64}}, false},
		{mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{{WriteError: mongo.WriteError{Code: 11000}}}, WriteConcernError: &mongo.WriteConcernError{Code: 64}}, false},
		{command(11000), true}, // findAndModify
		{command(121), true},
		{command(13), true},
		{command(112, "TransientTransactionError"), true},
		{command(0, "NetworkError", "TransientTransactionError"), true}, // before the commit
		{command(251, "UnknownTransactionCommitResult", "TransientTransactionError"), false},
		{command(50, "UnknownTransactionCommitResult"), false},
		{command(0, "NetworkError"), false},
		{command(11602, "RetryableWriteError"), false},
		{command(121, "RetryableWriteError"), false},
		{command(10107), false},
		{command(50), false},
		{command(0), false},
		{mongo.ErrNoDocuments, true},
		{fmt.Errorf("%w: %w", aside.ErrNotFound, mongo.ErrNoDocuments), true},
		{context.DeadlineExceeded, false},
		{errors.Join(duplicate, context.DeadlineExceeded), false},
		{errors.Join(duplicate, command(0, "NetworkError")), false},
		{mongo.ErrClientDisconnected, false},
	} {
		if got := mongofeed.DefiniteError(tt.err); got != tt.want {
			t.Errorf("%v (%T): %v", tt.err, tt.err, got)
		}
	}
}
