// Package storetest is the contract of todo.Store as tests. Every store passes
// it, so the service may rely on the words of the interface alone.
package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/internal/todo"
)

// Run runs the suite. open returns an empty store, which the suite closes.
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

// record has every field set.
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

// same compares what a record means; == would compare pointers.
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

func insertThenGet(t *testing.T, s todo.Store) {
	expectGone(t, s, "1")
	empty := ""
	for _, want := range []todo.Todo{
		record("1"),
		{ID: "no description", Name: "n", CreatedAt: created, UpdatedAt: created, Version: 1},
		{ID: "empty description", Name: "n", Description: &empty, Version: 1},
		{ID: "large", Name: strings.Repeat("name ", 200), Description: new(strings.Repeat("x\x00é", 16<<10)), Version: 1 << 60},
		{ID: "long ago", Name: "n", CreatedAt: time.UnixMilli(-123).UTC(), UpdatedAt: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), Version: 1},
	} {
		mustInsert(t, s, want)
		expect(t, s, want)
	}
	got, err := s.Get(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	if got.CreatedAt.Location() != time.UTC || got.UpdatedAt.Location() != time.UTC {
		t.Errorf("times are not in UTC: %v, %v", got.CreatedAt, got.UpdatedAt)
	}
	expectGone(t, s, "2")
}

func insertExisting(t *testing.T, s todo.Store) {
	first := record("1")
	mustInsert(t, s, first)
	second := first
	second.Name = "another"
	if err := s.Insert(t.Context(), second); !errors.Is(err, todo.ErrExists) {
		t.Fatalf("second Insert: %v, want ErrExists", err)
	}
	expect(t, s, first)
}

func insertOnce(t *testing.T, s todo.Store) {
	const inserters = 8
	for round := range 5 {
		id := fmt.Sprint(round)
		errs := make([]error, inserters)
		var wg sync.WaitGroup
		for i := range inserters {
			wg.Go(func() { errs[i] = s.Insert(t.Context(), record(id)) })
		}
		wg.Wait()
		inserted := 0
		for _, err := range errs {
			switch {
			case err == nil:
				inserted++
			case !errors.Is(err, todo.ErrExists):
				t.Errorf("concurrent Insert: %v", err)
			}
		}
		if inserted != 1 {
			t.Errorf("%d of %d concurrent inserts of one id succeeded, want 1", inserted, inserters)
		}
	}
}

func emptyID(t *testing.T, s todo.Store) {
	if err := s.Insert(t.Context(), todo.Todo{Name: "n"}); !errors.Is(err, todo.ErrInvalid) {
		t.Errorf("Insert without an id: %v, want ErrInvalid", err)
	}
	res, err := s.InsertMany(t.Context(), append(records("1"), todo.Record{Todo: todo.Todo{Name: "n"}}))
	if !errors.Is(err, todo.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "record 2") {
		t.Errorf("InsertMany with a second record without an id: %v, want ErrInvalid that names record 2", err)
	}
	if n, err := s.Count(t.Context()); err != nil || n != int64(res.Inserted) {
		t.Errorf("InsertMany says %+v, Count says %d, %v", res, n, err)
	}
	expectGone(t, s, "")
}

