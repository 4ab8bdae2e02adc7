package ops

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/sse"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

const (
	// maxWatches is the maximum number of concurrent GET /ops/watch, maxInspects that of
	// GET /ops/inspect: each reads the store.
	maxWatches  = 16
	maxInspects = 8
	// callTime is the timeout of a call, without watches.
	callTime = 10 * time.Second
)

// Options configure the handler of operators' calls.
type Options struct {
	// Cache is the cache; nil if there is none.
	Cache *aside.Cache[string, todo.Todo]
	Store todo.Store
	// CacheName is the name of the cache.
	CacheName string
	// Tags: the entries of the cache have tags, see todo.DayTag.
	Tags bool
	// Nodes and NameOf are those of the Dashboard.
	Nodes  func() map[string]dashboard.Node
	NameOf func(id string) string
	// Done ends the watches when it is closed.
	Done <-chan struct{}
	// Log gets a line for each call that changes something. Nil means no log.
	Log *slog.Logger
}

type handler struct {
	Options
	watches  *sse.Streams
	inspects chan struct{}
}

// Handler returns the handler of /ops/. It lets everybody in: see WithToken and ForLocal.
func Handler(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &handler{Options: o, watches: sse.New(maxWatches, o.Done), inspects: make(chan struct{}, maxInspects)}
	mux := http.NewServeMux()
	for path, f := range map[string]http.HandlerFunc{
		"GET /ops/inspect": h.inspect, "POST /ops/drop": h.drop, "GET /ops/watch": h.watch, "GET /ops/top": h.top, "GET /ops/nodes": h.nodes,
	} {
		mux.HandleFunc(path, f)
		method, path, _ := strings.Cut(path, " ")
		if method == http.MethodGet {
			method = "GET, HEAD"
		}
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method)
			httpapi.WriteProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "This path supports only "+method+".")
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		httpapi.WriteProblem(w, http.StatusNotFound, "no_such_path", "This path does not exist. There are /ops/inspect, /ops/drop, /ops/watch, /ops/top and /ops/nodes.")
	})
	return mux
}

// idOf returns the id in the query, or answers the request and returns false.
func idOf(w http.ResponseWriter, r *http.Request) (string, bool) {
	ids := r.URL.Query()["id"]
	if len(ids) != 1 || !utf8.ValidString(ids[0]) {
		httpapi.WriteProblem(w, http.StatusBadRequest, "bad_request", "The request must have one id; see errors.",
			httpapi.Fault{Location: "query.id", Detail: "must be there once, as percent-encoded UTF-8"})
		return "", false
	}
	if err := todo.CheckID(ids[0]); err != nil {
		httpapi.WriteProblem(w, http.StatusUnprocessableEntity, "invalid", "The id is invalid, so no item can have it; see errors.",
			httpapi.Fault{Location: "query.id", Detail: err.Error()})
		return "", false
	}
	return ids[0], true
}

// tagsOf returns the tags in the query, or answers the request and returns false.
func tagsOf(w http.ResponseWriter, r *http.Request) ([]string, bool) {
	query := r.URL.Query()
	tags := query["tag"]
	switch {
	case query.Has("id"):
		httpapi.WriteProblem(w, http.StatusBadRequest, "bad_request", "The request must have an id or tags; see errors.",
			httpapi.Fault{Location: "query.id", Detail: "must not be there beside tag"})
		return nil, false
	case len(tags) > driver.MaxTagsAtOnce:
		httpapi.WriteProblem(w, http.StatusUnprocessableEntity, "invalid", "The request has too many tags; see errors.",
			httpapi.Fault{Location: "query.tag", Detail: fmt.Sprintf("must be there at most %d times, is there %d times", driver.MaxTagsAtOnce, len(tags))})
		return nil, false
	}
	for _, tag := range tags {
		if err := todo.CheckTag(tag); err != nil {
			httpapi.WriteProblem(w, http.StatusUnprocessableEntity, "invalid", "No entry can have this tag; see errors.",
				httpapi.Fault{Location: "query.tag", Detail: err.Error()})
			return nil, false
		}
	}
	return tags, true
}

// keyHash stands for an id in the log, since ids may be personal. The library's lines
// have the same hash of the name in Redis.
func (h *handler) keyHash(id string) string {
	sum := sha256.Sum256([]byte("aside:" + h.CacheName + ":0:" + id))
	return hex.EncodeToString(sum[:8])
}

// cached answers the request if there is no cache, and then returns false.
func (h *handler) cached(w http.ResponseWriter) bool {
	if h.Cache == nil {
		httpapi.WriteProblem(w, http.StatusConflict, "no_cache", "This server has no cache (aside serve --no-cache).")
		return false
	}
	return true
}

