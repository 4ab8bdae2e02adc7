package boltstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
)

// A store with a latency is a store like any other.
func TestSlowStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) todo.Store { return todo.Slow(mustOpen(t, t.TempDir()), time.Microsecond) })
}

// Its feed tells what the feed behind it tells.
func TestSlowFeed(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	slow := todo.Slow(s, 2*time.Millisecond)
	f, err := slow.(todo.Feeder).Feed(todo.FeedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, id := range []string{"a", "end"} {
		if err := slow.Insert(t.Context(), todo.Todo{ID: id, Name: "n", Version: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := told(t, st); len(got) != 1 || got[0].Key != "a" || got[0].Version != 1 {
		t.Errorf("told %+v", got)
	}
	if p := st.Position(); len(p) == 0 {
		t.Error("no position")
	}
}

// The wait is part of a call, and ends with its context. A write whose wait ends before the
// store was asked was not made; one that was made is answered, however short of time.
func TestSlowWaits(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	const latency = 40 * time.Millisecond
	slow := todo.Slow(s, latency)
	begun := time.Now()
	if err := slow.Insert(t.Context(), todo.Todo{ID: "a", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 2*latency*8/10 {
		t.Errorf("a write and a read took %v, with a latency of %v", took, latency)
	}
	never := todo.Slow(s, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := never.Get(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get: %v", err)
	}
	if err := never.Insert(ctx, todo.Todo{ID: "b", Name: "n"}); !errors.Is(err, todo.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Insert: %v", err)
	}
	if n, _ := s.Count(t.Context()); n != 1 {
		t.Errorf("%d records", n)
	}
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	if _, err := slow.Update(ctx, "a", func(r todo.Todo) (todo.Todo, error) { cancel(); return raise(r) }); err != nil {
		t.Errorf("a write that was made: %v", err)
	}
	if todo.Slow(s, 0) != todo.Store(s) {
		t.Error("no latency is not the store itself")
	}
}
