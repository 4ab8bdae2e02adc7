package todo_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"go.uber.org/goleak"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newService(t *testing.T, records ...todo.Todo) (*todo.Service, *todotest.Store, *aside.Cache[string, todo.Todo]) {
	t.Helper()
	store := todotest.New(records...)
	cache, err := aside.New(aside.Options[string, todo.Todo]{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close(context.Background()) })
	return todo.NewService(todo.ServiceOptions{Store: store, Cache: cache}), store, cache
}

func ptr[T any](v T) *T { return &v }

func TestCheckID(t *testing.T) {
	for id, ok := range map[string]bool{
		"1": true, "a/b": true, "é 😀": true, "...": true, strings.Repeat("x", 256): true, "a,b%": true,
		"": false, ".": false, "..": false, "a\x00": false, "a\u0085": false, "\xff": false, strings.Repeat("é", 129): false,
	} {
		if err := todo.CheckID(id); (err == nil) != ok {
			t.Errorf("CheckID(%q) = %v", id, err)
		}
	}
}

// With invisible characters one id can look like another. They are refused in new ids, but
// existing records can be read. Caught: a check of direction marks only, which accepted soft
// hyphens, tags and Hangul fillers.
func TestInvisibleIDs(t *testing.T) {
	s, store, _ := newService(t)
	for _, r := range []rune{
		0x202A, 0x202E, 0x2066, 0x2069, 0x200B, 0x200D, 0x200F, 0xFEFF, 0x00AD, 0x061C, 0x2028, 0x2060, 0x180E, 0x3164, 0x115F, 0xFE0F, 0xE0041, 0xE0100, 0x034F,
	} {
		id := "a" + string(r) + "b"
		_, err := s.Create(context.Background(), todo.Draft{ID: id, Name: "n"})
		var invalid *todo.ValidationError
		if !errors.As(err, &invalid) || invalid.Fields[0].Field != "id" || !strings.Contains(err.Error(), fmt.Sprintf("%U", r)) || strings.Contains(err.Error(), id) {
			t.Errorf("%U: %v", r, err)
		}
		store.Put(todo.Todo{ID: id, Name: "n"})
		if got, err := s.Get(context.Background(), id, aside.Default); err != nil || got.Todo.ID != id {
			t.Errorf("%U: one that is there already: %v", r, err)
		}
	}
	for _, id := range []string{"é", "e\u0301", "日本語", "a b", "😀", "\u00a0", "नमस्ते", "ไทย"} {
		if err := todo.CheckNewID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// The shortcuts of Invisible agree with the tables of Unicode.
func TestInvisible(t *testing.T) {
	for r := rune(unicode.MaxASCII + 1); r <= unicode.MaxRune; r++ {
		want := unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
		if got := todo.Invisible(r); got != want {
			t.Fatalf("%U: %v, want %v", r, got, want)
		}
	}
}

// A record that cannot be shown does not fail the other records. Caught: a batch that
// treated it as absent, and cached that.
func TestUnreadableRecord(t *testing.T) {
	for _, cached := range []bool{true, false} {
		s, store, _ := newService(t)
		if !cached {
			s = todo.NewService(todo.ServiceOptions{Store: store})
		}
		store.Put(todo.Todo{ID: "1", Name: "n"})
		store.Put(todo.Todo{ID: "2", Name: strings.Repeat("x", todo.MaxRecordBytes)})
		ctx := context.Background()
		for range 2 {
			found, err := s.GetMany(ctx, []string{"1", "2", "3"}, aside.Default)
			if err != nil {
				t.Fatal(err)
			}
			if r := found.Results["1"]; r.Err != nil || r.Value.Name != "n" {
				t.Errorf("cached %v: the good one: %v", cached, r.Err)
			}
			if r := found.Results["2"]; !errors.Is(r.Err, todo.ErrUnreadable) || errors.Is(r.Err, todo.ErrNotFound) {
				t.Errorf("cached %v: the large one: %v", cached, r.Err)
			}
			if r := found.Results["3"]; !errors.Is(r.Err, todo.ErrNotFound) {
				t.Errorf("cached %v: the absent one: %v", cached, r.Err)
			}
		}
		if _, err := s.Get(ctx, "2", aside.Default); !errors.Is(err, todo.ErrUnreadable) {
			t.Errorf("cached %v: Get: %v", cached, err)
		}
		if page, err := s.List(ctx, "", 10); err != nil || len(page.Todos) != 1 || len(page.Unreadable) != 1 {
			t.Errorf("cached %v: List: %+v, %v", cached, page.Unreadable, err)
		}
		if _, err := s.Patch(ctx, "2", todo.Patch{Name: ptr("n")}, nil); err != nil {
			t.Errorf("cached %v: a patch that mends it: %v", cached, err)
		}
		store.Put(todo.Todo{ID: "2", Name: strings.Repeat("x", todo.MaxRecordBytes)})
		if _, err := s.Patch(ctx, "2", todo.Patch{Completed: ptr(true)}, nil); !errors.Is(err, todo.ErrInvalid) {
			t.Errorf("cached %v: a patch that leaves it large: %v", cached, err)
		}
		if _, err := s.Patch(ctx, "2", todo.Patch{Completed: ptr(false)}, nil); !errors.Is(err, todo.ErrUnreadable) {
			t.Errorf("cached %v: a patch of nothing: %v", cached, err)
		}
		if err := s.Delete(ctx, "2", nil); err != nil {
			t.Errorf("cached %v: Delete: %v", cached, err)
		}
	}
}

// The largest possible version stays. Caught: the next one, which is negative.
func TestLargestVersion(t *testing.T) {
	s, _, _ := newService(t, todo.Todo{ID: "1", Name: "n", Version: math.MaxInt64})
	got, err := s.Patch(context.Background(), "1", todo.Patch{Name: ptr("new")}, nil)
	if err != nil || got.Version != math.MaxInt64 || got.Name != "new" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCreateReportsEveryFault(t *testing.T) {
	s, store, _ := newService(t)
	_, err := s.Create(context.Background(), todo.Draft{ID: "..", Description: ptr(strings.Repeat("x", todo.MaxDescriptionBytes+1))})
	var invalid *todo.ValidationError
	if !errors.As(err, &invalid) || !errors.Is(err, todo.ErrInvalid) {
		t.Fatalf("err = %v", err)
	}
	var fields []string
	for _, f := range invalid.Fields {
		fields = append(fields, f.Field)
	}
	if fmt.Sprint(fields) != "[id name description]" {
		t.Errorf("faults in %v", fields)
	}
	if store.Calls("insert") != 0 {
		t.Error("the store was asked")
	}
}

func TestTimesAreWhatBSONKeeps(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_999_999, time.FixedZone("x", 3600))
	s := todo.NewService(todo.ServiceOptions{Store: todotest.New(), Now: func() time.Time { return at }})
	got, err := s.Create(context.Background(), todo.Draft{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, 1, 2, 2, 4, 5, 678_000_000, time.UTC)
	if got.CreatedAt != want || got.UpdatedAt != want {
		t.Errorf("times %v and %v, want %v", got.CreatedAt, got.UpdatedAt, want)
	}
}

// After a definite refusal the record can be cached at once. After an unknown outcome it must
// not be cached, since the store may still apply the write. Seen to fail with every error
// marked as Aborted.
func TestOnlyUnknownOutcomesKeepTheFence(t *testing.T) {
	for _, tt := range []struct {
		err   error
		known bool
	}{
		{todo.ErrNotFound, true}, {todo.ErrPrecondition, true}, {todo.ErrUnavailable, true},
		{fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, todo.ErrUnavailable), false},
		{context.DeadlineExceeded, false},
		{errors.New("never seen"), false},
	} {
		if got := todo.Definite(tt.err); got != tt.known {
			t.Errorf("Definite(%v) = %v", tt.err, got)
		}
		synctest.Test(t, func(t *testing.T) {
			s, store, cache := newService(t, todo.Todo{ID: "1", Name: "old"})
			ctx := context.Background()
			store.After(func(string, string) error { return tt.err })
			if _, err := s.Patch(ctx, "1", todo.Patch{Name: ptr("new")}, nil); !errors.Is(err, tt.err) {
				t.Fatalf("Patch: %v, want %v", err, tt.err)
			}
			store.After(nil)
			if n := cache.Stats().WritesUnknown; (n == 0) != tt.known {
				t.Errorf("after %v: %d writes of unknown outcome", tt.err, n)
			}
			if _, err := s.Get(ctx, "1", aside.Default); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // for L1 to be filled, as far as it is
			store.Put(todo.Todo{ID: "1", Name: "late"})
			time.Sleep(2 * time.Second)
			f, err := s.Get(ctx, "1", aside.Default)
			if err != nil {
				t.Fatal(err)
			}
			if cached := f.Todo.Name != "late"; cached != tt.known {
				t.Errorf("after %v: the record is cached for long: %v", tt.err, cached)
			}
		})
	}
}

// The next read sees every write, and a concurrent read leaves no older record in the cache.
// Seen to fail with writes to the store without cache.Write.
func TestReadsSeeWrites(t *testing.T) {
	s, store, _ := newService(t)
	ctx := context.Background()
	name := func() string {
		f, err := s.Get(ctx, "1", aside.Default)
		if errors.Is(err, todo.ErrNotFound) {
			return "(none)"
		}
		if err != nil {
			t.Fatal(err)
		}
		return f.Todo.Name
	}
	if got := name(); got != "(none)" {
		t.Fatalf("read %q", got)
	}
	for _, step := range []struct {
		want  string
		write func() error
	}{
		{"a", func() error { _, err := s.Create(ctx, todo.Draft{ID: "1", Name: "a"}); return err }},
		{"b", func() error { _, err := s.Replace(ctx, "1", todo.Replacement{Name: "b"}, nil); return err }},
		{"c", func() error { _, err := s.Patch(ctx, "1", todo.Patch{Name: ptr("c")}, nil); return err }},
		{"(none)", func() error { return s.Delete(ctx, "1", nil) }},
		{"d", func() error { _, err := s.Create(ctx, todo.Draft{ID: "1", Name: "d"}); return err }},
	} {
		// A read gets the old value from the store and is delayed until after the
		// write.
		gate, entered := make(chan struct{}), make(chan struct{})
		var held atomic.Bool
		store.Before(func(_ context.Context, op, _ string) error {
			if op == "get" && held.CompareAndSwap(false, true) {
				close(entered)
				<-gate
			}
			return nil
		})
		slow := make(chan struct{})
		go func() {
			defer close(slow)
			s.Get(ctx, "1", aside.Strong)
		}()
		<-entered
		if err := step.write(); err != nil {
			t.Fatalf("write of %q: %v", step.want, err)
		}
		if got := name(); got != step.want {
			t.Errorf("read %q after the write of %q", got, step.want)
		}
		close(gate)
		<-slow
		if got := name(); got != step.want {
			t.Errorf("read %q after the slow read, want %q", got, step.want)
		}
	}
}

func TestUnchangedUpdateWritesNothing(t *testing.T) {
	s, _, cache := newService(t, todo.Todo{ID: "1", Name: "n", Description: ptr("d"), Version: 4})
	got, err := s.Replace(context.Background(), "1", todo.Replacement{Name: "n", Description: ptr("d")}, nil)
	if err != nil || got.Version != 4 || got.Name != "n" {
		t.Fatalf("Replace = %+v, %v", got, err)
	}
	got, err = s.Replace(context.Background(), "1", todo.Replacement{Name: "n"}, nil)
	if err != nil || got.Version != 5 || got.Description != nil {
		t.Fatalf("Replace = %+v, %v", got, err)
	}
	if n := cache.Stats().WritesUnknown; n != 0 {
		t.Errorf("%d writes of unknown outcome", n)
	}
}

func TestPreconditionSeesTheCurrentRecord(t *testing.T) {
	s, store, _ := newService(t, todo.Todo{ID: "1", Name: "n", Version: 1})
	ctx := context.Background()
	if _, err := s.Get(ctx, "1", aside.Default); err != nil {
		t.Fatal(err)
	}
	// Changed by another program: the cache still has version 1.
	store.Put(todo.Todo{ID: "1", Name: "other", Version: 2})
	isV1 := func(t todo.Todo) bool { return t.Version == 1 }
	if _, err := s.Patch(ctx, "1", todo.Patch{Name: ptr("mine")}, isV1); !errors.Is(err, todo.ErrPrecondition) {
		t.Errorf("Patch: %v", err)
	}
	if err := s.Delete(ctx, "1", isV1); !errors.Is(err, todo.ErrPrecondition) {
		t.Errorf("Delete: %v", err)
	}
	// The refused write has removed the old copy.
	f, err := s.Get(ctx, "1", aside.Default)
	if err != nil || f.Todo.Name != "other" {
		t.Errorf("Get = %+v, %v", f.Todo, err)
	}
}

func TestGetManyKeepsFailuresApart(t *testing.T) {
	s, store, _ := newService(t, todo.Todo{ID: "1", Name: "one"})
	ctx := context.Background()
	if _, err := s.GetMany(ctx, []string{"1", "none", "1"}, aside.Default); err != nil {
		t.Fatal(err)
	}
	store.FailWith(todo.ErrUnavailable)
	f, err := s.GetMany(ctx, []string{"1", "none", "cold"}, aside.Default)
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Results["1"]; r.Err != nil || r.Value.Name != "one" {
		t.Errorf("1: %+v", r)
	}
	if r := f.Results["none"]; !errors.Is(r.Err, todo.ErrNotFound) {
		t.Errorf("none: %+v", r)
	}
	if r := f.Results["cold"]; !errors.Is(r.Err, todo.ErrUnavailable) {
		t.Errorf("cold: %+v", r)
	}
}

func TestObserve(t *testing.T) {
	seen := map[string]error{}
	store := todo.Observe(todotest.New(), func(op string, took time.Duration, err error) {
		if took < 0 {
			t.Errorf("%s took %v", op, took)
		}
		seen[op] = err
	})
	ctx := context.Background()
	store.Get(ctx, "1")
	store.GetMany(ctx, nil)
	store.List(ctx, "", 1)
	store.Insert(ctx, todo.Todo{ID: "1"})
	store.Update(ctx, "1", func(t todo.Todo) (todo.Todo, error) { return t, nil })
	store.Delete(ctx, "1", func(todo.Todo) error { return nil })
	store.InsertMany(ctx, nil)
	store.Ping(ctx)
	if len(seen) != 8 || !errors.Is(seen["get"], todo.ErrNotFound) || seen["insert"] != nil {
		t.Errorf("seen %v", seen)
	}
}