// illegal: a store takes nothing that it could not show. Caught: dates after the
// year 9999, with which no page that held them could be sent; records of 15 MB.
func illegal(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("here"))
	x := func(n int) *string { return new(strings.Repeat("x", n)) }
	for name, bad := range map[string]todo.Todo{
		"a control character":   {ID: "a\x00", Name: "n"},
		"an id of two dots":     {ID: "..", Name: "n"},
		"a long id":             {ID: strings.Repeat("i", todo.MaxIDBytes+1), Name: "n"},
		"broken UTF-8":          {ID: "1", Name: "\xff"},
		"the year 10000":        {ID: "1", Name: "n", CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"late in 9999 in UTC-1": {ID: "1", Name: "n", UpdatedAt: time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600))},
		"the year 0":            {ID: "1", Name: "n", UpdatedAt: time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC)},
		"a negative version":    {ID: "1", Name: "n", Version: -1},
		"too large by a byte":   {ID: "1", Name: "n", Description: x(todo.MaxRecordBytes - 1)},
		"too large by far":      {ID: "1", Name: *x(5 << 20)},
	} {
		if err := s.Insert(t.Context(), bad); !errors.Is(err, todo.ErrInvalid) {
			t.Errorf("%s: Insert: %v, want ErrInvalid", name, err)
		}
		res, err := s.InsertMany(t.Context(), append(records("good"), todo.Record{Todo: bad}))
		if !errors.Is(err, todo.ErrInvalid) || !strings.Contains(fmt.Sprint(err), "record 2") || res != (todo.InsertResult{}) {
			t.Errorf("%s: InsertMany: %+v, %v, want ErrInvalid that names record 2", name, res, err)
		}
		_, err = s.Update(t.Context(), "here", func(c todo.Todo) (todo.Todo, error) {
			id := c.ID
			if c = bad; c.ID == "1" {
				c.ID = id
			}
			c.Version = min(c.Version, 4)
			return c, nil
		})
		if !errors.Is(err, todo.ErrInvalid) {
			t.Errorf("%s: Update: %v, want ErrInvalid", name, err)
		}
	}
	if got := listAll(t, s, 10); !slices.Equal(got, []string{"here"}) {
		t.Errorf("the store holds %q", got)
	}
	for _, good := range []todo.Todo{
		{ID: "largest", Name: *x(todo.MaxNameBytes), Description: x(todo.MaxRecordBytes - todo.MaxNameBytes - len("largest"))},
		{ID: "first day", Name: "", CreatedAt: time.Date(1, 1, 1, 0, 0, 0, 1e6, time.UTC), UpdatedAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), Version: 1<<63 - 1},
	} {
		mustInsert(t, s, good)
		expect(t, s, good)
	}
}

// oldRecord: what older systems wrote has an id and a name, and is updated as it is.
func oldRecord(t *testing.T, s todo.Store) {
	old := todo.Todo{ID: "1", Name: "n"}
	mustInsert(t, s, old)
	expect(t, s, old)
	got, err := s.Update(t.Context(), "1", func(current todo.Todo) (todo.Todo, error) {
		if !same(current, old) {
			t.Errorf("Update sees %s", show(current))
		}
		current.Version++
		current.UpdatedAt = updated
		return current, nil
	})
	if err != nil || got.Version != 1 {
		t.Fatalf("Update: %s, %v", show(got), err)
	}
	expect(t, s, todo.Todo{ID: "1", Name: "n", UpdatedAt: updated, Version: 1})
}

func getMany(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("a"), record("b"), record("c"))
	got, err := s.GetMany(t.Context(), []string{"c", "absent", "a", "a", ""})
	if err != nil {
		t.Fatal(err)
	}
	if ids := slices.Sorted(maps.Keys(got)); !slices.Equal(ids, []string{"a", "c"}) {
		t.Fatalf("GetMany found %q", ids)
	}
	for id, x := range got {
		if !same(x, record(id)) {
			t.Errorf("GetMany: %q is %s", id, show(x))
		}
	}
	for _, none := range [][]string{nil, {}, {"absent"}} {
		if got, err := s.GetMany(t.Context(), none); err != nil || len(got) != 0 {
			t.Errorf("GetMany(%q): %v, %v", none, got, err)
		}
	}
}

// odd are IDs that have gone wrong in one store or another.
var odd = []string{
	" ", "  a", "a", "a ", "a b", "A", "aa", "ab", "a/b", "/", "//", "%", "%2F", "%41", "a%00",
	"a.b", "...", "$set", "$", "_id", "id", "null", "true", "0", "00", "1", "10", "1e1", "1.0", "-1", "+1",
	"é", "e\u0301", "ß", "SS", "日本語", "\U0001F600", "\U0010FFFF", "\uFFFD", "\u200b", "\u202e", "'", `"`, `\`, "`;--",
	"{\"$gt\":\"\"}", "*", "?", "(a|b)*",
	strings.Repeat("k", 255), strings.Repeat("k", 256), strings.Repeat("é", 128), "~",
}

