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

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// identityCollection holds a document {_id, identity} for each collection of todos
// of its database, whose name is the _id.
const (
	identityCollection = "aside_identity"
	fieldIdentity      = "identity"
)

// identityTries bounds the rounds that are lost to others who make it too.
const identityTries = 5

// Identity is made of what is kept for the collection, which is made if there is
// none, and of the names of collection and database: a dump that was restored into
// another database has another identity than the original. A user who may not write
// gets todo.ErrNoIdentity until one who may has made it.
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
			return "", fmt.Errorf("%w: the identity of %s was made and cannot be found", todo.ErrUnavailable, s.todos.Name())
		}
		// Of several at one time one inserts; the others find its document, or are
		// told that the _id is taken. What counts is what the majority has: looked up
		// again, not what was sent.
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
		if err := backOff(ctx, try); err != nil {
			return "", err
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
	if err == nil && !isIdentity(id) {
		return "", fmt.Errorf("%w: the document %q in %s.%s has no text of letters and digits as its %s: remove it, then another is made",
			todo.ErrNoIdentity, s.todos.Name(), s.todos.Database().Name(), identityCollection, fieldIdentity)
	}
	return id, err
}

func isIdentity(id string) bool {
	for _, r := range id {
		if !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') {
			return false
		}
	}
	return len(id) >= 16 && len(id) <= 64
}

// noIdentity tells a missing right, which no waiting mends, from other errors.
func (s *Store) noIdentity(err error, what string) error {
	if !hasCode(err, codeUnauthorized) {
		return err
	}
	return fmt.Errorf("%w: this user of MongoDB may not %s in the collection %s.%s; grant that, or open the store once as a user who may: %w",
		todo.ErrNoIdentity, what, s.todos.Database().Name(), identityCollection, err)
}
