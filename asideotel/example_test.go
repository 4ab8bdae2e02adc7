package asideotel_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideotel"
)

// The spans of a read that no tier could answer.
func ExampleNew() {
	spans := tracetest.NewInMemoryExporter() // in your program: an exporter that sends
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))

	telemetry, err := asideotel.New("users", asideotel.Options{TracerProvider: provider})
	if err != nil {
		panic(err)
	}
	cache, err := aside.New(aside.Options[int, string]{Observer: telemetry.Observer()})
	if err != nil {
		panic(err)
	}
	defer cache.Close(context.Background())
	stop, err := telemetry.Measure(cache.Stats)
	if err != nil {
		panic(err)
	}
	defer stop()

	loader := aside.LoaderFunc[int, string](func(context.Context, int) (string, error) { return "Ada", nil })
	for range 3 {
		_, _ = cache.Get(context.Background(), 7, loader)
	}
	for _, s := range spans.GetSpans() {
		fmt.Println(s.Name)
	}
	// Unordered output:
	// load users
	// read users
}