func oddIDs(t *testing.T, s todo.Store) {
	for _, id := range odd {
		mustInsert(t, s, record(id))
		if err := s.Insert(t.Context(), record(id)); !errors.Is(err, todo.ErrExists) {
			t.Errorf("second Insert(%q): %v", id, err)
		}
	}
	got, err := s.GetMany(t.Context(), odd)
	if err != nil || len(got) != len(odd) {
		t.Errorf("GetMany of %d odd ids: %d, %v", len(odd), len(got), err)
	}
	for i, id := range odd {
		expect(t, s, record(id))
		_, err := s.Update(t.Context(), id, func(c todo.Todo) (todo.Todo, error) {
			c.Version = int64(1000 + i)
			return c, nil
		})
		if err != nil {
			t.Errorf("Update(%q): %v", id, err)
		}
	}
	for i, id := range odd { // each update hit its own record
		want := record(id)
		want.Version = int64(1000 + i)
		expect(t, s, want)
	}
	for i, id := range odd {
		if err := s.Delete(t.Context(), id, accept); err != nil {
			t.Errorf("Delete(%q): %v", id, err)
		}
		if n, err := s.Count(t.Context()); err != nil || n != int64(len(odd)-i-1) {
			t.Fatalf("after Delete(%q) there are %d records (%v), want %d", id, n, err, len(odd)-i-1)
		}
	}
}

func accept(todo.Todo) error { return nil }

// listAll reads page after page.
func listAll(t *testing.T, s todo.Store, limit int) []string {
	t.Helper()
	var ids []string
	for after := ""; ; {
		page, err := s.List(t.Context(), after, limit)
		if err != nil {
			t.Fatalf("List(%q, %d): %v", after, limit, err)
		}
		if len(page.Todos) > limit {
			t.Fatalf("List(%q, %d) returned %d records", after, limit, len(page.Todos))
		}
		for _, x := range page.Todos {
			if !same(x, record(x.ID)) {
				t.Errorf("List: %s", show(x))
			}
			ids = append(ids, x.ID)
		}
		if page.Next == "" {
			return ids
		}
		if len(page.Todos) == 0 || page.Next != page.Todos[len(page.Todos)-1].ID {
			t.Fatalf("List(%q, %d): Next is %q behind %d records", after, limit, page.Next, len(page.Todos))
		}
		after = page.Next
	}
}

func listInByteOrder(t *testing.T, s todo.Store) {
	if got := listAll(t, s, 10); len(got) != 0 {
		t.Fatalf("an empty store lists %q", got)
	}
	mustInsertMany(t, s, records(odd...))
	want := slices.Sorted(slices.Values(odd)) // Go compares strings by their bytes
	for _, limit := range []int{1, 7, len(want) - 1, len(want), len(want) + 1} {
		if got := listAll(t, s, limit); !slices.Equal(got, want) {
			t.Errorf("in pages of %d:\n got %q\nwant %q", limit, got, want)
		}
	}
}

