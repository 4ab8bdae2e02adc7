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

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// indexState is what is known of the index on id.
type indexState int32

const (
	indexUnknown indexState = iota // not looked yet, or refused: as if there were none
	indexPlain                     // reads are fast, duplicates are possible
	indexUnique
)

// Their names differ, since MongoDB 5 and newer can then hold both while the
// unique one takes over after old data was mended.
const (
	nameUnique = "aside_id_unique"
	namePlain  = "aside_id"
)

const (
	// indexTimeout bounds the making of one index: hours, on a large collection.
	indexTimeout = 24 * time.Hour
	firstRetry   = time.Second
	lastRetry    = 30 * time.Second
	// examples is how many of the IDs that occur twice are reported.
	examples = 5
)

func (s *Store) unique() bool { return indexState(s.index.Load()) == indexUnique }

// ensureIndex makes the unique index on id and tries again, until ctx ends, while
// the server cannot be reached. Old data with duplicates gets an index that is
// not unique, and a warning that names some; after they are gone the next start
// makes the unique one. A server that refuses indexes leaves things as they are:
// correct, and slow in a large collection.
func (s *Store) ensureIndex(ctx context.Context) {
	log := s.log.With("database", s.todos.Database().Name(), "collection", s.todos.Name())
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		state, err := s.makeIndex(ctx, log)
		if err == errAgain {
			state, err = s.makeIndex(ctx, log)
		}
		if err == nil {
			s.index.Store(int32(state))
			return
		}
		if hasCode(err, codeUnauthorized, codeCommandNotFound, codeNotImplemented) {
			log.Warn("MongoDB refuses an index on id; every read of a record scans the collection unless it has one",
				"error", err)
			return
		}
		level := slog.LevelDebug // while MongoDB is down, others say so
		if isReply(err) {
			level = slog.LevelWarn
		}
		log.Log(ctx, level, "the index on id could not be made yet", "error", err, "retry_in", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// makeIndex looks for an index on id and makes what is missing.
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
			log.Info("made the unique index on id", "took", took.Round(time.Millisecond))
		}
		if before.ours {
			// It did while there were duplicates; now it only costs writes.
			if err := s.dropPlain(ctx); err != nil {
				log.Warn("the index that the unique one replaces was not dropped", "index", namePlain, "error", err)
			}
		}
		return indexUnique, nil
	}
	if !isReply(err) {
		return indexUnknown, err
	}
	// Looked at rather than told from the error: FerretDB's is an internal one.
	duplicates, lookErr := s.duplicates(ctx)
	switch conflict := hasCode(err, codeIndexOptionsConflict, codeIndexKeyConflict); {
	case len(duplicates) > 0:
		log.Warn("ids occur more than once in MongoDB, so the index on id is not unique: "+
			"of each the document that was inserted first is served; remove the others and start again",
			"examples", duplicates)
	case lookErr == nil && conflict && before.ours:
		// Servers before MongoDB 5 hold one index on a key. The next round makes it.
		return indexUnknown, cmp.Or(s.dropPlain(ctx), errAgain)
	case conflict && before.plain:
		log.Warn("the index on id is not unique, and this server cannot hold a unique one beside it: drop it and start again",
			"error", err)
	default:
		return indexUnknown, errors.Join(err, lookErr)
	}
	if before.plain {
		return indexPlain, nil
	}
	return indexPlain, s.createIndex(ctx, namePlain, false)
}

// errAgain: something changed, and makeIndex is to be called again.
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

// existing says what indexes there are on id alone and on all documents.
type existing struct {
	unique bool
	plain  bool
	ours   bool // the plain one was made here
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
		return existing{}, nil // the index brings the collection
	}
	return found, err
}

// duplicates returns some of the IDs that occur more than once, for a log.
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
