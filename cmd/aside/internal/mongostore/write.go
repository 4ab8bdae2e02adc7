package mongostore

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Insert adds a record, or returns todo.ErrExists.
//
// With the unique index the server refuses a second record. Without it the insert is an
// upsert with the ID as filter. If two of them run at the same time, only one succeeds,
// since both have the same _id. Only another program that inserts the same ID with
// another _id at that moment can still create a duplicate.
func (s *Store) Insert(ctx context.Context, t todo.Todo) error {
	if err := t.Check(); err != nil {
		return err
	}
	err := s.insert(ctx, t.ID, encode(t))
	if !errors.Is(err, todo.ErrExists) {
		return err
	}
	if _, lookErr := s.find(ctx, t.ID); !errors.Is(lookErr, todo.ErrNotFound) {
		return err
	}
	// Another document, with another id or none, has this _id.
	doc := encode(t)
	doc[0].Value = bson.NewObjectID()
	return s.insert(ctx, t.ID, doc)
}

func (s *Store) insert(ctx context.Context, id string, doc bson.D) error {
	return s.write(ctx, func(ctx context.Context) error {
		if s.unique() {
			_, err := s.todos.InsertOne(ctx, doc)
			return err
		}
		res, err := s.todos.UpdateOne(ctx,
			bson.D{{Key: fieldID, Value: id}},
			bson.D{{Key: "$setOnInsert", Value: withoutID(doc)}},
			options.UpdateOne().SetUpsert(true))
		if err == nil && res.MatchedCount > 0 {
			return todo.ErrExists
		}
		return err
	})
}

// withoutID removes the field that an upsert takes from its filter.
func withoutID(d bson.D) bson.D {
	out := d[:0:0]
	for _, e := range d {
		if e.Key != fieldID {
			out = append(out, e)
		}
	}
	return out
}

// Update replaces the record by change(current). It reads the document, and writes if the
// document is still unchanged. Otherwise it starts again. change may run several times.
func (s *Store) Update(ctx context.Context, id string, change func(current todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	for try := 0; ; try++ {
		doc, err := s.find(ctx, id)
		if err != nil {
			return todo.Todo{}, err
		}
		next, err := todo.Apply(id, doc.todo, change)
		if err != nil {
			return todo.Todo{}, err
		}
		var res *mongo.UpdateResult
		err = s.write(ctx, func(ctx context.Context) (err error) {
			res, err = s.todos.UpdateOne(ctx, doc.unchanged(), doc.update(next))
			return err
		})
		if err != nil {
			return todo.Todo{}, err
		}
		if res.MatchedCount > 0 {
			return next, nil
		}
		if !pause.BehindOthers(ctx, try) {
			return todo.Todo{}, unavailable(ctx, todo.ErrOvertaken)
		}
	}
}

// Delete removes the record if check(current) returns nil. check may run several times.
// If old data has duplicates, Delete removes them first. The record itself must be the
// last one: otherwise a duplicate would become the record for a moment.
func (s *Store) Delete(ctx context.Context, id string, check func(current todo.Todo) error) error {
	for try := 0; ; try++ {
		doc, err := s.find(ctx, id)
		if err != nil {
			return err
		}
		if err := check(doc.todo); err != nil {
			return err
		}
		if !s.unique() {
			err := s.write(ctx, func(ctx context.Context) error {
				_, err := s.todos.DeleteMany(ctx, bson.D{
					{Key: fieldID, Value: id},
					{Key: fieldKey, Value: bson.D{{Key: "$ne", Value: doc.raw.Lookup(fieldKey)}}},
				})
				return err
			})
			if err != nil {
				return err
			}
		}
		var res *mongo.DeleteResult
		err = s.write(ctx, func(ctx context.Context) (err error) {
			res, err = s.todos.DeleteOne(ctx, doc.unchanged())
			return err
		})
		if err != nil {
			return err
		}
		if res.DeletedCount > 0 {
			return nil
		}
		if !pause.BehindOthers(ctx, try) {
			return unavailable(ctx, todo.ErrOvertaken)
		}
	}
}
