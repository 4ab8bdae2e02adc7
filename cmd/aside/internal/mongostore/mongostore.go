// Package mongostore stores todos in MongoDB, or in a server with the same protocol.
//
// A record is a document
//
//	{_id, id, name, description, completed, created_at, updated_at, version}
//
// Documents of other systems may have only id and name. An update keeps _id, unknown
// fields, and the fields that it does not change. A document is a todo if its id is a
// text that todo.CheckID accepts. Other documents are never returned. Fields of a todo
// with another type are read by the rules of package loose, so that one unusual document
// does not fail a page.
//
// In documents of this package _id equals id. Older documents have an ObjectId as _id,
// and several documents may have the same id. Then the one that was inserted first is the
// record. The others are never shown, and Delete removes them too.
package mongostore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Options of a Store. The zero value works. The connection string takes precedence over
// the options. Its settings for read preference, read and write concern and retries are
// ignored: all calls go to the primary with read and write concern "majority", and are
// sent up to three times if the error may be temporary.
type Options struct {
	Database   string // default "test"
	Collection string // default "todos"
	AppName    string // shown in the logs of the server; default "aside"

	MaxPoolSize uint64 // connections to each server; default 100

	// ServerSelectionTimeout is how long a call waits for a usable server, for example
	// while MongoDB is down. Default 2 s.
	ServerSelectionTimeout time.Duration
	// ConnectTimeout is the timeout for opening a connection. Default 2 s.
	ConnectTimeout time.Duration
	// OperationTimeout is the timeout of a call whose context has no deadline. Default
	// 10 s.
	OperationTimeout time.Duration

	// Logger gets messages about indexes and about invalid old data; nil means
	// slog.Default().
	Logger *slog.Logger

	// Existing leaves the collection as it is: it makes no index. With one, MongoDB would
	// make a collection that is missing.
	Existing bool
}

// closeTimeout is how long Close waits for running calls.
const closeTimeout = 5 * time.Second

// Store is a todo.Store in MongoDB. It is safe for concurrent use.
type Store struct {
	client *mongo.Client
	todos  *mongo.Collection
	log    *slog.Logger
	// timeout is for calls whose context has no deadline; 0: none.
	timeout time.Duration

	index   atomic.Int32 // an indexState
	indexed chan struct{}
	cancel  context.CancelFunc // of the goroutine that makes the index
	wg      sync.WaitGroup
	close   func() error // once
}

var _ todo.Store = (*Store)(nil)

// Open returns a Store for a connection string, whose path may name the database. It
// does not wait for the server: while the server is down, calls fail with
// todo.ErrUnavailable. Open fails only if the connection string is invalid; with
// mongodb+srv:// also if DNS cannot resolve the name. The error never contains a
// password.
//
// The unique index on id is created in the background; see ensureIndex. ctx is used only
// during the call.
func Open(ctx context.Context, uri string, opts Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	log := opts.Logger
	if log == nil {
		log = slog.Default()
	}
	o, err := clientOptions(uri, opts)
	if err != nil {
		return nil, fmt.Errorf("mongostore: %w", err)
	}
	warnOverridden(log, o)
	// Set these after the URI: the service's guarantees depend on them.
	o.SetReadPreference(readpref.Primary()).
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetRetryReads(false). // see repeat
		SetRetryWrites(true).
		SetMonitor(attemptMonitor)
	client, err := mongo.Connect(o)
	if err != nil {
		return nil, fmt.Errorf("mongostore: %w", explainURI(uri, err))
	}

	database := databaseOf(uri)
	if database == "" {
		database = cmp.Or(opts.Database, "test")
	}
	s := &Store{
		client:  client,
		todos:   client.Database(database).Collection(cmp.Or(opts.Collection, "todos")),
		log:     log,
		timeout: *o.Timeout,
		indexed: make(chan struct{}),
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.close = sync.OnceValue(s.disconnect)
	if opts.Existing {
		close(s.indexed)
	} else {
		s.wg.Go(func() {
			defer close(s.indexed)
			s.ensureIndex(background)
		})
	}
	return s, nil
}

func clientOptions(uri string, opts Options) (*options.ClientOptions, error) {
	if printable.AmbiguousURL(uri) {
		return nil, errSecrets
	}
	o := options.Client().
		SetAppName(cmp.Or(opts.AppName, "aside")).
		SetMaxPoolSize(cmp.Or(opts.MaxPoolSize, 100)).
		SetServerSelectionTimeout(cmp.Or(opts.ServerSelectionTimeout, 2*time.Second)).
		SetConnectTimeout(cmp.Or(opts.ConnectTimeout, 2*time.Second)).
		SetTimeout(cmp.Or(opts.OperationTimeout, 10*time.Second)).
		ApplyURI(uri)
	if err := o.Validate(); err != nil {
		return nil, explainURI(uri, err)
	}
	return o, nil
}

// warnOverridden logs which settings of the connection string have no effect.
func warnOverridden(log *slog.Logger, o *options.ClientOptions) {
	if o.ReadPreference != nil && o.ReadPreference.Mode() != readpref.PrimaryMode {
		log.Warn("readPreference in the MongoDB URI is ignored: the cache must read from the primary",
			"readPreference", o.ReadPreference.Mode().String())
	}
	if o.ReadConcern != nil && o.ReadConcern.Level != readconcern.Majority().Level {
		log.Warn("readConcernLevel in the MongoDB URI is ignored: a read that may be rolled back must not be cached",
			"readConcernLevel", o.ReadConcern.Level)
	}
	if o.WriteConcern != nil && o.WriteConcern.W != nil && o.WriteConcern.W != writeconcern.Majority().W {
		log.Warn("w in the MongoDB URI is ignored: writes are acknowledged by the majority", "w", o.WriteConcern.W)
	}
	if o.RetryReads != nil && !*o.RetryReads || o.RetryWrites != nil && !*o.RetryWrites {
		log.Warn("retryReads=false and retryWrites=false in the MongoDB URI are ignored")
	}
}

// Ping reports whether the primary answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.once(ctx, func(ctx context.Context) error {
		return s.client.Ping(ctx, readpref.Primary())
	})
}

