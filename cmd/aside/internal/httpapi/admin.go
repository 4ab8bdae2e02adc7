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

// AdminOptions are the parts of the admin handler.
type AdminOptions struct {
	// Clear empties the cache; nil if there is none.
	Clear func(context.Context) error
	// Registry is shown at /metrics.
	Registry *prometheus.Registry
	// Hosts are the names that requests may be for. Nil means any.
	Hosts *Hosts
	Log   *slog.Logger
}

const (
	// maxProfile is the longest profile or trace.
	maxProfile = time.Minute
	// maxProfiles is how many pages of /debug/pprof/ are made at one time. Each
	// costs processor and memory.
	maxProfiles = 2
	// flushTime is how long a flush is waited for.
	flushTime = 10 * time.Minute
)

// Admin is what only the operator may reach: POST /flush, /debug/pprof/ and
// /metrics. It checks nobody's identity, so it belongs on a loopback listener.
func Admin(o AdminOptions) http.Handler {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	flushes := &slots{max: 1}
	mux.HandleFunc("POST /flush", func(w http.ResponseWriter, r *http.Request) {
		if o.Clear == nil {
			http.Error(w, "this server runs without a cache: there is nothing to flush", http.StatusConflict)
			return
		}
		if !flushes.take() {
			http.Error(w, "a flush is under way; wait for it to end", http.StatusConflict)
			return
		}
		defer flushes.give()
		// A Redis with many keys takes its time.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(flushTime))
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
				http.Error(w, fmt.Sprintf("%d profiles are being made; wait for them to end", maxProfiles), http.StatusServiceUnavailable)
				return
			}
			defer profiles.give()
			h(w, r)
		})
	}
	// Without pprof.Cmdline: the command line may hold a password.
	profile("GET /debug/pprof/", pprof.Index)
	profile("GET /debug/pprof/profile", pprof.Profile)
	profile("GET /debug/pprof/symbol", pprof.Symbol)
	profile("GET /debug/pprof/trace", pprof.Trace)
	hosts := cmp.Or(o.Hosts, AnyHost())
	// Without these, any web page that the operator has open could flush the
	// cache or start profiles.
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if err := hosts.check(r); err != nil {
			http.Error(w, "this server does not answer under the name in the request's Host header; --allowed-hosts adds names", http.StatusMisdirectedRequest)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); origin.Check(r) != nil || foreign(r) || site == "cross-site" || site == "same-site" {
			http.Error(w, "a browser sent this request on behalf of another site; type its address instead", http.StatusForbidden)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
