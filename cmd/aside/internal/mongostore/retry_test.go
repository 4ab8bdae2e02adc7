package mongostore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/testserver"
)

func serverError(code int, labels ...string) bson.D {
	return bson.D{{Key: "ok", Value: 0}, {Key: "code", Value: code}, {Key: "errmsg", Value: fmt.Sprintf("made-up error %d", code)}, {Key: "errorLabels", Value: labels}}
}

// After temporary errors a call sends a command at most three times. Caught: 59,356 finds
// for one read within 5 s, and as many inserts for one insert if the error had the label
// for retries: the driver repeats commands until the deadline, without a limit.
func TestRetriesAreBounded(t *testing.T) {
	const retryable, overloaded = "RetryableWriteError", "SystemOverloadedError"
	record := todo.Todo{ID: "1", Name: "n"}
	calls := map[string]func(ctx context.Context, s *Store) error{
		"Get":     func(ctx context.Context, s *Store) error { _, err := s.Get(ctx, "1"); return err },
		"GetMany": func(ctx context.Context, s *Store) error { _, err := s.GetMany(ctx, []string{"1"}); return err },
		"List":    func(ctx context.Context, s *Store) error { _, err := s.List(ctx, "", 5); return err },
		"Count":   func(ctx context.Context, s *Store) error { _, err := s.Count(ctx); return err },
		"Insert":  func(ctx context.Context, s *Store) error { return s.Insert(ctx, record) },
		"InsertMany": func(ctx context.Context, s *Store) error {
			_, err := s.InsertMany(ctx, []todo.Record{{Todo: record}})
			return err
		},
	}
	for _, tc := range []struct {
		call, command string
		reply         bson.D
		sent          int
		want          error
	}{
		{"Get", "find", serverError(262), maxAttempts, todo.ErrUnavailable},
		{"Get", "find", serverError(134), maxAttempts, todo.ErrUnavailable},
		{"Get", "find", serverError(462, overloaded, "RetryableError"), maxAttempts, todo.ErrUnavailable},
		{"Get", "find", serverError(2), 1, todo.ErrUnavailable},
		{"GetMany", "find", serverError(262), maxAttempts, todo.ErrUnavailable},
		{"List", "find", serverError(262), maxAttempts, todo.ErrUnavailable},
		{"Count", "count", serverError(262), maxAttempts, todo.ErrUnavailable},
		{"Insert", "insert", serverError(262), 1, todo.ErrUnavailable},
		{"Insert", "insert", serverError(262, retryable), maxAttempts, todo.ErrUnknownOutcome},
		{"Insert", "insert", bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: 1}, {Key: "errorLabels", Value: bson.A{retryable}},
			{Key: "writeConcernError", Value: bson.D{{Key: "code", Value: 91}, {Key: "errmsg", Value: "shutting down"}}}}, maxAttempts, todo.ErrUnknownOutcome},
		{"InsertMany", "insert", serverError(262, retryable), maxAttempts, todo.ErrUnknownOutcome},
	} {
		t.Run(fmt.Sprintf("%s %s", tc.call, tc.reply), func(t *testing.T) {
			t.Parallel()
			f := newFakeServer(t, func(name string, _ bson.Raw) bson.D {
				if name == tc.command {
					return tc.reply
				}
				return nil
			})
			s := mustOpen(t, f.uri, Options{Existing: true})
			s.index.Store(int32(indexUnique)) // the insert is sent as an insert
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := calls[tc.call](ctx, s)
			if !errors.Is(err, tc.want) || ctx.Err() != nil || errors.Is(err, context.Canceled) {
				t.Errorf("%v, want %v, and not by the context", err, tc.want)
			}
			if n := f.count(tc.command); n != tc.sent {
				t.Errorf("%d commands were sent, want %d (%v)", n, tc.sent, err)
			}
		})
	}
}

