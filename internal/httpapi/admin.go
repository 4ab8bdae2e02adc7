package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
)

// AdminOptions are the parts of the admin handler.
type AdminOptions struct {
	// Clear empties the cache; nil if there is none.
	Clear func(context.Context) error
	// Registry is shown at /metrics.
	Registry *prometheus.Registry
	Log      *slog.Logger
}

// Admin is what only the operator may reach: POST /flush, /debug/pprof/ and
// /metrics. It checks nobody's identity, so it belongs on a loopback listener.
func Admin(o AdminOptions) http.Handler {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /flush", func(w http.ResponseWriter, r *http.Request) {
		if o.Clear == nil {
			http.Error(w, "this server runs without a cache: there is nothing to flush", http.StatusConflict)
			return
		}
		err := o.Clear(r.Context())
		if err != nil {
			log.Error("flush failed", "error", err)
			status := http.StatusInternalServerError
			if errors.Is(err, context.DeadlineExceeded) {
				status = http.StatusGatewayTimeout
			}
			http.Error(w, "flush failed, the cache may be partly cleared: "+err.Error(), status)
			return
		}
		log.Info("cache flushed by the admin endpoint", "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("GET /metrics", metricsHandler(o.Registry))
	// Without pprof.Cmdline: the command line may hold a password.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	// Without this, any web page that the operator has open could send the POST.
	return http.NewCrossOriginProtection().Handler(mux)
}
