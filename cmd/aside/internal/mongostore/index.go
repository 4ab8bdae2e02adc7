package mongostore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// indexState is what is known about the index on id.
type indexState int32

const (
	indexUnknown indexState = iota // not checked yet, or refused: treated as no index
	indexPlain                     // reads are fast, duplicates are possible
	indexUnique
)

// The names differ, so that MongoDB 5 and newer can have both indexes while the unique
// one replaces the other after old data was repaired.
const (
	nameUnique = "aside_id_unique"
	namePlain  = "aside_id"
)

const (
	// indexTimeout is the timeout for creating one index, which may take hours for a large
	// collection.
	indexTimeout = 24 * time.Hour
	firstRetry   = time.Second
	lastRetry    = 30 * time.Second
	// examples is how many duplicate IDs are reported.
	examples = 5
)

func (s *Store) unique() bool { return indexState(s.index.Load()) == indexUnique }

// ensureIndex creates the unique index on id. While the server is unreachable it retries
// until ctx ends. If old data has duplicates, it creates an index that is not unique and
// logs a warning with examples. When the duplicates are gone, the next start creates the
// unique index. If the server refuses indexes, the store works without one: correctly,
// but slowly in a large collection.
func (s *Store) ensureIndex(ctx context.Context) {
	log := s.log.With("database", s.todos.Database().Name(), "collection", s.todos.Name())
	for delay := firstRetry; ; delay = min(2*delay, lastRetry) {
		state, err := s.makeIndex(ctx, log)
		if err == errAgain {
			state, err = s.makeIndex(ctx, log)
		}
		if err == nil {
			s.index.Store(int32(state))
			return
		}
		if hasCode(err, codeUnauthorized, codeCommandNotFound, codeNotImplemented) {
			log.Warn("MongoDB refuses to create an index on id; without an index, every read of a record scans the collection",
				"error", err)
			return
		}
		level := slog.LevelDebug // while MongoDB is down, other parts report it
		if isReply(err) {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "creating the index on id failed, retrying", "error", err, "retry_in", delay)
		if !pause.For(ctx, delay) {
			return
		}
	}
}

// makeIndex looks for the index on id and creates it if it is missing.
func (s *Store) makeIndex(ctx context.Context, log *slog.Logger) (indexState, error) {
	ctx, cancel := context.WithTimeout(ctx, indexTimeout)
	defer cancel()
	before, err := s.lookForIndex(ctx)
	if err != nil {
		return indexUnknown, err
	}
	if before.unique {
		return indexUnique, nil
	}
	start := time.Now()
	err = s.createIndex(ctx, nameUnique, true)
	if err == nil {
		if took := time.Since(start); took > time.Second {
			log.Info("created the unique index on id", "took", took.Round(time.Millisecond))
		}
		if before.ours {
			// It was needed while there were duplicates. Now it only slows down writes.
			if err := s.dropPlain(ctx); err != nil {
				log.Warn("dropping the old index on id failed", "index", namePlain, "error", err)
			}
		}
		return indexUnique, nil
	}
	if !isReply(err) {
		return indexUnknown, err
	}
	// Look for duplicates instead of checking the error: FerretDB returns an internal
	// error.
	duplicates, lookErr := s.duplicates(ctx)
	switch conflict := hasCode(err, codeIndexOptionsConflict, codeIndexKeyConflict); {
	case len(duplicates) > 0:
		log.Warn("MongoDB has several documents with the same id, so the index on id is not unique; "+
			"the document that was inserted first is served: delete the others and restart",
			"examples", duplicates)
	case lookErr == nil && conflict && before.ours:
		// Servers before MongoDB 5 have only one index per key. The next round creates the
		// unique one.
		return indexUnknown, cmp.Or(s.dropPlain(ctx), errAgain)
	case conflict && before.plain:
		log.Warn("the index on id is not unique, and this server cannot have a second index on id: drop it and restart",
			"error", err)
	default:
		return indexUnknown, errors.Join(err, lookErr)
	}
	if before.plain {
		return indexPlain, nil
	}
	return indexPlain, s.createIndex(ctx, namePlain, false)
}

// errAgain: something changed, so makeIndex must be called again.
var errAgain = errors.New("mongostore: indexes changed")

func (s *Store) dropPlain(ctx context.Context) error {
	if err := s.todos.Indexes().DropOne(ctx, namePlain); err != nil && !hasCode(err, codeIndexNotFound) {
		return err
	}
	return nil
}

func (s *Store) createIndex(ctx context.Context, name string, unique bool) error {
	o := options.Index().SetName(name)
	if unique {
		o.SetUnique(true)
	}
	_, err := s.todos.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: fieldID, Value: 1}},
		Options: o,
	})
	return err
}

// existing tells which indexes on id exist that cover all documents and no other field.
type existing struct {
	unique bool
	plain  bool
	ours   bool // this package created the plain one
}

func (s *Store) lookForIndex(ctx context.Context) (found existing, err error) {
	cursor, err := s.todos.Indexes().List(ctx)
	err = each(ctx, cursor, err, func(raw bson.Raw) bool {
		var spec struct {
			Name      string   `bson:"name"`
			Key       bson.Raw `bson:"key"`
			Unique    bool     `bson:"unique"`
			Sparse    bool     `bson:"sparse"`
			Partial   bson.Raw `bson:"partialFilterExpression"`
			Collation bson.Raw `bson:"collation"`
		}
		if bson.Unmarshal(raw, &spec) != nil || spec.Sparse || spec.Partial != nil || spec.Collation != nil {
			return true
		}
		keys, err := spec.Key.Elements()
		if err != nil || len(keys) != 1 || keys[0].Key() != fieldID {
			return true
		}
		if n, _ := keys[0].Value().AsInt64OK(); n != 1 && n != -1 { // hashed, text
			return true
		}
		if spec.Unique {
			found.unique = true
		} else {
			found.plain = true
			found.ours = found.ours || spec.Name == namePlain
		}
		return true
	})
	if hasCode(err, codeNamespaceNotFound) {
		return existing{}, nil // there is no collection yet; creating the index creates it
	}
	return found, err
}

// duplicates returns some of the duplicate IDs, for the log.
func (s *Store) duplicates(ctx context.Context) (some []string, err error) {
	cursor, err := s.todos.Aggregate(ctx, mongo.Pipeline{
		{{Key: "$group", Value: bson.D{
			{Key: "_id", Value: "$" + fieldID},
			{Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}},
		}}},
		{{Key: "$match", Value: bson.D{{Key: "n", Value: bson.D{{Key: "$gt", Value: 1}}}}}},
		{{Key: "$limit", Value: examples}},
	}, options.Aggregate().SetAllowDiskUse(true))
	err = each(ctx, cursor, err, func(raw bson.Raw) bool {
		id := "(no id)"
		if v := raw.Lookup("_id"); v.Type != bson.TypeNull && v.Type != bson.TypeUndefined {
			if s, ok := v.StringValueOK(); ok {
				id = printable.Name(s)
			} else {
				id = printable.Name(v.String())
			}
		}
		n, _ := raw.Lookup("n").AsInt64OK()
		some = append(some, fmt.Sprintf("%s (%d times)", id, n))
		return true
	})
	return some, err
}
