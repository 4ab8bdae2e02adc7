package asideotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/asidecache/aside"
)

// sentinels have no type of their own that would tell them apart.
var sentinels = []struct {
	err  error
	name string
}{
	{aside.ErrOverloaded, "aside.ErrOverloaded"},
	{aside.ErrClosed, "aside.ErrClosed"},
	{aside.ErrNestedLoad, "aside.ErrNestedLoad"},
	{aside.ErrUnacknowledged, "aside.ErrUnacknowledged"},
	{aside.ErrL2Unavailable, "aside.ErrL2Unavailable"},
	{aside.ErrL2Refused, "aside.ErrL2Refused"},
	{context.Canceled, "context.Canceled"},
	{context.DeadlineExceeded, "context.DeadlineExceeded"},
}

// errorType is the attribute error.type of the semantic conventions.
func errorType(err error) attribute.KeyValue {
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			return semconv.ErrorTypeKey.String(s.name)
		}
	}
	// What was wrapped by Aborted says more than that it was.
	for inner := err; errors.Is(inner, aside.ErrAborted) && inner != nil; inner = errors.Unwrap(inner) {
		if err = errors.Unwrap(inner); err == nil {
			return semconv.ErrorTypeKey.String("aside.ErrAborted")
		}
	}
	return semconv.ErrorType(err)
}
