// Package storetest tests the contract of todo.Store. Every store passes it, so the service
// can rely on the documentation of the interface.
package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Run runs the suite. open returns an empty store. The suite closes it.
func Run(t *testing.T, open func(t *testing.T) todo.Store) {
	tests := []struct {
		name string
		test func(t *testing.T, s todo.Store)
	}{
		{"InsertThenGet", insertThenGet},
		{"InsertExisting", insertExisting},
		{"InsertOnceUnderConcurrency", insertOnce},
		{"EmptyIDIsRefused", emptyID},
		{"WhatCannotBeShownIsRefused", illegal},
		{"OldRecord", oldRecord},
		{"GetMany", getMany},
		{"OddIDs", oddIDs},
		{"ListInByteOrder", listInByteOrder},
		{"ListIsStable", listIsStable},
		{"ListLimits", listLimits},
		{"Update", update},
		{"UpdateLosesNothing", updateLosesNothing},
		{"UpdateRefused", updateRefused},
		{"UpdateMayNotMoveTheRecord", updateMayNotMove},
		{"Delete", deletes},
		{"DeleteRefused", deleteRefused},
		{"DeleteChecksWhatItDeletes", deleteIsAtomic},
		{"InsertMany", insertMany},
		{"InsertManyAtOnce", insertManyConcurrent},
		{"Count", count},
		{"CancelledContext", cancelled},
		{"AfterClose", afterClose},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			tc.test(t, s)
		})
	}
}

var (
	created = time.Date(2024, 2, 29, 23, 59, 59, 123e6, time.UTC)
	updated = created.Add(90 * time.Minute)
)

// record returns a record with every field set.
func record(id string) todo.Todo {
	d := "describes " + id
	return todo.Todo{
		ID: id, Name: "name of " + id, Description: &d, Completed: true,
		CreatedAt: created, UpdatedAt: updated, Version: 3,
	}
}

func records(ids ...string) []todo.Record {
	rs := make([]todo.Record, len(ids))
	for i, id := range ids {
		rs[i].Todo = record(id)
	}
	return rs
}

// same compares two records by value; == would compare pointers.
func same(a, b todo.Todo) bool {
	if (a.Description == nil) != (b.Description == nil) ||
		a.Description != nil && *a.Description != *b.Description {
		return false
	}
	return a.ID == b.ID && a.Name == b.Name && a.Completed == b.Completed && a.Version == b.Version &&
		a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt)
}

func show(t todo.Todo) string {
	d := "null"
	if t.Description != nil {
		d = fmt.Sprintf("%q", *t.Description)
	}
	t.Description = nil
	return fmt.Sprintf("%+v description %s", t, d)
}

func mustInsert(t *testing.T, s todo.Store, ts ...todo.Todo) {
	t.Helper()
	for _, x := range ts {
		if err := s.Insert(t.Context(), x); err != nil {
			t.Fatalf("Insert(%q): %v", x.ID, err)
		}
	}
}

func expect(t *testing.T, s todo.Store, want todo.Todo) {
	t.Helper()
	got, err := s.Get(t.Context(), want.ID)
	if err != nil {
		t.Fatalf("Get(%q): %v", want.ID, err)
	}
	if !same(got, want) {
		t.Fatalf("Get(%q):\n got %s\nwant %s", want.ID, show(got), show(want))
	}
}

func expectGone(t *testing.T, s todo.Store, id string) {
	t.Helper()
	if got, err := s.Get(t.Context(), id); !errors.Is(err, todo.ErrNotFound) {
		t.Fatalf("Get(%q): %s, %v, want ErrNotFound", id, show(got), err)
	}
}
