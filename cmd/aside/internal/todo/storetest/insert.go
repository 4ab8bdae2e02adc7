package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

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

// illegal: a store refuses records that it could not show. Caught: dates after the year
// 9999, which made it impossible to send their page; records of 15 MB.
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

// oldRecord: a record of an older system has only an id and a name, and can be updated.
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

	res, err = s.InsertMany(t.Context(), rs) // the same load again
	if err != nil || res.Inserted != 0 || res.Existing != len(rs) {
		t.Errorf("InsertMany again: %+v, %v, want all existing", res, err)
	}
	if n, err := s.Count(t.Context()); err != nil || n != 4 {
		t.Errorf("Count: %d, %v", n, err)
	}
}

// insertManyConcurrent: two loads of the same records insert each record once.
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