// After a temporary error a call succeeds: reads and writes are sent again, a write with the
// same transaction number.
func TestTemporaryErrorsAreRetried(t *testing.T) {
	numbers := map[int64]bool{}
	left := map[string]int{"find": 2, "insert": 2}
	f := newFakeServer(t, func(name string, cmd bson.Raw) bson.D {
		if name == "insert" {
			numbers[cmd.Lookup("txnNumber").Int64()] = true
		}
		if left[name] > 0 {
			left[name]--
			return serverError(189, "RetryableWriteError")
		}
		if name == "find" {
			return bson.D{{Key: "cursor", Value: bson.D{{Key: "id", Value: int64(0)}, {Key: "ns", Value: "test.todos"},
				{Key: "firstBatch", Value: bson.A{bson.D{{Key: "_id", Value: 1}, {Key: "id", Value: "1"}, {Key: "name", Value: "n"}}}}}}, {Key: "ok", Value: 1}}
		}
		return bson.D{{Key: "ok", Value: 1}, {Key: "n", Value: 1}}
	})
	s := mustOpen(t, f.uri, Options{Existing: true})
	s.index.Store(int32(indexUnique))
	if got, err := s.Get(t.Context(), "1"); err != nil || got.Name != "n" {
		t.Errorf("Get: %+v, %v", got, err)
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "2", Name: "n"}); err != nil {
		t.Errorf("Insert: %v", err)
	}
	if len(numbers) != 1 || f.count("insert") != 3 {
		t.Errorf("%d inserts with the transaction numbers %v, want 3 with one", f.count("insert"), numbers)
	}
}

// Creating the index on id is retried only every few seconds, even with a deadline of a day.
// A ping is not retried.
func TestIndexAndPingRetryRarely(t *testing.T) {
	f := newFakeServer(t, func(string, bson.Raw) bson.D { return serverError(262, "RetryableWriteError") })
	s := mustOpen(t, f.uri, Options{})
	testserver.Eventually(t, 10*time.Second, "a look for the index", func() bool { return f.count("listIndexes") > 0 })
	if err := s.Ping(t.Context()); !errors.Is(err, todo.ErrUnavailable) || f.count("ping") != 1 {
		t.Errorf("Ping: %v, sent %d times", err, f.count("ping"))
	}
	// Within the second before the next attempt. On a very busy machine there may be one
	// or two more.
	if n := f.count("listIndexes"); n > 3 {
		t.Errorf("it looked for the index %d times", n)
	}
}

// A pause ends with the context, and so does the call.
func TestPausesEndWithTheContext(t *testing.T) {
	readCtx, endRead := context.WithCancel(t.Context())
	writeCtx, endWrite := context.WithCancel(t.Context())
	f := newFakeServer(t, func(name string, _ bson.Raw) bson.D {
		if name == "insert" {
			endWrite()
		}
		endRead()
		return serverError(262, "RetryableWriteError")
	})
	s := mustOpen(t, f.uri, Options{Existing: true})
	s.index.Store(int32(indexUnique))
	if _, err := s.Get(readCtx, "1"); !errors.Is(err, context.Canceled) || f.count("find") > 1 {
		t.Errorf("Get: %v, sent %d times", err, f.count("find"))
	}
	if err := s.Insert(writeCtx, todo.Todo{ID: "1", Name: "n"}); !errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, context.Canceled) || f.count("insert") > 1 {
		t.Errorf("Insert: %v, sent %d times", err, f.count("insert"))
	}
}

func TestMayPass(t *testing.T) {
	for _, err := range []error{
		mongo.CommandError{Code: 10107}, mongo.CommandError{Labels: []string{"NetworkError"}}, fmt.Errorf("x: %w", mongo.CommandError{Code: 262}),
	} {
		if !mayPass(err) {
			t.Errorf("%v does not pass", err)
		}
	}
	for _, err := range []error{nil, errors.New("x"), mongo.CommandError{Code: 13}, mongo.CommandError{Code: codeMaxTimeExpired}, mongo.ErrClientDisconnected, todo.ErrNotFound} {
		if mayPass(err) {
			t.Errorf("%v passes", err)
		}
	}
}
