package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// nowhere is a ResponseWriter without a connection, to measure only the handler.
type nowhere struct{ header http.Header }

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w *nowhere) WriteHeader(int)             {}

// BenchmarkGet compares a hit in L1 with a plain handler that marshals the same record. The
// difference is the cost of routing, request id, metrics, cache, entity tag and the headers
// Cache-Status and Server-Timing.
func BenchmarkGet(b *testing.B) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	record := todo.Todo{ID: "123", Name: "Water the plants", Description: ptr("The fern, too"), CreatedAt: now, UpdatedAt: now, Version: 1}
	b.Run("handler=bare", func(b *testing.B) {
		measure(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := json.Marshal(&record)
			if err != nil {
				b.Fatal(err)
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		}))
	})
	b.Run("handler=aside", func(b *testing.B) {
		cache, err := aside.New(aside.Options[string, todo.Todo]{})
		if err != nil {
			b.Fatal(err)
		}
		defer cache.Close(context.Background())
		svc := todo.NewService(todo.ServiceOptions{Store: todotest.New(record), Cache: cache})
		for cache.Stats().HitsL1 == 0 {
			if _, err := svc.Get(b.Context(), "123", aside.Default); err != nil {
				b.Fatal(err)
			}
		}
		h, err := httpapi.New(httpapi.Options{Service: svc})
		if err != nil {
			b.Fatal(err)
		}
		measure(b, h)
	})
}

func measure(b *testing.B, h http.Handler) {
	r, err := http.NewRequest("GET", "http://127.0.0.1/todos/123", nil)
	if err != nil {
		b.Fatal(err)
	}
	w := &nowhere{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}
