package mongostore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// identityCollection has a document {_id, identity} for each collection of todos in
// its database. The _id is the name of the collection.
const (
	identityCollection = "aside_identity"
	fieldIdentity      = "identity"
)

// identityTries is the maximum number of attempts, if other processes create the
// identity at the same time.
const identityTries = 5

// Identity returns a text made of the stored identity of the collection and the names of
// collection and database. So a dump that is restored into another database has another
// identity than the original. Identity creates the stored part if there is none. A user
// without write permission gets todo.ErrNoIdentity until another user has created it.
func (s *Store) Identity(ctx context.Context) (string, error) {
	kept, err := s.keptIdentity(ctx)
	if err != nil {
		return "", err
	}
	return s.identityOf(kept), nil
}

func (s *Store) identityOf(kept string) string {
	sum := sha256.Sum256([]byte(kept + "\x00" + s.todos.Database().Name() + "\x00" + s.todos.Name()))
	return hex.EncodeToString(sum[:16])
}

func (s *Store) keptIdentity(ctx context.Context) (string, error) {
	for try := 0; ; try++ {
		id, err := s.findIdentity(ctx)
		if err == nil || !errors.Is(err, todo.ErrNotFound) {
			return id, s.noIdentity(err, "read")
		}
		if try == identityTries {
			return "", fmt.Errorf("%w: the identity of %s was created but cannot be found", todo.ErrUnavailable, s.todos.Name())
		}
		// If several processes do this at the same time, one inserts the document. The
		// others find it, or get the error that the _id is taken. The identity that
		// counts is the one that a majority read returns.
		err = s.write(ctx, func(ctx context.Context) error {
			_, err := s.identities().UpdateOne(ctx,
				bson.D{{Key: fieldKey, Value: s.todos.Name()}},
				bson.D{{Key: "$setOnInsert", Value: bson.D{{Key: fieldIdentity, Value: rand.Text()}}}},
				options.UpdateOne().SetUpsert(true))
			return err
		})
		if err != nil && !errors.Is(err, todo.ErrExists) {
			return "", s.noIdentity(err, "write")
		}
		if !pause.BehindOthers(ctx, try) {
			return "", unavailable(ctx, todo.ErrOvertaken)
		}
	}
}

func (s *Store) identities() *mongo.Collection {
	return s.todos.Database().Collection(identityCollection)
}

func (s *Store) findIdentity(ctx context.Context) (id string, err error) {
	err = s.read(ctx, func(ctx context.Context) error {
		raw, err := s.identities().FindOne(ctx, bson.D{{Key: fieldKey, Value: s.todos.Name()}}).Raw()
		if errors.Is(err, mongo.ErrNoDocuments) {
			return todo.ErrNotFound
		}
		if err != nil {
			return err
		}
		id, _ = raw.Lookup(fieldIdentity).StringValueOK()
		return nil
	})
	if err == nil && !todo.IsIdentity(id) {
		return "", fmt.Errorf("%w: in the document %q in %s.%s, the field %s is not a text of letters and digits: delete this document, then a new one is created",
			todo.ErrNoIdentity, s.todos.Name(), s.todos.Database().Name(), identityCollection, fieldIdentity)
	}
	return id, err
}

// noIdentity returns ErrNoIdentity if a permission is missing, which a retry cannot
// fix. Other errors may be temporary.
func (s *Store) noIdentity(err error, what string) error {
	if !hasCode(err, codeUnauthorized) {
		return err
	}
	return fmt.Errorf("%w: the MongoDB user may not %s in the collection %s.%s; grant this permission, or open the store once as a user who has it: %w",
		todo.ErrNoIdentity, what, s.todos.Database().Name(), identityCollection, err)
}