// Count returns the number of documents from the collection's metadata. It is an
// estimate after an unclean shutdown, or if some documents are not todos.
func (s *Store) Count(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		n, err = s.todos.EstimatedDocumentCount(ctx)
		return err
	})
	return n, err
}

// Close waits up to 5 s for running calls, then closes the connections. Later calls fail
// with todo.ErrUnavailable. Close may be called again.
func (s *Store) Close() error { return s.close() }

func (s *Store) disconnect() error {
	s.cancel()
	s.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("mongostore: close: %w", err)
	}
	return nil
}

// Get returns the record with that ID, or todo.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (todo.Todo, error) {
	doc, err := s.find(ctx, id)
	if err == nil {
		err = doc.todo.CheckSize()
	}
	if err != nil {
		return todo.Todo{}, err
	}
	return doc.todo, nil
}

// find returns the first document with that ID. Without a sort, both a scan and the
// index on id return documents in the order of insertion. With a sort by _id the planner
// might scan the index on _id.
func (s *Store) find(ctx context.Context, id string) (doc document, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		raw, err := s.todos.FindOne(ctx, bson.D{{Key: fieldID, Value: id}}, options.FindOne().SetProjection(ourFields)).Raw()
		if errors.Is(err, mongo.ErrNoDocuments) {
			return todo.ErrNotFound
		}
		if err != nil {
			return err
		}
		var ok bool
		if doc, ok = newDocument(raw); !ok {
			return todo.ErrNotFound
		}
		return nil
	})
	return doc, err
}

// idsPerQuery is the maximum length of the list in one $in.
const idsPerQuery = 1000

// GetMany returns the records that exist.
func (s *Store) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	found := make(map[string]todo.Todo, len(ids))
	unreadable := map[string]error{}
	err := s.eachOf(ctx, ids, ourFields, func(raw bson.Raw) {
		t, ok := decode(raw)
		if !ok || found[t.ID].ID != "" || unreadable[t.ID] != nil { // the one inserted first counts, see find
			return
		}
		if err := t.CheckSize(); err != nil {
			unreadable[t.ID] = err
			return
		}
		found[t.ID] = t
	})
	if err != nil {
		return nil, err
	}
	if len(unreadable) == 0 {
		return found, nil
	}
	var list todo.UnreadableRecords
	for id, err := range unreadable {
		list = append(list, todo.Unreadable{ID: id, Err: err})
	}
	return found, list
}

// eachOf calls fn with the documents that have one of ids.
func (s *Store) eachOf(ctx context.Context, ids []string, projection any, fn func(bson.Raw)) error {
	for len(ids) > 0 {
		n := min(len(ids), idsPerQuery)
		err := s.read(ctx, func(ctx context.Context) error {
			o := options.Find()
			if projection != nil {
				o.SetProjection(projection)
			}
			cursor, err := s.todos.Find(ctx, bson.D{{Key: fieldID, Value: bson.D{{Key: "$in", Value: ids[:n]}}}}, o)
			return each(ctx, cursor, err, func(raw bson.Raw) bool {
				fn(raw)
				return true
			})
		})
		if err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// each calls fn with the documents of the cursor until fn returns false. A document is
// valid only during the call.
func each(ctx context.Context, cursor *mongo.Cursor, err error, fn func(bson.Raw) bool) error {
	if err != nil {
		return err
	}
	defer func() { _ = cursor.Close(ctx) }()
	for cursor.Next(ctx) {
		if !fn(cursor.Current) {
			return nil
		}
	}
	return cursor.Err()
}

// List returns up to limit records with IDs greater than after. MongoDB compares strings
// by their bytes.
func (s *Store) List(ctx context.Context, after string, limit int) (todo.Page, error) {
	if limit < 1 {
		return todo.Page{}, fmt.Errorf("%w: limit %d, must be at least 1", todo.ErrInvalid, limit)
	}
	var page todo.Page
	err := s.read(ctx, func(ctx context.Context) error {
		page = todo.Page{}
		// $gt with a string matches only strings. The extra documents show whether there
		// is a next page. Duplicates may need more than one extra document.
		cursor, err := s.todos.Find(ctx,
			bson.D{{Key: fieldID, Value: bson.D{{Key: "$gt", Value: after}}}},
			options.Find().SetSort(bson.D{{Key: fieldID, Value: 1}}).SetBatchSize(int32(min(limit+1, 10_000))).SetProjection(ourFields))
		last, n := "", 0
		return each(ctx, cursor, err, func(raw bson.Raw) bool {
			t, ok := decode(raw)
			if !ok || t.ID == last {
				return true // not a todo, or a duplicate that was inserted later
			}
			if n == limit {
				page.Next = last
				return false
			}
			last = t.ID
			n++
			if err := t.CheckSize(); err != nil {
				page.Unreadable = append(page.Unreadable, todo.Unreadable{ID: t.ID, Err: err})
			} else {
				page.Todos = append(page.Todos, t)
			}
			return true
		})
	})
	if err != nil {
		return todo.Page{}, err
	}
	return page, nil
}
