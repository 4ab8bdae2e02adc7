package mongostore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
	"github.com/asidecache/aside/tests/testserver"
)

// quick makes calls fail fast while there is no server.
var quick = Options{ServerSelectionTimeout: 300 * time.Millisecond}

func TestServerDownAtStart(t *testing.T) {
	m := testserver.Mongo(t)
	proxy := testserver.Toxiproxy(t, m.Addr())
	proxy.Cut()
	s := mustOpen(t, m.URIVia(proxy.Addr()), quick)
	record := todo.Todo{ID: "1", Name: "n"}

	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := s.Get(t.Context(), "1"); return err },
		"List":   func() error { _, err := s.List(t.Context(), "", 1); return err },
		"Insert": func() error { return s.Insert(t.Context(), record) },
		"Update": func() error {
			_, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) { return c, nil })
			return err
		},
		"Delete": func() error { return s.Delete(t.Context(), "1", func(todo.Todo) error { return nil }) },
		"InsertMany": func() error {
			_, err := s.InsertMany(t.Context(), []todo.Record{{Todo: record}})
			return err
		},
		"Ping":  func() error { return s.Ping(t.Context()) },
		"Count": func() error { _, err := s.Count(t.Context()); return err },
	} {
		// A write that found no server was not sent, so its outcome is known.
		if err := call(); !errors.Is(err, todo.ErrUnavailable) || errors.Is(err, todo.ErrUnknownOutcome) {
			t.Errorf("%s while MongoDB is down: %v", name, err)
		}
	}

	proxy.Restore()
	testserver.Eventually(t, 20*time.Second, "the store recovers", func() bool { return s.Insert(t.Context(), record) == nil })
	if state := waitForIndex(t, s); state != indexUnique {
		t.Errorf("state of the index after recovery: %d", state)
	}
}

func TestServerGoesAwayAndComesBack(t *testing.T) {
	m := testserver.Mongo(t)
	proxy := testserver.Toxiproxy(t, m.Addr())
	s := mustOpen(t, m.URIVia(proxy.Addr()), quick)
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	proxy.Cut()
	if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Get while MongoDB is away: %v", err)
	}
	proxy.Restore()
	testserver.Eventually(t, 20*time.Second, "the store recovers", func() bool {
		_, err := s.Get(t.Context(), "1")
		return err == nil
	})
}

// TestSilentServer: every call ends at the caller's deadline. The error of a write that was
// sent is that of an unknown outcome.
func TestSilentServer(t *testing.T) {
	m := testserver.Mongo(t)
	proxy := testserver.Toxiproxy(t, m.Addr())
	s := mustOpen(t, m.URIVia(proxy.Addr()), quick)
	waitForIndex(t, s)
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	proxy.Silence()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Insert(ctx, todo.Todo{ID: "2", Name: "n"}); !errors.Is(err, todo.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Insert: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "1"); !errors.Is(err, todo.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v", err)
	}
}

