package pgstore

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/testserver"
)

// TestOddRows: rows that another program wrote fail no page, and can be changed and
// deleted. A date that cannot be shown stays when another column changes.
func TestOddRows(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Exec("ALTER TABLE todos ALTER name DROP NOT NULL, ALTER completed DROP NOT NULL, ALTER version DROP NOT NULL, ADD owner text")
	for _, c := range []struct {
		row  string // without the id
		want todo.Todo
	}{
		{"NULL, NULL, NULL, NULL, NULL, NULL", todo.Todo{}},
		{"'n', '', true, 'infinity', '-infinity', -7", todo.Todo{Name: "n", Description: new(""), Completed: true}},
		{"'n', NULL, true, '10000-01-01 00:00+00', '0001-01-01 00:00+00 BC', 5", todo.Todo{Name: "n", Completed: true, Version: 5}},
		{"'n', NULL, true, '294276-12-31 00:00+00', '4713-01-01 00:00+00 BC', 5", todo.Todo{Name: "n", Completed: true, Version: 5}},
		{"'n', NULL, false, '2024-02-29 23:59:59.123456+01', NULL, 5", todo.Todo{Name: "n", CreatedAt: time.Date(2024, 2, 29, 22, 59, 59, 123456e3, time.UTC), Version: 5}},
		{"U&'a\\FDD0b\\FDD0', NULL, false, NULL, NULL, 5", todo.Todo{Name: "a\uFDD0b\uFDD0", Version: 5}},
	} {
		p.Exec("DELETE FROM todos")
		p.Exec("INSERT INTO todos VALUES ('1', " + c.row + ", 'somebody')")
		c.want.ID = "1"
		got, err := s.Get(t.Context(), "1")
		if err != nil || show(got) != show(c.want) {
			t.Errorf("%s is read as\n %s, %v, want\n %s", c.row, show(got), err, show(c.want))
		}
		page, err := s.List(t.Context(), "", 5)
		if err != nil || len(page.Todos) != 1 || show(page.Todos[0]) != show(c.want) {
			t.Errorf("%s is listed as %+v, %v", c.row, page, err)
		}
		const others = "SELECT name, description, created_at, owner FROM todos"
		before := p.Value("SELECT (t.*)::text FROM (" + others + ") t")
		c.want.Completed, c.want.Version, c.want.UpdatedAt = !c.want.Completed, c.want.Version+1, time.UnixMilli(1_700_000_000_123).UTC()
		got, err = s.Update(t.Context(), "1", func(x todo.Todo) (todo.Todo, error) {
			x.Completed, x.Version, x.UpdatedAt = c.want.Completed, c.want.Version, c.want.UpdatedAt
			return x, nil
		})
		if err != nil || show(got) != show(c.want) {
			t.Errorf("%s is changed to\n %s, %v, want\n %s", c.row, show(got), err, show(c.want))
		}
		if after := p.Value("SELECT (t.*)::text FROM (" + others + ") t"); after != before {
			t.Errorf("%s: an update of other columns made %s of %s", c.row, after, before)
		}
		if err := s.Delete(t.Context(), "1", func(x todo.Todo) error { return nil }); err != nil {
			t.Errorf("%s: Delete: %v", c.row, err)
		}
	}
}

func show(t todo.Todo) string {
	d := "null"
	if t.Description != nil {
		d = fmt.Sprintf("%q", *t.Description)
	}
	t.Description = nil
	return fmt.Sprintf("%+v description %s", t, d)
}

// TestNotTodos: rows whose id cannot be one are not shown, not even in a page full of them.
func TestNotTodos(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Exec(`INSERT INTO todos (id, name) SELECT E'a\x01' || n, 'n' FROM generate_series(1, 30) n`)
	p.Exec(`INSERT INTO todos (id, name) VALUES ('', 'n'), ('..', 'n'), (repeat('i', 257), 'n'), ('a', 'n'), ('b', 'n'), ('c', 'n')`)
	for _, limit := range []int{1, 2, 3, 100} {
		var ids []string
		for after := ""; ; {
			page, err := s.List(t.Context(), after, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range page.Todos {
				ids = append(ids, x.ID)
			}
			if after = page.Next; after == "" {
				break
			}
		}
		if fmt.Sprint(ids) != "[a b c]" {
			t.Errorf("in pages of %d: %q", limit, ids)
		}
	}
	for _, id := range []string{"", "..", "a\x011", "a\x00", "\xff", strings.Repeat("i", 257)} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, todo.ErrNotFound) {
			t.Errorf("Get(%.10q): %v", id, err)
		}
		if got, err := s.GetMany(t.Context(), []string{id, "a"}); err != nil || len(got) != 1 {
			t.Errorf("GetMany(%.10q, a): %d, %v", id, len(got), err)
		}
		if err := s.Delete(t.Context(), id, func(todo.Todo) error { return nil }); !errors.Is(err, todo.ErrNotFound) {
			t.Errorf("Delete(%.10q): %v", id, err)
		}
	}
}

