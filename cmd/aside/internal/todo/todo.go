// Package todo is the domain of the reference service: the record, its rules,
// the Store that keeps it and the Service that reads and writes it cache-aside.
package todo

import (
	"context"
	"time"
)

// Todo is one record. Values are shared between callers once read: treat a
// Todo, and what its pointers point at, as immutable.
//
// Records written by older systems may lack everything but ID and Name; the
// absent fields are then zero (and omitted, or null, in JSON), and Version is 0.
type Todo struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Description *string   `json:"description"`
	Completed   bool      `json:"completed"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	UpdatedAt   time.Time `json:"updated_at,omitzero"`
	// Version grows by one with every change of the record, from 1 at creation.
	Version int64 `json:"version"`
}

// Record is a Todo on its way into a store in bulk.
type Record struct {
	Todo Todo
	// BSON is the document the Todo was decoded from, if there was one. A store
	// that keeps BSON documents inserts it as it is, so that _id and fields
	// unknown to us survive a restore; other stores ignore it.
	BSON []byte
}

// InsertResult says what a bulk insert did.
type InsertResult struct {
	Inserted int // records that were not there before
	Existing int // records skipped since their ID was taken
}

// Page is one page of a listing.
type Page struct {
	Todos []Todo
	// Unreadable are records that belong into the page and cannot be shown, in
	// the order of their IDs. They count towards the limit.
	Unreadable UnreadableRecords
	// Next is the ID after which the next page starts, "" on the last page.
	Next string
}

// Store is the primary database: the source of truth. All methods are safe for
// concurrent use and honour ctx. Every error matches one of the package's
// sentinels with errors.Is, or ctx's own error.
//
// A store takes records that pass Todo.Check alone, and returns no other: what
// another program wrote is shown as far as it can be, a date that cannot be shown
// is left out (and kept in the store), and a record that is too large is
// ErrUnreadable, for itself and not for those that are read with it.
//
// A write that returns ErrUnknownOutcome (or a context error alone) may or may
// not have been applied, and may still be applied a moment later. After any
// other error it was not applied; one that never began since its context had
// ended matches ErrUnavailable beside the context's error.
type Store interface {
	// Get returns the record with that ID, or ErrNotFound. If older data holds
	// several, the first by insertion wins. Reads are answered by the primary.
	Get(ctx context.Context, id string) (Todo, error)
	// GetMany returns the records that exist, by ID. Absent IDs are no error. With
	// an error that is an UnreadableRecords the others are returned beside it.
	GetMany(ctx context.Context, ids []string) (map[string]Todo, error)
	// List returns up to limit records with IDs greater than after, by the
	// bytes of their ID. A limit below 1 is ErrInvalid. Records that cannot be
	// shown are in Page.Unreadable, and no error.
	List(ctx context.Context, after string, limit int) (Page, error)

	// Insert adds a record, or returns ErrExists if its ID is taken, ErrInvalid
	// if it does not pass Todo.Check.
	Insert(ctx context.Context, t Todo) error
	// Update replaces the record by change(current) in one atomic step, and
	// returns what was stored. ErrNotFound if there is none. An error from
	// change is returned as it is and nothing is written. change may run more
	// than once and must not alter the ID. current may be larger than
	// MaxRecordBytes; what change returns must pass Todo.Check.
	Update(ctx context.Context, id string, change func(current Todo) (Todo, error)) (Todo, error)
	// Delete removes the record if check(current) returns nil, in one atomic
	// step. ErrNotFound if there is none; an error from check is returned as is.
	Delete(ctx context.Context, id string, check func(current Todo) error) error
	// InsertMany adds records in bulk and skips those whose ID is taken. If one
	// does not pass Todo.Check, none is added. On an error the result still counts
	// what was done.
	InsertMany(ctx context.Context, records []Record) (InsertResult, error)

	// Count returns the number of records; it may be an estimate.
	Count(ctx context.Context) (int64, error)
	// Identity returns a text of letters and digits that tells this store from every
	// other one. It was made at random and is kept in the store itself, so it is the
	// same for all processes that open the store, at one time or one after the
	// other. If there is none yet it is made now; ErrNoIdentity if that may not be.
	// A copy of a store (its file, or its database under the same name elsewhere)
	// has the identity of the original.
	Identity(ctx context.Context) (string, error)
	// Ping reports whether the store can answer now (ErrUnavailable if not).
	Ping(ctx context.Context) error
	Close() error
}
