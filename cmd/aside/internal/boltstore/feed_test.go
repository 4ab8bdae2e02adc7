package boltstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

func feedOf(t testing.TB, s *Store) driver.Feed {
	t.Helper()
	f, err := s.Feed(todo.FeedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func openFeed(t testing.TB, s *Store, from driver.Position) driver.Stream {
	t.Helper()
	st, err := feedOf(t, s).Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// told reads a stream until it has told of the key "end".
func told(t testing.TB, st driver.Stream) (changes []driver.Change, all bool) {
	t.Helper()
	for {
		b, err := st.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = all || b.All
		for _, c := range b.Changes {
			if c.Key == "end" {
				return changes, all
			}
			changes = append(changes, c)
		}
	}
}

func raise(t todo.Todo) (todo.Todo, error) {
	t.Version++
	t.Name = fmt.Sprint("version ", t.Version)
	return t, nil
}

// inOne makes one transaction of several changes, as the writer does with those that arrive
// during a sync.
func inOne(t testing.TB, s *Store, changes ...func(*writeTx) error) {
	t.Helper()
	err := s.write(t.Context(), func(w *writeTx) error {
		var errs []error
		for _, f := range changes {
			errs = append(errs, f(w))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFeed(t *testing.T) {
	asidetest.TestFeed(t, func(t *testing.T) asidetest.Primary {
		s := mustOpen(t, t.TempDir())
		t.Cleanup(func() { _ = s.Close() })
		return asidetest.Primary{
			Feed: feedOf(t, s),
			Put: func(t testing.TB, keys ...string) {
				var put []func(*writeTx) error
				for _, k := range keys {
					put = append(put, func(w *writeTx) error {
						current, hidden, err := s.get(w.todos, k)
						if errors.Is(err, todo.ErrNotFound) {
							return w.insert(todo.Todo{ID: k, Name: "n", Version: 1})
						}
						next, _ := raise(current)
						return errors.Join(err, w.put(next, current.Version, hidden))
					})
				}
				inOne(t, s, put...)
			},
			Delete: func(t testing.TB, keys ...string) {
				var del []func(*writeTx) error
				for _, k := range keys {
					del = append(del, func(w *writeTx) error { return w.delete(k) })
				}
				inOne(t, s, del...)
			},
			Version: func(t testing.TB, key string) uint64 {
				r, err := s.Get(t.Context(), key)
				if err != nil && !errors.Is(err, todo.ErrNotFound) {
					t.Error(err)
				}
				return uint64(r.Version)
			},
			All:  func(t testing.TB) { s.log.add(nil) },
			Lose: func(t testing.TB) { lose(t, s) },
		}
	})
}

// lose makes as many changes as have the store forget the earlier ones.
func lose(t testing.TB, s *Store) {
	for range 2 * maxLog / maxTransaction {
		changes := make([]driver.Change, maxTransaction/2/changeBytes)
		for i := range changes {
			changes[i].Key = "lost"
		}
		s.log.add(changes)
	}
}

// Every way to change a record is told, with the version that it has then.
func TestFeedTellsEveryWrite(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	st := openFeed(t, s, nil)
	check := func(what string, err error) {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	check("insert", s.Insert(t.Context(), todo.Todo{ID: "a", Name: "n", Version: 1}))
	_, err := s.Update(t.Context(), "a", raise)
	check("update", err)
	_, err = s.InsertMany(t.Context(), []todo.Record{{Todo: todo.Todo{ID: "c", Name: "n", Version: 7}}, {Todo: todo.Todo{ID: "a", Name: "n", Version: 1}}})
	check("insert many", err)
	check("delete", s.Delete(t.Context(), "a", func(todo.Todo) error { return nil }))
	refused := errors.New("refused")
	if _, err := s.Update(t.Context(), "c", func(todo.Todo) (todo.Todo, error) { return todo.Todo{}, refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	check("end", s.Insert(t.Context(), todo.Todo{ID: "end", Name: "n"}))
	got, all := told(t, st)
	want := []driver.Change{{Key: "a", Version: 1}, {Key: "a", Version: 2}, {Key: "c", Version: 7}, {Key: "a", Deleted: true}}
	if !slices.Equal(got, want) || all {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// A change that does not raise the version is told without one. Otherwise a cache would take
// its older record for this one, and keep it.
func TestFeedWithoutARisingVersion(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	for _, r := range []todo.Todo{{ID: "a", Name: "n", Version: 5}, {ID: "old", Name: "n"}} {
		if err := s.Insert(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	st := openFeed(t, s, nil)
	for id, version := range map[string]int64{"a": 5, "old": 0} {
		if _, err := s.Update(t.Context(), id, func(r todo.Todo) (todo.Todo, error) {
			r.Name, r.Version = "changed", version
			return r, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Update(t.Context(), "a", func(r todo.Todo) (todo.Todo, error) { r.Version = 2; return r, nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "end", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	got, _ := told(t, st)
	if len(got) != 3 {
		t.Errorf("told %+v", got)
	}
	for _, c := range got {
		if c.Version != 0 || c.Deleted {
			t.Errorf("told %+v", c)
		}
	}
}

// The changes are those of this process: a position does not outlive it.
func TestFeedAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	st := openFeed(t, s, nil)
	p := st.Position()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Next(t.Context()); !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Next of a closed store: %v", err)
	}
	if _, err := feedOf(t, s).Open(t.Context(), p); !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Open of a closed store: %v", err)
	}
	again := mustOpen(t, dir)
	defer again.Close()
	if _, err := feedOf(t, again).Open(t.Context(), p); !errors.Is(err, driver.ErrGap) {
		t.Errorf("a position of the process before: %v, want ErrGap", err)
	}
}

// The memory of the changes has a limit. A transaction that would fill it is told as one
// after which everything may have changed; before anybody follows, nothing is kept.
func TestFeedMemoryIsLimited(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	defer s.Close()
	if lose(t, s); len(s.log.all) > 0 {
		t.Error("changes are kept though nobody follows")
	}
	st := openFeed(t, s, nil)
	if err := s.Insert(t.Context(), todo.Todo{ID: "a", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	var many []todo.Record
	for i := range insertChunk {
		many = append(many, todo.Record{Todo: todo.Todo{ID: fmt.Sprint(strings.Repeat("k", 100), i), Name: "n"}})
	}
	if _, err := s.InsertMany(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "end", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if got, all := told(t, st); !all || len(got) > 1 {
		t.Errorf("told %d changes, all: %v", len(got), all)
	}
	lose(t, s)
	s.log.mu.Lock()
	bytes := 0
	for _, tr := range s.log.all {
		bytes += tr.bytes
	}
	if s.log.bytes != bytes || bytes > maxLog {
		t.Errorf("%d bytes are kept, counted as %d; the limit is %d", bytes, s.log.bytes, maxLog)
	}
	s.log.mu.Unlock()
	if _, err := st.Next(t.Context()); !errors.Is(err, driver.ErrGap) {
		t.Errorf("a stream that is too far behind: %v, want ErrGap", err)
	}
}

// A feed that is opened while others write misses nothing that reads did not see. Caught: a
// transaction that had begun before anybody followed, and was committed after Open.
func TestFeedOpensWhileOthersWrite(t *testing.T) {
	for range 20 {
		s := mustOpen(t, t.TempDir())
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 10 {
					if err := s.Insert(t.Context(), todo.Todo{ID: fmt.Sprint(i, "-", n), Name: "n", Version: 1}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		streams := make([]driver.Stream, 2)
		before := make([]map[string]bool, 2)
		for i := range streams {
			wg.Go(func() {
				st, err := feedOf(t, s).Open(t.Context(), nil)
				if err != nil {
					t.Error(err)
					return
				}
				page, err := s.List(t.Context(), "", 1000)
				if err != nil {
					t.Error(err)
				}
				seen := map[string]bool{}
				for _, r := range page.Todos {
					seen[r.ID] = true
				}
				streams[i], before[i] = st, seen
			})
		}
		wg.Wait()
		if err := s.Insert(t.Context(), todo.Todo{ID: "end", Name: "n"}); err != nil {
			t.Fatal(err)
		}
		for i, st := range streams {
			if t.Failed() {
				break
			}
			got, _ := told(t, st)
			for _, c := range got {
				before[i][c.Key] = true
			}
			if n := len(before[i]); n != 80 {
				t.Errorf("of 80 records, %d were read after Open or told", n)
			}
			_ = st.Close()
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
