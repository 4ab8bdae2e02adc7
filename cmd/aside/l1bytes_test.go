package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Records of any size need at most --l1-bytes of memory, and there are at most --l1-size of
// them. Caught: only a limit by number, with which 100,000 of the largest records need 6.7
// GB; and cached absences without a cost, of which a client can create any number.
func TestL1Bytes(t *testing.T) {
	const bytes = 8 << 20
	largest := strings.Repeat("d", todo.MaxDescriptionBytes)
	for name, tc := range map[string]struct {
		id          string
		description *string
		absent      bool
		size, n     int
		kept        int // the minimum: the cost must not be far too high either
	}{
		"the largest":           {description: &largest, size: 100_000, n: 500, kept: 100},
		"small ones":            {size: 1_000_000, n: 50_000, kept: 20_000},
		"few small ones":        {size: 1000, n: 5_000, kept: 900},
		"absences of long ids":  {id: strings.Repeat("i", 240), absent: true, size: 1_000_000, n: 25_000, kept: 7_000},
		"absences of short ids": {absent: true, size: 1_000_000, n: 50_000, kept: 20_000},
	} {
		t.Run(name, func(t *testing.T) {
			o := (&CacheFlags{L1Size: tc.size, L1Bytes: bytes, NegativeTTL: 1 << 40}).options("n", slog.Default())
			cache, err := aside.New(o)
			if err != nil {
				t.Fatal(err)
			}
			before := heap()
			load := aside.LoaderFunc[string, todo.Todo](func(_ context.Context, id string) (todo.Todo, error) {
				if tc.absent {
					return todo.Todo{}, aside.ErrNotFound
				}
				d := todo.Todo{ID: strings.Clone(id), Name: "todo " + id}
				if tc.description != nil {
					s := strings.Clone(*tc.description)
					d.Description = &s
				}
				return d, nil
			})
			for i := range tc.n {
				if _, err := cache.Get(t.Context(), fmt.Sprintf("%s%d", tc.id, i), load); (err != nil) != tc.absent {
					t.Fatal(err)
				}
			}
			took := heap() - before
			s := cache.Stats()
			t.Logf("%d entries of %d, %.1f MiB, by their cost %.1f", s.L1Entries, tc.n, float64(took)/(1<<20), float64(s.L1Cost)/(1<<20))
			if took > bytes*5/4 || s.L1Cost > bytes*11/10 {
				t.Errorf("they take %d bytes, by their cost %d; the bound is %d", took, s.L1Cost, bytes)
			}
			if s.L1Entries < tc.kept || s.L1Entries > tc.size*11/10 {
				t.Errorf("%d are kept, want %d to %d", s.L1Entries, tc.kept, tc.size)
			}
			if err := cache.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if most, cost := l1Cost(1, 1<<40); cost("1", todo.Todo{}) != math.MaxUint32 || most != math.MaxUint32 {
		t.Errorf("one record in a terabyte: %d of %d", cost("1", todo.Todo{}), most)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
