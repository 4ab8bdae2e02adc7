package todo_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

func TestDayTag(t *testing.T) {
	for at, want := range map[time.Time]string{
		{}: "created:unknown",
		time.Date(2026, 11, 29, 23, 59, 59, 0, time.UTC):                       "created:2026-11-29",
		time.Date(2026, 11, 30, 1, 0, 0, 0, time.FixedZone("", 2*60*60)):       "created:2026-11-29",
		time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC):                               "created:0001-01-01",
		time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -30*60)).UTC(): "created:9999-12-31",
	} {
		got := todo.DayTag(at)
		if got != want || todo.CheckTag(got) != nil {
			t.Errorf("%v: %q, want %q; %v", at, got, want, todo.CheckTag(got))
		}
	}
	for _, tag := range []string{"", "created", "created:", "created:2026-02-30", "created:2026-2-3", "2026-11-29", "created:unknown ", "Created:unknown", "created:2026-11-29T00:00:00Z"} {
		if todo.CheckTag(tag) == nil {
			t.Errorf("%q is a tag", tag)
		}
	}
}

// Whatever puts a record into the cache gives it the tag of its day: a read, a batch, a
// write; single reads that miss together too. The tag of a day drops these records on all
// nodes, and no other.
// Caught: a batch read, and the publication of a write, without tags; misses that are
// loaded together without them; absences with a tag.
func TestTagsOfDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		day := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
		store := todotest.New(
			todo.Todo{ID: "read", CreatedAt: day}, todo.Todo{ID: "batch", CreatedAt: day}, todo.Todo{ID: "together", CreatedAt: day},
			todo.Todo{ID: "written", Name: "n", CreatedAt: day}, todo.Todo{ID: "next", CreatedAt: day.Add(12 * time.Hour)}, todo.Todo{ID: "old"})
		server := new(asidetest.Server)
		caches := map[*todo.Service]*aside.Cache[string, todo.Todo]{}
		node := func() *todo.Service {
			o := aside.Options[string, todo.Todo]{Name: "c", L2: server.NewClient(), Bulk: aside.BulkLimits{Wait: time.Millisecond}}
			todo.SetLoaders(&o, store, true)
			cache, err := aside.New(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cache.Close(context.Background()) })
			s := todo.NewService(todo.ServiceOptions{Store: store, Cache: cache, CacheLoads: true, TagDays: true, Now: func() time.Time { return day }})
			caches[s] = cache
			return s
		}
		a, b := node(), node()
		_, err := a.GetMany(t.Context(), []string{"batch"}, aside.Default)
		name := "changed"
		_, err2 := a.Patch(t.Context(), "written", todo.Patch{Name: &name}, nil)
		_, err3 := a.Create(t.Context(), todo.Draft{ID: "created", Name: "n"})
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		get := func(s *todo.Service, id string) todo.Found {
			t.Helper()
			f, err := s.Get(t.Context(), id, aside.Default)
			if err != nil && !errors.Is(err, todo.ErrNotFound) {
				t.Fatal(err)
			}
			synctest.Wait()
			return f
		}
		done := make(chan bool)
		for _, id := range []string{"read", "together"} {
			go func() { _, _ = a.Get(t.Context(), id, aside.Default); done <- true }()
		}
		<-done
		<-done
		synctest.Wait()
		want := map[string]string{
			"read": "created:2026-11-29", "together": "created:2026-11-29", "batch": "created:2026-11-29", "written": "created:2026-11-29",
			"created": "created:2026-11-29", "next": "created:2026-11-30", "old": "created:unknown", "absent": "",
		}
		tagsOf := func(f todo.Found) string {
			if len(f.Tags) == 0 {
				return ""
			}
			return f.Tags[0]
		}
		for id, tag := range want {
			get(a, id)
			for name, s := range map[string]*todo.Service{"this node": a, "the other node": b} {
				if f := get(s, id); tagsOf(f) != tag || len(f.Tags) > 1 || f.Source == aside.SourceLoad {
					t.Errorf("%s, on %s: tags %q from %v, want %q", id, name, f.Tags, f.Source, tag)
				}
			}
		}
		if err := caches[a].InvalidateTag(t.Context(), "created:2026-11-29"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for id, tag := range want {
			f := get(b, id)
			if dropped := f.Source == aside.SourceLoad; dropped != (tag == "created:2026-11-29") {
				t.Errorf("%s, with the tag %q: dropped: %v", id, tag, dropped)
			}
		}
	})
}
