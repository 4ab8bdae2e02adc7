package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// readyTimeout is the timeout of the store's ping. Orchestrators often time out after a
// second or two themselves.
const readyTimeout = time.Second

// health answers /healthz.
type health struct {
	Status string `json:"status" enum:"ok"`
}

// readiness answers /readyz.
type readiness struct {
	Status string         `json:"status" enum:"ready,degraded,unavailable,leaving" doc:"degraded: every request is answered, but the shared cache is unavailable, so the store has more load, or the feed is required and not followed; or calls of the store fail although it answers a ping. leaving: the server is shutting down."`
	Store  storeState     `json:"store"`
	Cache  componentState `json:"cache"`
	Feed   *feedState     `json:"feed,omitempty" doc:"Absent if the cache follows no feed of the store's changes."`
}

type storeState struct {
	Status       string `json:"status" enum:"ok,degraded,unavailable"`
	Reason       string `json:"reason,omitempty"`
	AddedLatency string `json:"added_latency,omitempty" doc:"What this server adds to the time of each call of the store, for demonstrations."`
}

type feedState struct {
	Fed     bool   `json:"fed" doc:"Changes that are made past the service are seen within milliseconds. Otherwise they are seen when the TTL of the record ends."`
	Follows bool   `json:"follows" doc:"This server follows the feed for all servers."`
	Reason  string `json:"reason,omitempty" doc:"Why it is not fed."`
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
		Store:  storeState{Status: "ok"},
		Cache:  componentState{Status: "off"},
	}
	if s.cacheStats != nil {
		state.Cache.Status = "ok"
		stats := s.cacheStats()
		if stats.Degraded {
			state.Status = "degraded"
			state.Cache = componentState{Status: "degraded", Reason: stats.DegradedReason}
		}
		if f := stats.Feed; f.Attached {
			state.Feed = &feedState{Fed: f.Fed, Follows: f.Leads, Reason: f.Reason}
			if !f.Fed && s.feedRequired {
				state.Status = "degraded"
			}
		}
	}
	status := http.StatusOK
	if err := s.svc.Ping(ctx); err != nil {
		// The error of the driver may contain hosts and users, so only the log has it.
		ex.cause = err
		status = http.StatusServiceUnavailable
		state.Status = "unavailable"
		state.Store = storeState{Status: "unavailable", Reason: "the store does not answer; the server's log has the reason under request id " + ex.id}
		ex.Header()["Retry-After"] = []string{"1"}
	} else if s.storeFailing != nil {
		if d := s.storeFailing(); d > 0 {
			state.Status = "degraded"
			state.Store = storeState{Status: "degraded", Reason: fmt.Sprintf("it answers a ping, but calls have failed for %v; the server's log has the reason", d.Round(time.Second))}
		}
	}
	if s.latency > 0 {
		state.Store.AddedLatency = s.latency.String()
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
