package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// readyTimeout bounds the question to the store: an orchestrator's own
// time-out is often a second or two.
const readyTimeout = time.Second

// health answers /healthz.
type health struct {
	Status string `json:"status" enum:"ok"`
}

// readiness answers /readyz.
type readiness struct {
	Status string         `json:"status" enum:"ready,degraded,unavailable,leaving" doc:"degraded still answers every request, at a cost to the store. leaving is about to shut down."`
	Store  componentState `json:"store"`
	Cache  componentState `json:"cache"`
}

type componentState struct {
	Status string `json:"status" enum:"ok,degraded,unavailable,off"`
	Reason string `json:"reason,omitempty"`
}

func (s *Server) healthz(ex *exchange, r *http.Request) {
	ex.writeJSON(http.StatusOK, health{Status: "ok"})
}

func (s *Server) readyz(ex *exchange, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	state := readiness{
		Status: "ready",
		Store:  componentState{Status: "ok"},
		Cache:  componentState{Status: "off"},
	}
	if s.cacheStats != nil {
		state.Cache.Status = "ok"
		if stats := s.cacheStats(); stats.Degraded {
			state.Status = "degraded"
			state.Cache = componentState{Status: "degraded", Reason: stats.DegradedReason}
		}
	}
	status := http.StatusOK
	if err := s.svc.Ping(ctx); err != nil {
		// The driver's text may name hosts and users: it is for the log.
		ex.cause = err
		status = http.StatusServiceUnavailable
		state.Status = "unavailable"
		state.Store = componentState{Status: "unavailable", Reason: "the store does not answer; the log has the reason under request id " + ex.id}
		ex.Header()["Retry-After"] = []string{"1"}
	}
	if s.leaving.Load() {
		status, state.Status = http.StatusServiceUnavailable, "leaving"
	}
	ex.writeJSON(status, state)
}

func (ex *exchange) writeJSON(status int, v any) {
	body := mustEncode(v)
	h := ex.Header()
	h["Content-Type"] = valueJSON
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	ex.WriteHeader(status)
	ex.Write(body)
}