// TestLostReply: the write was applied and the reply was lost. Seen to fail if a network
// error counts as "nothing was written".
func TestLostReply(t *testing.T) {
	m := testserver.Mongo(t)
	direct := mustOpen(t, m.URI(), Options{})
	waitForIndex(t, direct)
	for name, write := range map[string]func(context.Context, *Store) error{
		"Insert": func(ctx context.Context, s *Store) error { return s.Insert(ctx, todo.Todo{ID: "new", Name: "n"}) },
		"InsertMany": func(ctx context.Context, s *Store) error {
			res, err := s.InsertMany(ctx, []todo.Record{{Todo: todo.Todo{ID: "new", Name: "n"}}})
			if res != (todo.InsertResult{}) {
				t.Errorf("InsertMany counts %+v without an answer", res)
			}
			return err
		},
	} {
		for how, lose := range map[string]func(*testserver.Proxy, context.CancelFunc){
			"deadline": func(*testserver.Proxy, context.CancelFunc) {},
			"cancel":   func(_ *testserver.Proxy, cancel context.CancelFunc) { cancel() },
			"cut":      func(p *testserver.Proxy, _ context.CancelFunc) { p.Cut() },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				proxy := testserver.Toxiproxy(t, m.Addr())
				s := mustOpen(t, m.URIVia(proxy.Addr()), quick)
				waitForIndex(t, s)
				proxy.SilenceReplies()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				done := make(chan error, 1)
				go func() { done <- write(ctx, s) }()
				testserver.Eventually(t, 20*time.Second, "the write is applied", func() bool {
					_, err := direct.Get(t.Context(), "new")
					return err == nil
				})
				lose(proxy, cancel)
				if err := <-done; !errors.Is(err, todo.ErrUnknownOutcome) {
					t.Errorf("%v, want ErrUnknownOutcome", err)
				}
				if err := direct.Delete(t.Context(), "new", func(todo.Todo) error { return nil }); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestOutcomeOfWrites tries errors that a real server does not return on demand.
func TestOutcomeOfWrites(t *testing.T) {
	command := func(code int32, labels ...string) error {
		return mongo.CommandError{Code: code, Message: "m", Labels: labels}
	}
	noServer := topology.ServerSelectionError{Wrapped: errors.New("no server")}
	network := command(0, "NetworkError")
	for _, tc := range []struct {
		name string
		sent int
		err  error
		want error
	}{
		{"no server", 0, noServer, todo.ErrUnavailable},
		{"pool exhausted", 0, topology.WaitQueueTimeoutError{}, todo.ErrUnavailable},
		{"client closed", 0, mongo.ErrClientDisconnected, todo.ErrUnavailable},
		{"connection lost", 1, network, todo.ErrUnknownOutcome},
		{"connection lost, then no server for the retry", 1, noServer, todo.ErrUnknownOutcome},
		{"connection lost, then refused", 2, command(codeUnauthorized), todo.ErrUnknownOutcome},
		{"refused", 1, command(codeUnauthorized), todo.ErrUnavailable},
		{"not the primary", 1, command(10107), todo.ErrUnavailable},
		{"primary stepped down meanwhile", 1, command(11602, "RetryableWriteError"), todo.ErrUnknownOutcome},
		{"too slow for the server", 1, command(codeMaxTimeExpired), todo.ErrUnknownOutcome},
		{"duplicate", 1, mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: codeDuplicateKey}}}, todo.ErrExists},
		{"duplicate seen by the retry", 2, mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: codeDuplicateKey}}}, todo.ErrExists},
		{"validation", 1, mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: codeDocumentInvalid}}}, todo.ErrInvalid},
		{"no majority", 1, mongo.WriteException{WriteConcernError: &mongo.WriteConcernError{Code: codeWriteConcernFailed}}, todo.ErrUnknownOutcome},
		{"no majority, in bulk", 1, mongo.BulkWriteException{WriteConcernError: &mongo.WriteConcernError{Code: codeWriteConcernFailed}}, todo.ErrUnknownOutcome},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := (&Store{}).write(t.Context(), func(ctx context.Context) error {
				for range tc.sent {
					attemptMonitor.Started(ctx, &event.CommandStartedEvent{})
				}
				return tc.err
			})
			for _, sentinel := range []error{todo.ErrUnavailable, todo.ErrUnknownOutcome, todo.ErrExists, todo.ErrInvalid} {
				if errors.Is(err, sentinel) != (sentinel == tc.want) {
					t.Errorf("%v, want %v", err, tc.want)
				}
			}
		})
	}
}

func TestCountBulk(t *testing.T) {
	duplicate := mongo.BulkWriteError{WriteError: mongo.WriteError{Code: codeDuplicateKey}}
	invalid := mongo.BulkWriteError{WriteError: mongo.WriteError{Code: codeDocumentInvalid}}
	for _, tc := range []struct {
		name               string
		err                error
		inserted, existing int
		fails              bool
	}{
		{"all in", nil, 5, 0, false},
		{"some there", mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{duplicate, duplicate}}, 3, 2, false},
		{"one refused", mongo.BulkWriteException{WriteErrors: []mongo.BulkWriteError{duplicate, invalid}}, 3, 1, true},
		{"no majority", mongo.BulkWriteException{
			WriteErrors:       []mongo.BulkWriteError{duplicate},
			WriteConcernError: &mongo.WriteConcernError{Code: codeWriteConcernFailed},
		}, 4, 1, true},
		{"no answer", errors.New("lost"), 0, 0, true},
	} {
		inserted, existing, err := countBulk(5, tc.err)
		if inserted != tc.inserted || existing != tc.existing || (err != nil) != tc.fails {
			t.Errorf("%s: %d inserted, %d existing, %v", tc.name, inserted, existing, err)
		}
		if mongo.IsDuplicateKeyError(err) {
			t.Errorf("%s: the error still shows what is only existing: %v", tc.name, err)
		}
	}
}

