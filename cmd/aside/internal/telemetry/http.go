package telemetry

import (
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Handler returns h with a span for each request to the API, of the trace that the
// client has begun, if it says so in traceparent. Pages, streams and health checks have
// none.
func (t *Telemetry) Handler(h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/todos" && !strings.HasPrefix(r.URL.Path, "/todos/") {
			h.ServeHTTP(w, r)
			return
		}
		ctx := t.carrier.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, method(r.Method), trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(semconv.HTTPRequestMethodKey.String(method(r.Method)), semconv.URLPath(r.URL.Path), semconv.URLScheme(scheme(r))))
		defer span.End()
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Finished is for httpapi.Options: it tells what became of a request. r has the context
// of Handler.
func (t *Telemetry) Finished(r *http.Request, pattern string, status int, took time.Duration) {
	if t == nil || !strings.HasPrefix(pattern, "/todos") {
		return
	}
	t.took.Record(r.Context(), took.Seconds(), metric.WithAttributes(
		semconv.HTTPRequestMethodKey.String(method(r.Method)), semconv.HTTPRoute(pattern),
		semconv.HTTPResponseStatusCode(status), semconv.URLScheme(scheme(r))))
	span := trace.SpanFromContext(r.Context())
	if !span.IsRecording() {
		return
	}
	span.SetName(method(r.Method) + " " + pattern)
	span.SetAttributes(semconv.HTTPRoute(pattern), semconv.HTTPResponseStatusCode(status))
	if status >= 500 {
		span.SetStatus(codes.Error, http.StatusText(status))
	}
}

// method is one that HTTP has, so that a client cannot make up names of metrics.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "_OTHER"
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
