// Package todo is the domain of the reference service: the record and its rules, the
// interface Store, and the Service, which puts a cache in front of a Store.
package todo

import (
	"context"
	"time"
)

// Todo is one record. Callers share the values that they read, so do not modify a Todo
// or what its pointers point at.
//
// A record of an older system may have only ID and Name. Then the other fields are zero
// (omitted or null in JSON), and Version is 0.
type Todo struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	Completed   bool      `json:"completed"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	// Version is 1 at creation and grows by one with every change.
	Version int64 `json:"version"`
}

// Record is a Todo for a bulk insert.
type Record struct {
	Todo Todo
	// BSON is the document from which the Todo was decoded, if any. A store of BSON
	// documents inserts it unchanged, so that a restore keeps _id and unknown fields.
	// Other stores ignore it.
	BSON []byte
}

// InsertResult is the result of a bulk insert.
type InsertResult struct {
	Inserted int // records that were not there before
	Existing int // records skipped since their ID was taken
}

// Page is one page of a listing.
type Page struct {
	Todos []Todo
	// Unreadable are records of the page that cannot be shown, in the order of their
	// IDs. They count towards the limit.
	Unreadable UnreadableRecords
	// Next is the ID after which the next page starts, "" on the last page.
	Next string
}

// Store is the primary database: the source of truth. All methods are safe for
// concurrent use and honour ctx. Every error matches one of the package's sentinels with
// errors.Is, or ctx's own error.
//
// A store accepts and returns only records that pass Todo.Check. Another program may have
// written others. Then a date that cannot be shown is omitted, but stays in the store. A
// record that is too large is ErrUnreadable; other records of the same read are returned.
//
// If a write returns ErrUnknownOutcome, or only a context error, it may or may not have
// been applied, and may still be applied a moment later. After any other error it was not
// applied. If the context had ended before the write began, the error matches
// ErrUnavailable and the context's error.
type Store interface {
	// Get returns the record with that ID, or ErrNotFound. Older data may have several
	// records with one ID: the one that was inserted first counts. A store with replicas
	// reads from the primary.
	Get(ctx context.Context, id string) (Todo, error)
	// GetMany returns the records that exist, by ID. Absent IDs are not an error. If the
	// error is an UnreadableRecords, the other records are returned too.
	GetMany(ctx context.Context, ids []string) (map[string]Todo, error)
	// List returns up to limit records with IDs greater than after, sorted by the bytes
	// of their IDs. A limit below 1 is ErrInvalid. Records that cannot be shown are in
	// Page.Unreadable and are not an error.
	List(ctx context.Context, after string, limit int) (Page, error)

	// Insert adds a record. It returns ErrExists if the ID is taken, and ErrInvalid if
	// the record does not pass Todo.Check.
	Insert(ctx context.Context, t Todo) error
	// Update replaces the record by change(current) in one atomic step and returns the
	// stored record, or ErrNotFound. If change returns an error, Update returns it
	// unchanged and writes nothing. change may run several times and must not change the
	// ID. current may be larger than MaxRecordBytes. The result of change must pass
	// Todo.Check. If change does not raise the version, a store may raise it, and then set
	// UpdatedAt if change did not; the result says so.
	Update(ctx context.Context, id string, change func(current Todo) (Todo, error)) (Todo, error)
	// Delete removes the record in one atomic step if check(current) returns nil. It
	// returns ErrNotFound if there is no record, and an error of check unchanged.
	Delete(ctx context.Context, id string, check func(current Todo) error) error
	// InsertMany adds records in bulk and skips those whose ID is taken. If one record
	// does not pass Todo.Check, none is added. After an error the result still counts
	// the records that were added.
	InsertMany(ctx context.Context, records []Record) (InsertResult, error)

	// Count returns the number of records; it may be an estimate.
	Count(ctx context.Context) (int64, error)
	// Identity returns a text of letters and digits that identifies this store. It is
	// random and kept in the store, so it is the same for all processes that open the
	// store. Identity creates it if there is none yet, and returns ErrNoIdentity if it
	// cannot. A copy of a store (its file, or its database under the same name
	// elsewhere) has the identity of the original.
	Identity(ctx context.Context) (string, error)
	// Ping reports whether the store can answer now (ErrUnavailable if not).
	Ping(ctx context.Context) error
	Close() error
}
