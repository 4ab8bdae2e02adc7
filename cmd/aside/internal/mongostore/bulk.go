package mongostore

import (
	"context"
	"errors"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const (
	// insertBatch is the maximum number of records in one command.
	insertBatch = 1000
	// insertBytes is the maximum size of a command. The server's limit is 48 MB.
	insertBytes = 16 << 20

	codeDuplicateKey = 11000
)

// InsertMany adds records in commands of up to 1,000. If a record has BSON, that
// document is inserted. Of several records with one ID the first is kept. A record
// whose ID or _id is taken counts as existing.
//
// While it is unknown whether the unique index exists, InsertMany looks up the IDs
// first, so a load can be repeated. But two concurrent loads of documents with
// different _ids may then create duplicates.
func (s *Store) InsertMany(ctx context.Context, records []todo.Record) (todo.InsertResult, error) {
	if err := todo.CheckRecords(records); err != nil {
		return todo.InsertResult{}, err
	}
	var total todo.InsertResult
	for len(records) > 0 {
		n := batchOf(records)
		res, err := s.insertBatch(ctx, records[:n])
		total.Inserted += res.Inserted
		total.Existing += res.Existing
		if err != nil {
			return total, err
		}
		records = records[n:]
	}
	return total, nil
}

func batchOf(records []todo.Record) int {
	size := 0
	for i, r := range records {
		size += len(r.BSON) + len(r.Todo.Name)
		if r.Todo.Description != nil {
			size += len(*r.Todo.Description)
		}
		if i > 0 && (size > insertBytes || i == insertBatch) {
			return i
		}
	}
	return len(records)
}

func (s *Store) insertBatch(ctx context.Context, records []todo.Record) (res todo.InsertResult, err error) {
	if err := ctx.Err(); err != nil {
		return res, err
	}
	taken := make(map[string]bool, len(records))
	if !s.unique() {
		ids := make([]string, len(records))
		for i := range records {
			ids[i] = records[i].Todo.ID
		}
		err := s.eachOf(ctx, ids, bson.D{{Key: fieldID, Value: 1}}, func(raw bson.Raw) {
			if id, ok := raw.Lookup(fieldID).StringValueOK(); ok {
				taken[id] = true
			}
		})
		if err != nil {
			return res, err
		}
	}
	docs := make([]any, 0, len(records))
	for _, r := range records {
		switch {
		case taken[r.Todo.ID]:
			res.Existing++
			continue
		case r.BSON != nil:
			docs = append(docs, bson.Raw(r.BSON))
		default:
			docs = append(docs, encode(r.Todo))
		}
		taken[r.Todo.ID] = true
	}
	if len(docs) == 0 {
		return res, nil
	}

	err = s.write(ctx, func(ctx context.Context) error {
		_, err := s.todos.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
		inserted, existing, err := countBulk(len(docs), err)
		res.Inserted += inserted
		res.Existing += existing
		return err
	})
	return res, err
}

// countBulk returns the result of an unordered insert of n documents: how many were
// inserted, how many existed already, and an error for other failures. Without a reply
// of the server it counts nothing.
func countBulk(n int, err error) (inserted, existing int, _ error) {
	var bulk mongo.BulkWriteException
	if err == nil {
		return n, 0, nil
	}
	if !errors.As(err, &bulk) {
		return 0, 0, err
	}
	for _, we := range bulk.WriteErrors {
		if we.HasErrorCode(codeDuplicateKey) {
			existing++
		}
	}
	inserted = n - len(bulk.WriteErrors)
	if bulk.WriteConcernError == nil && existing == len(bulk.WriteErrors) {
		return inserted, existing, nil
	}
	// Existing records are counted and are not failures.
	bulk.WriteErrors = slices.DeleteFunc(bulk.WriteErrors, func(we mongo.BulkWriteError) bool {
		return we.HasErrorCode(codeDuplicateKey)
	})
	return inserted, existing, bulk
}
