package storetest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

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

// odd are IDs that caused errors in some store.
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
	for i, id := range odd { // each update changed its own record
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

// listIsStable: a write between two pages does not hide or repeat other records.
func listIsStable(t *testing.T, s todo.Store) {
	mustInsertMany(t, s, records("b", "d", "f", "h", "j"))
	page, err := s.List(t.Context(), "", 2)
	if err != nil || page.Next != "d" {
		t.Fatalf("first page: %+v, %v", page, err)
	}
	mustInsert(t, s, record("a"), record("c"), record("e"))
	for _, id := range []string{"d", "h"} { // also the record at which the next page starts
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