// listIsStable: writes between two pages neither hide nor repeat a record that
// they do not concern.
func listIsStable(t *testing.T, s todo.Store) {
	mustInsertMany(t, s, records("b", "d", "f", "h", "j"))
	page, err := s.List(t.Context(), "", 2)
	if err != nil || page.Next != "d" {
		t.Fatalf("first page: %+v, %v", page, err)
	}
	mustInsert(t, s, record("a"), record("c"), record("e"))
	for _, id := range []string{"d", "h"} { // the place mark itself, too
		if err := s.Delete(t.Context(), id, accept); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for page.Next != "" {
		if page, err = s.List(t.Context(), page.Next, 2); err != nil {
			t.Fatal(err)
		}
		for _, x := range page.Todos {
			got = append(got, x.ID)
		}
	}
	if !slices.Equal(got, []string{"e", "f", "j"}) {
		t.Errorf("the rest is %q", got)
	}
}

func listLimits(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	for _, limit := range []int{0, -1} {
		if page, err := s.List(t.Context(), "", limit); !errors.Is(err, todo.ErrInvalid) {
			t.Errorf("List with limit %d: %+v, %v, want ErrInvalid", limit, page, err)
		}
	}
	for _, after := range []string{"1", "zzz", "\U0010FFFF"} {
		if page, err := s.List(t.Context(), after, 10); err != nil || len(page.Todos) != 0 || page.Next != "" {
			t.Errorf("List after %q: %+v, %v, want nothing", after, page, err)
		}
	}
}

func update(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"), record("2"))
	want := todo.Todo{ID: "1", Name: "new", CreatedAt: created, UpdatedAt: updated.Add(time.Second), Version: 4}
	got, err := s.Update(t.Context(), "1", func(current todo.Todo) (todo.Todo, error) {
		if !same(current, record("1")) {
			t.Errorf("Update sees %s", show(current))
		}
		return want, nil
	})
	if err != nil || !same(got, want) {
		t.Fatalf("Update: %s, %v", show(got), err)
	}
	expect(t, s, want)
	expect(t, s, record("2"))

	_, err = s.Update(t.Context(), "absent", func(todo.Todo) (todo.Todo, error) {
		t.Error("change is called for an absent record")
		return todo.Todo{}, nil
	})
	if !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("Update of an absent record: %v", err)
	}
	expectGone(t, s, "absent")
}

// updateLosesNothing has each update add to what it saw. A store that writes
// without looking whether the record is still what it read loses some.
func updateLosesNothing(t *testing.T, s todo.Store) {
	const writers, each = 8, 15
	for name, change := range map[string]func(*todo.Todo){
		"counted by version":               func(x *todo.Todo) { x.Version++ },
		"without a version, as old writes": func(x *todo.Todo) { x.Name += "x" },
	} {
		t.Run(name, func(t *testing.T) {
			start := todo.Todo{ID: name, Name: ""}
			mustInsert(t, s, start)
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for range each {
						_, err := s.Update(t.Context(), name, func(c todo.Todo) (todo.Todo, error) {
							change(&c)
							return c, nil
						})
						if err != nil {
							t.Errorf("Update: %v", err)
						}
					}
				})
			}
			wg.Wait()
			want := start
			for range writers * each {
				change(&want)
			}
			expect(t, s, want)
		})
	}
}

func updateRefused(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	refusal := errors.New("no")
	_, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) {
		c.Name = "changed"
		return c, refusal
	})
	if err != refusal { // as it is, not wrapped
		t.Errorf("Update returns %v, want the error of change", err)
	}
	expect(t, s, record("1"))
}

func updateMayNotMove(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	_, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) {
		c.ID = "2"
		return c, nil
	})
	if !errors.Is(err, todo.ErrInvalid) {
		t.Errorf("an Update that alters the ID: %v, want ErrInvalid", err)
	}
	expect(t, s, record("1"))
	expectGone(t, s, "2")
}