func (h *handler) drop(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("tag") {
		h.dropTags(w, r)
		return
	}
	id, ok := idOf(w, r)
	if !ok || !h.cached(w) {
		return
	}
	// It is finished even if the client leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callTime)
	defer cancel()
	err := h.Cache.Invalidate(ctx, id)
	switch {
	case errors.Is(err, aside.ErrL2Unavailable) || err == nil && h.waits(ctx, id):
		h.Log.Warn("an entry was dropped on this server alone", "key_hash", h.keyHash(id), "reason", h.Cache.Stats().DegradedReason)
		writeAlone(w)
		return
	case err != nil:
		h.Log.Warn("an entry could not be dropped", "key_hash", h.keyHash(id), "error", err)
		httpapi.WriteError(w, err, true)
		return
	}
	h.Log.Info("entry dropped by an operator", "key_hash", h.keyHash(id), "remote", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}

// waits reports whether Redis has yet to be told of the drop of id. With FailOpen the cache
// queues what it cannot tell, and calls that no error.
func (h *handler) waits(ctx context.Context, id string) bool {
	if h.Cache.Stats().Pending == 0 {
		return false // do not ask a Redis that answers
	}
	i, err := h.Cache.Inspect(ctx, id) // other keys may be the ones that wait
	return err != nil || i.Pending
}

// writeAlone answers a drop that Redis could not be told of.
func writeAlone(w http.ResponseWriter) {
	httpapi.WriteProblem(w, http.StatusServiceUnavailable, "cache_unavailable",
		"Dropped on this server alone, since Redis could not be told. Redis and the other servers keep what they have; this server tells Redis when it is back.")
}

// dropTags drops all entries that have one of the tags.
func (h *handler) dropTags(w http.ResponseWriter, r *http.Request) {
	tags, ok := tagsOf(w, r)
	if !ok || !h.cached(w) {
		return
	}
	if !h.Tags {
		httpapi.WriteProblem(w, http.StatusConflict, "no_tags", "The entries of this server have no tags (aside serve --tag-days).")
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callTime)
	defer cancel()
	err := h.Cache.InvalidateTag(ctx, tags...)
	switch {
	case errors.Is(err, aside.ErrL2Unavailable) || err == nil && h.Cache.Stats().Pending > 0:
		h.Log.Warn("the entries of tags were dropped on this server alone", "tags", tags, "reason", h.Cache.Stats().DegradedReason)
		writeAlone(w)
		return
	case err != nil:
		h.Log.Warn("the entries of tags could not be dropped", "tags", tags, "error", err)
		httpapi.WriteError(w, err, true)
		return
	}
	h.Log.Info("entries of tags dropped by an operator", "tags", tags, "remote", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}

// Ranked is one line of a list in Top.
type Ranked struct {
	ID     string   `json:"id"`
	Count  *uint64  `json:"count,omitempty"`
	TookMS *float64 `json:"took_ms,omitempty"`
	Bytes  *uint64  `json:"bytes,omitempty"`
	At     int64    `json:"at"` // when the figure rose last, in milliseconds since 1970
}

// Top is the answer of GET /ops/top.
type Top struct {
	Since   int64    `json:"since"`
	Hottest []Ranked `json:"hottest"`
	Slowest []Ranked `json:"slowest"`
	Biggest []Ranked `json:"biggest"`
	Fences  []Ranked `json:"fences"`
}

const defaultTop, maxTop = 10, 100

func (h *handler) top(w http.ResponseWriter, r *http.Request) {
	n := defaultTop
	if text := r.URL.Query().Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > maxTop {
			httpapi.WriteProblem(w, http.StatusBadRequest, "bad_request", "The request has invalid parameters; see errors.",
				httpapi.Fault{Location: "query.n", Detail: "must be a number from 1 to " + strconv.Itoa(maxTop)})
			return
		}
	}
	if !h.cached(w) {
		return
	}
	t := h.Cache.Top(n)
	list := func(keys []aside.TopKey, figure func(*Ranked, *aside.TopKey)) []Ranked {
		out := make([]Ranked, len(keys))
		for i := range keys {
			out[i] = Ranked{ID: keys[i].Key, At: keys[i].At.UnixMilli()}
			figure(&out[i], &keys[i])
		}
		return out
	}
	count := func(r *Ranked, k *aside.TopKey) { r.Count = &k.Count }
	httpapi.WriteJSON(w, http.StatusOK, Top{
		Since:   t.Since.UnixMilli(),
		Hottest: list(t.Hottest, count),
		Slowest: list(t.Slowest, func(r *Ranked, k *aside.TopKey) { ms := dashboard.Millis(k.Took); r.TookMS = &ms }),
		Biggest: list(t.Biggest, func(r *Ranked, k *aside.TopKey) { r.Bytes = &k.Bytes }),
		Fences:  list(t.Written, count),
	})
}

func (h *handler) nodes(w http.ResponseWriter, r *http.Request) {
	httpapi.WriteJSON(w, http.StatusOK, map[string]any{"nodes": h.Nodes()})
}