func TestBadURI(t *testing.T) {
	const secret = "p4ss/w@rd"
	for _, uri := range []string{
		"", "localhost:27017", "http://localhost", "mongodb://", "mongodb://localhost:port",
		"mongodb://localhost/?w=-1", "mongodb://localhost/?readPreference=nearby", "mongodb://a,b/?directConnection=true",
		"mongodb://user:" + secret + "@localhost/test",
		"mongodb://user:p4ss%zzw@rd@localhost/test",
		"mongodb://user:p4ss@host/?readPreference=nearby",
		"mongodb://u:p4ss@localhost:27017:27018/",
		"mongodb://localhost/?authMechanism=MONGODB-AWS&authMechanismProperties=p4ss",
		"mongodb://localhost/?tls=true&tlsCertificateKeyFilePassword=p4ss&tlsCertificateKeyFile=/no/such",
	} {
		s, err := Open(t.Context(), uri, Options{})
		if err == nil {
			s.Close()
			t.Errorf("Open(%q) succeeds", uri)
			continue
		}
		if strings.Contains(err.Error(), "p4ss") || strings.Contains(err.Error(), "w@rd") || strings.Contains(err.Error(), "rd@") {
			t.Errorf("Open(%q) shows the password: %v", uri, err)
		}
		if !strings.HasPrefix(err.Error(), "mongostore: ") {
			t.Errorf("Open(%q): %v", uri, err)
		}
	}
	_, err := Open(t.Context(), "mongodb://user:"+secret+"@localhost/test", Options{})
	if err == nil || !strings.Contains(err.Error(), "percent-encode") {
		t.Errorf("a password that is not encoded: %v", err)
	}
	// Caught: the driver took the rest of the password for settings, or for the database.
	for _, password := range []string{"p4ss#w", "p4ss?w", "12/p4ss"} {
		s, err := Open(t.Context(), "mongodb://user:"+password+"@localhost/test", Options{})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "percent-encode") || strings.Contains(err.Error(), "p4ss") {
			t.Errorf("%s: %v", password, err)
		}
	}
	_, err = Open(t.Context(), "mongodb://user:p4ss@localhost/?readPreference=nearby", Options{})
	if err == nil || !strings.Contains(err.Error(), "nearby") {
		t.Errorf("the fault beside the password is not named: %v", err)
	}
}

// TestPasswordStaysOutOfErrors: the errors of calls have no password either.
func TestPasswordStaysOutOfErrors(t *testing.T) {
	var said testsync.Buffer
	opts := quick
	opts.Logger = storetest.Logger(&said)
	s := mustOpen(t, "mongodb://user:p4ssword@127.0.0.1:1/test", opts)
	_, err := s.Get(t.Context(), "1")
	if !errors.Is(err, todo.ErrUnavailable) || strings.Contains(fmt.Sprintf("%v %+v", err, err), "p4ssword") {
		t.Errorf("Get: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if strings.Contains(said.String(), "p4ssword") {
		t.Errorf("the log shows the password: %s", said.String())
	}
}

func TestURIAndOptions(t *testing.T) {
	var said testsync.Buffer
	for _, tc := range []struct{ uri, database string }{
		{"mongodb://127.0.0.1:1", "mine"},
		{"mongodb://127.0.0.1:1/", "mine"},
		{"mongodb://127.0.0.1:1/theirs", "theirs"},
		{"mongodb://u:p@127.0.0.1:1,127.0.0.1:2/their%20s?replicaSet=rs0", "their s"},
		{"mongodb://127.0.0.1:1/?readPreference=secondary&w=1&retryWrites=false&readConcernLevel=local", "mine"},
	} {
		s := mustOpen(t, tc.uri, Options{Database: "mine", Logger: storetest.Logger(&said)})
		if got := s.todos.Database().Name(); got != tc.database {
			t.Errorf("%s: database %q, want %q", tc.uri, got, tc.database)
		}
		if got := s.todos.Name(); got != "todos" {
			t.Errorf("%s: collection %q", tc.uri, got)
		}
	}
	for _, ignored := range []string{"readPreference=secondary", "w=1", "retryWrites=false", "readConcernLevel=local"} {
		if !strings.Contains(said.String(), ignored) {
			t.Errorf("nothing says that %s is ignored: %s", ignored, said.String())
		}
	}
	o, err := clientOptions("mongodb://127.0.0.1:1/?maxPoolSize=7&appName=theirs", Options{MaxPoolSize: 9, AppName: "mine"})
	if err != nil || *o.MaxPoolSize != 7 || *o.AppName != "theirs" {
		t.Errorf("the URI does not go before the options: %v", err)
	}
}