func deletes(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"), record("2"))
	err := s.Delete(t.Context(), "1", func(c todo.Todo) error {
		if !same(c, record("1")) {
			t.Errorf("check sees %s", show(c))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expectGone(t, s, "1")
	expect(t, s, record("2"))
	err = s.Delete(t.Context(), "1", func(todo.Todo) error {
		t.Error("check is called for an absent record")
		return nil
	})
	if !errors.Is(err, todo.ErrNotFound) {
		t.Errorf("second Delete: %v", err)
	}
	again := record("1")
	again.Version = 1
	mustInsert(t, s, again)
	expect(t, s, again)
}

func deleteRefused(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	refusal := errors.New("no")
	if err := s.Delete(t.Context(), "1", func(todo.Todo) error { return refusal }); err != refusal {
		t.Errorf("Delete returns %v, want the error of check", err)
	}
	expect(t, s, record("1"))
}

// deleteIsAtomic lets deletes of exactly version 1 race with updates to version
// 2: either the delete wins and the update finds nothing, or it is refused.
func deleteIsAtomic(t *testing.T, s todo.Store) {
	newer := errors.New("newer")
	for round := range 10 {
		x := record(fmt.Sprint(round))
		x.Version = 1
		mustInsert(t, s, x)
		var wg sync.WaitGroup
		var deleteErr, updateErr error
		wg.Go(func() {
			deleteErr = s.Delete(t.Context(), x.ID, func(c todo.Todo) error {
				if c.Version != 1 {
					return newer
				}
				return nil
			})
		})
		wg.Go(func() {
			_, updateErr = s.Update(t.Context(), x.ID, func(c todo.Todo) (todo.Todo, error) {
				c.Version = 2
				return c, nil
			})
		})
		wg.Wait()
		switch {
		case deleteErr == nil && errors.Is(updateErr, todo.ErrNotFound):
			expectGone(t, s, x.ID)
		case deleteErr == newer && updateErr == nil:
			x.Version = 2
			expect(t, s, x)
		default:
			t.Errorf("Delete: %v, Update: %v", deleteErr, updateErr)
		}
	}
}

func mustInsertMany(t *testing.T, s todo.Store, rs []todo.Record) {
	t.Helper()
	res, err := s.InsertMany(t.Context(), rs)
	if err != nil || res.Inserted != len(rs) || res.Existing != 0 {
		t.Fatalf("InsertMany of %d: %+v, %v", len(rs), res, err)
	}
}

func insertMany(t *testing.T, s todo.Store) {
	if res, err := s.InsertMany(t.Context(), nil); err != nil || res != (todo.InsertResult{}) {
		t.Errorf("InsertMany of nothing: %+v, %v", res, err)
	}
	mine := record("2")
	mine.Name = "was here before"
	mustInsert(t, s, mine)

	second := record("3")
	second.Name = "second with that id"
	rs := append(records("1", "2", "3"), todo.Record{Todo: second})
	rs = append(rs, records("4")...)
	res, err := s.InsertMany(t.Context(), rs)
	if err != nil || res.Inserted != 3 || res.Existing != 2 {
		t.Fatalf("InsertMany: %+v, %v, want 3 inserted and 2 existing", res, err)
	}
	expect(t, s, record("1"))
	expect(t, s, mine)
	expect(t, s, record("3"))
	expect(t, s, record("4"))

	res, err = s.InsertMany(t.Context(), rs) // a load that is started again
	if err != nil || res.Inserted != 0 || res.Existing != len(rs) {
		t.Errorf("InsertMany again: %+v, %v, want all existing", res, err)
	}
	if n, err := s.Count(t.Context()); err != nil || n != 4 {
		t.Errorf("Count: %d, %v", n, err)
	}
}

// insertManyConcurrent: two loads of the same records insert each once.
func insertManyConcurrent(t *testing.T, s todo.Store) {
	const n = 300
	var rs []todo.Record
	for i := range n {
		rs = append(rs, records(fmt.Sprint(i))...)
	}
	var results [2]todo.InsertResult
	var errs [2]error
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i], errs[i] = s.InsertMany(t.Context(), rs) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if in, ex := results[0].Inserted+results[1].Inserted, results[0].Existing+results[1].Existing; in != n || ex != n {
		t.Errorf("two loads of %d records: %d inserted, %d existing", n, in, ex)
	}
	if got := listAll(t, s, 100); len(got) != n {
		t.Errorf("%d records are listed, want %d", len(got), n)
	}
}

func count(t *testing.T, s todo.Store) {
	check := func(want int64) {
		t.Helper()
		if n, err := s.Count(t.Context()); err != nil || n != want {
			t.Errorf("Count: %d, %v, want %d", n, err, want)
		}
	}
	check(0)
	mustInsertMany(t, s, records("1", "2", "3"))
	check(3)
	mustInsert(t, s, record("4"))
	_ = s.Insert(t.Context(), record("4"))
	check(4)
	if err := s.Delete(t.Context(), "1", accept); err != nil {
		t.Fatal(err)
	}
	_ = s.Delete(t.Context(), "1", accept)
	check(3)
}

// calls are all methods that take a context.
func calls(s todo.Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get":     func(ctx context.Context) error { _, err := s.Get(ctx, "1"); return err },
		"GetMany": func(ctx context.Context) error { _, err := s.GetMany(ctx, []string{"1"}); return err },
		"List":    func(ctx context.Context) error { _, err := s.List(ctx, "", 1); return err },
		"Insert":  func(ctx context.Context) error { return s.Insert(ctx, record("new")) },
		"Update": func(ctx context.Context) error {
			_, err := s.Update(ctx, "1", func(c todo.Todo) (todo.Todo, error) { c.Name = "changed"; return c, nil })
			return err
		},
		"Delete":     func(ctx context.Context) error { return s.Delete(ctx, "1", accept) },
		"InsertMany": func(ctx context.Context) error { _, err := s.InsertMany(ctx, records("new")); return err },
		"Count":      func(ctx context.Context) error { _, err := s.Count(ctx); return err },
		"Identity":   func(ctx context.Context) error { _, err := s.Identity(ctx); return err },
		"Ping":       func(ctx context.Context) error { return s.Ping(ctx) },
	}
}

func cancelled(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late, stop := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer stop()
	for name, call := range calls(s) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", name, err)
		}
		if err := call(late); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s with a context past its deadline: %v", name, err)
		}
	}
	// A context that had ended before the call: nothing was sent.
	expect(t, s, record("1"))
	expectGone(t, s, "new")
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping afterwards: %v", err)
	}
}