// TestTooLarge: a row that cannot be shown does not hide others, and can be replaced and
// deleted. Reads do not fetch its text.
func TestTooLarge(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{todo.MaxRecordBytes, 40 << 20} {
		p.Exec("DELETE FROM todos; INSERT INTO todos (id, name) VALUES ('1', 'n'), ('3', 'n')")
		p.Exec(fmt.Sprintf("INSERT INTO todos (id, name, description) VALUES ('2', 'n', repeat('x', %d))", n))
		if _, err := s.Get(t.Context(), "2"); !errors.Is(err, todo.ErrUnreadable) || !strings.Contains(err.Error(), fmt.Sprint(n+2)) {
			t.Errorf("Get: %v", err)
		}
		var list todo.UnreadableRecords
		if got, err := s.GetMany(t.Context(), []string{"1", "2", "3"}); len(got) != 2 || !errors.As(err, &list) || len(list) != 1 || list[0].ID != "2" {
			t.Errorf("GetMany: %d, %v", len(got), err)
		}
		page, err := s.List(t.Context(), "", 2)
		if err != nil || len(page.Todos) != 1 || len(page.Unreadable) != 1 || page.Next != "2" {
			t.Errorf("List: %+v, %v", page, err)
		}
		got, err := s.Update(t.Context(), "2", func(c todo.Todo) (todo.Todo, error) {
			if len(*c.Description) != n {
				t.Errorf("Update sees %d bytes", len(*c.Description))
			}
			c.Description, c.Version = nil, c.Version+1
			return c, nil
		})
		if err != nil || got.Name != "n" {
			t.Errorf("Update: %+v, %v", got, err)
		}
		if err := s.Delete(t.Context(), "2", func(todo.Todo) error { return nil }); err != nil {
			t.Errorf("Delete: %v", err)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a\x00b", "\uFDD0", "\uFDD0\uFDD0", "\uFDD00", "\x00\uFDD0\x000", "é\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		stored := encodeText(s)
		if strings.Contains(stored, "\x00") {
			t.Errorf("%q is stored as %q", s, stored)
		}
		if got := decodeText(stored); got != s {
			t.Errorf("%q is stored as %q and read as %q", s, stored, got)
		}
		if len(stored) > 4*len(s) {
			t.Errorf("%q is stored in %d bytes", s, len(stored))
		}
	})
}

// TestStartOf: a listing goes on after any bytes, as a client may send them.
func TestStartOf(t *testing.T) {
	parts := []string{"", "a", "b", "\x00", "\x01", "\x7f", "\x80", "\xbf", "\xc0", "\xc2", "\xc3", "\xe0", "\xe0\xa0", "\xed", "\xed\xa0", "\xef\xbf",
		"\xf0\x90", "\xf4", "\xf4\x90", "\xff", "é", "\u0800", "\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010FFFF", "0"}
	random := rand.New(rand.NewPCG(1, 2))
	text := func() (s string) {
		for range random.IntN(5) {
			s += parts[random.IntN(len(parts))]
		}
		return s
	}
	var ids []string
	for len(ids) < 2000 {
		if id := text(); todo.CheckID(id) == nil {
			ids = append(ids, id)
		}
	}
	ids = append(ids, strings.Repeat("\U0010FFFF", 64), "a"+strings.Repeat("\U0010FFFF", 63))
	slices.Sort(ids)
	for range 3000 {
		after := text()
		start := startOf(after)
		if strings.Contains(start, "\x00") || strings.ToValidUTF8(start, "") != start {
			t.Fatalf("startOf(%q) is %q", after, start)
		}
		for _, id := range ids {
			if cmp.Compare(id, after) > 0 != (cmp.Compare(id, start) > 0) {
				t.Fatalf("%q is after %q: %v, after %q: %v", id, after, id > after, start, id > start)
			}
		}
	}
}

// TestListAfterAnyBytes: PostgreSQL accepts what startOf returns.
func TestListAfterAnyBytes(t *testing.T) {
	s := mustOpen(t, testserver.Postgres(t).URL(), Options{})
	for _, id := range []string{"a", "b"} {
		if err := s.Insert(t.Context(), todo.Todo{ID: id, Name: "n"}); err != nil {
			t.Fatal(err)
		}
	}
	for after, want := range map[string]int{"\x00": 2, "a\x00": 1, "\xff": 0, "a\xff": 1, "a\xed\xa0": 1, "\xc3": 0, strings.Repeat("a\x00", 9000): 1} {
		if page, err := s.List(t.Context(), after, 10); err != nil || len(page.Todos) != want {
			t.Errorf("after %.10q: %d records, %v, want %d", after, len(page.Todos), err, want)
		}
	}
}
