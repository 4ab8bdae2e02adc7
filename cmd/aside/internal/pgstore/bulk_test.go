package pgstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/testserver"
)

func recordsFrom(first, n int) []todo.Record {
	rs := make([]todo.Record, n)
	for i := range rs {
		rs[i].Todo = todo.Todo{ID: fmt.Sprint(first + i), Name: "n"}
	}
	return rs
}

// TestInsertManyBatches: more records than one COPY takes, new, again, and half new.
func TestInsertManyBatches(t *testing.T) {
	p := testserver.Postgres(t)
	s := mustOpen(t, p.URL(), Options{})
	const n = 2*copyRecords + 5
	for _, c := range []struct{ first, inserted int }{{0, n}, {0, 0}, {n / 2, n / 2}, {2 * n, n}, {4 * n, n}} {
		res, err := s.InsertMany(t.Context(), recordsFrom(c.first, n))
		if want := (todo.InsertResult{Inserted: c.inserted, Existing: n - c.inserted}); err != nil || res != want {
			t.Errorf("from %d: %+v, %v, want %+v", c.first, res, err, want)
		}
		if s.mixed.Load() != (c.first == 0 && c.inserted == 0) {
			t.Errorf("from %d: the next batch is taken for mixed: %v", c.first, s.mixed.Load())
		}
	}
	if got := p.Value("SELECT count(*) FROM todos"); got != fmt.Sprint(n/2+3*n) {
		t.Errorf("%s records", got)
	}
}

// TestInsertManyRefused: a record that the table refuses is ErrInvalid, and its batch is
// not there. The batches before it are, and are counted.
func TestInsertManyRefused(t *testing.T) {
	p := testserver.Postgres(t)
	p.Exec(Schema("todos") + "ALTER TABLE todos ADD CHECK (name <> 'bad')")
	s := mustOpen(t, p.URL(), Options{})
	for _, mixed := range []bool{false, true} {
		p.Exec("TRUNCATE todos")
		s.mixed.Store(mixed)
		rs := recordsFrom(0, 2*copyRecords)
		rs[len(rs)-1].Todo.Name = "bad"
		res, err := s.InsertMany(t.Context(), rs)
		if !errors.Is(err, todo.ErrInvalid) || res != (todo.InsertResult{Inserted: copyRecords}) {
			t.Errorf("mixed %v: %+v, %v", mixed, res, err)
		}
		if got := p.Value("SELECT count(*) FROM todos"); got != fmt.Sprint(copyRecords) {
			t.Errorf("mixed %v: %s records", mixed, got)
		}
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "x", Name: "bad"}); !errors.Is(err, todo.ErrInvalid) {
		t.Errorf("Insert: %v", err)
	}
	_, err := s.Update(t.Context(), "1", func(c todo.Todo) (todo.Todo, error) { c.Name = "bad"; return c, nil })
	if !errors.Is(err, todo.ErrInvalid) {
		t.Errorf("Update: %v", err)
	}
}

// TestInsertManyWithRowSecurity: COPY refuses tables with row-level security.
func TestInsertManyWithRowSecurity(t *testing.T) {
	p := testserver.Postgres(t)
	role := guest(p)
	dropRole(t, p, role)
	p.Exec(Schema("todos") + "ALTER TABLE todos ENABLE ROW LEVEL SECURITY; CREATE POLICY all_rows ON todos USING (true);" +
		"GRANT SELECT, INSERT, UPDATE, DELETE ON todos TO " + role)
	s := mustOpen(t, p.URLAs(role), Options{})
	if res, err := s.InsertMany(t.Context(), recordsFrom(0, 10)); err != nil || res.Inserted != 10 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestBatchOf(t *testing.T) {
	if n := batchOf(make([]todo.Record, copyRecords+1)); n != copyRecords {
		t.Errorf("small records: a batch of %d", n)
	}
	large := make([]todo.Record, 5)
	for i := range large {
		large[i].Todo.Description = new(strings.Repeat("x", copyBytes/2))
	}
	if n := batchOf(large); n != 2 {
		t.Errorf("records of half a batch each: a batch of %d", n)
	}
	large[0].Todo.Description = new(strings.Repeat("x", 2*copyBytes))
	if n := batchOf(large); n != 1 {
		t.Errorf("a record larger than a batch: a batch of %d", n)
	}
}