func afterClose(t *testing.T, s todo.Store) {
	mustInsert(t, s, record("1"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); !errors.Is(err, todo.ErrUnavailable) {
			t.Errorf("%s after Close: %v, want ErrUnavailable", name, cmp.Or(err, errors.New("no error")))
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// Identity is the contract of todo.Store.Identity. place makes a place for a store
// and returns a function that opens the store there, each time as another process
// would. several tells whether it can be open more than once at one time.
func Identity(t *testing.T, several bool, place func(t *testing.T) (open func() todo.Store)) {
	identity := func(s todo.Store) string {
		t.Helper()
		id, err := s.Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(id) < 20 || len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') }) {
			t.Errorf("%q is no identity", id)
		}
		return id
	}
	mustClose := func(s todo.Store) {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	open := place(t)
	s := open()
	first := identity(s)
	if again := identity(s); again != first {
		t.Errorf("%q, then %q", first, again)
	}
	mustInsert(t, s, record("1"))
	mustClose(s)
	s = open()
	if again := identity(s); again != first {
		t.Errorf("%q, and after it was opened again %q", first, again)
	}
	if n, err := s.Count(t.Context()); err != nil || n != 1 {
		t.Errorf("there are %d records, %v", n, err)
	}
	mustClose(s)

	other := place(t)()
	if id := identity(other); id == first {
		t.Errorf("two stores have the identity %q", id)
	}
	mustClose(other)

	if !several {
		return
	}
	// Many make it at one moment, and all get the one that is kept.
	open = place(t)
	const n = 8
	stores := make([]todo.Store, n)
	for i := range stores {
		stores[i] = open()
	}
	ids := make([]string, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() { ids[i], errs[i] = s.Identity(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("at one moment: %q", ids)
			break
		}
	}
	for _, s := range stores {
		mustClose(s)
	}
}
