package httpapi

import (
	"context"
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
	Status       string    `json:"status" enum:"ok,degraded,unavailable"`
	Reason       string    `json:"reason,omitempty"`
	Since        time.Time `json:"since,omitzero" doc:"Since when it is not ok, as far as this server knows. Absent if it is ok."`
	AddedLatency string    `json:"added_latency,omitempty" doc:"What this server adds to the time of each call of the store, for demonstrations."`
}

type feedState struct {
	Fed     bool      `json:"fed" doc:"Changes that are made past the service are seen within milliseconds. Otherwise they are seen when the TTL of the record ends."`
	Follows bool      `json:"follows" doc:"This server follows the feed for all servers."`
	Reason  string    `json:"reason,omitempty" doc:"Why it is not fed."`
	Since   time.Time `json:"since,omitzero" doc:"Since when it is not fed. Absent if it is."`
}

type componentState struct {
	Status string    `json:"status" enum:"ok,degraded,unavailable,off"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero" doc:"Since when it is not ok, be it for another reason at first. Absent if it is ok."`
}

// StoreTrouble is what is known of the store's failures.
type StoreTrouble struct {
	Silent  time.Time // since then it has answered nothing, not even a ping; zero: it answers
	Failing time.Time // since then its calls have failed; zero: they do not
}

// moment is a time as responses have it.
func moment(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Millisecond)
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
			state.Cache = componentState{Status: "degraded", Reason: stats.DegradedReason, Since: moment(stats.DegradedSince)}
		}
		if f := stats.Feed; f.Attached {
			state.Feed = &feedState{Fed: f.Fed, Follows: f.Leads, Reason: f.Reason}
			if !f.Fed {
				state.Feed.Since = moment(f.Since)
				if s.feedRequired {
					state.Status = "degraded"
				}
			}
		}
	}
	status := http.StatusOK
	pingErr := s.svc.Ping(ctx)
	var trouble StoreTrouble
	if s.storeTrouble != nil {
		trouble = s.storeTrouble() // after the ping, which may be the first failure
	}
	switch {
	case pingErr != nil:
		// The error of the driver may contain hosts and users, so only the log has it.
		ex.cause = pingErr
		status = http.StatusServiceUnavailable
		state.Status = "unavailable"
		state.Store = storeState{Status: "unavailable", Reason: "the store does not answer; the server's log has the reason under request id " + ex.id, Since: moment(trouble.Silent)}
		ex.Header()["Retry-After"] = []string{"1"}
	case !trouble.Failing.IsZero():
		state.Status = "degraded"
		state.Store = storeState{Status: "degraded", Reason: "it answers a ping, but calls fail; the server's log has the reason", Since: moment(trouble.Failing)}
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
