package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// AdminOptions configure the admin handler.
type AdminOptions struct {
	// Clear empties the cache; nil if there is none.
	Clear func(context.Context) error
	// Registry holds the metrics at /metrics.
	Registry *prometheus.Registry
	// Ops answers /ops/...; nil if there is none.
	Ops http.Handler
	// Waiting: the server waits for its store, so there is no cache yet. POST /flush
	// answers 503. Ops should be WaitingOps.
	Waiting bool
	// Hosts are the host names that requests may use. Nil means any.
	Hosts *Hosts
	Log   *slog.Logger
}

const (
	// maxProfile is the longest profile or trace.
	maxProfile = time.Minute
	// maxProfiles is the maximum number of concurrent requests to /debug/pprof/. Each
	// of them needs CPU time and memory.
	maxProfiles = 2
	// flushTime is the timeout of a flush.
	flushTime = 10 * time.Minute
	// waiting is what a server answers while it waits for its store.
	waiting = "This server waits for its database, which it has not reached since it started. Its log says why. Try again later."
)

// WaitingOps answers the calls of operators while the server waits for its store.
func WaitingOps() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "1")
		WriteProblem(w, http.StatusServiceUnavailable, "store_unavailable", waiting)
	})
}

// Admin returns the handler for operators: POST /flush, /ops/, /debug/pprof/ and /metrics. It
// has no authentication, so serve it on a loopback listener only.
func Admin(o AdminOptions) http.Handler {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	flushes := &slots{max: 1}
	mux.HandleFunc("POST /flush", func(w http.ResponseWriter, r *http.Request) {
		if o.Waiting {
			w.Header().Set("Retry-After", "1")
			http.Error(w, waiting, http.StatusServiceUnavailable)
			return
		}
		if o.Clear == nil {
			http.Error(w, "this server has no cache, so there is nothing to flush", http.StatusConflict)
			return
		}
		if !flushes.take() {
			http.Error(w, "another flush is running; try again when it has ended", http.StatusConflict)
			return
		}
		defer flushes.give()
		// This takes long if Redis has many keys.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(flushTime))
		err := o.Clear(r.Context())
		if err != nil {
			log.Error("flush failed", "error", err)
			status := http.StatusInternalServerError
			if errors.Is(err, context.DeadlineExceeded) {
				status = http.StatusGatewayTimeout
			}
			http.Error(w, "flush failed, the cache may be partly flushed: "+err.Error(), status)
			return
		}
		log.Info("cache flushed through the admin listener", "remote", r.RemoteAddr)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.Handle("GET /metrics", metricsHandler(o.Registry))
	if o.Ops != nil {
		mux.Handle("/ops/", o.Ops)
	}
	profiles := &slots{max: maxProfiles}
	profile := func(pattern string, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if text := r.FormValue("seconds"); text != "" {
				if n, err := strconv.ParseFloat(text, 64); err != nil || !(n >= 0 && n <= maxProfile.Seconds()) {
					http.Error(w, fmt.Sprintf("seconds must be a number from 0 to %v", maxProfile.Seconds()), http.StatusBadRequest)
					return
				}
			}
			if !profiles.take() {
				w.Header().Set("Retry-After", "1")
				http.Error(w, fmt.Sprintf("%d profiles are running, which is the maximum; try again when one has ended", maxProfiles), http.StatusServiceUnavailable)
				return
			}
			defer profiles.give()
			h(w, r)
		})
	}
	// pprof.Cmdline is missing: the command line may contain a password.
	profile("GET /debug/pprof/", pprof.Index)
	profile("GET /debug/pprof/profile", pprof.Profile)
	profile("GET /debug/pprof/symbol", pprof.Symbol)
	profile("GET /debug/pprof/trace", pprof.Trace)
	hosts := cmp.Or(o.Hosts, AnyHost())
	// Without these checks, any web page in the operator's browser could flush the
	// cache or start profiles.
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if err := hosts.check(r); err != nil {
			http.Error(w, "the host name in the Host header is not allowed; the flag --allowed-hosts adds names", http.StatusMisdirectedRequest)
			return
		}
		if origin.Check(r) != nil || otherSite(r) {
			http.Error(w, "a web page of another site sent this request; open the URL directly instead", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
