package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Node is a running server.
type Node struct {
	Name  string
	URL   string
	Cache *aside.Cache[string, todo.Todo] // nil: it has none
}

// Redis is the Redis of the servers, which can be cut off.
type Redis interface {
	Cut()
	Restore()
}

// Options configure the stories.
type Options struct {
	// Store is the store of all servers. The stories change it past their caches.
	Store *Store
	// Redis is nil if there is none that may be cut off; NoRedis says why.
	Redis   Redis
	NoRedis string
	// MaxLoads is how many records one server reads from the store at once.
	MaxLoads int
	// Context ends a story that runs.
	Context context.Context
	Log     *slog.Logger
}

// Stories is an http.Handler: GET /story lists the stories, POST /story/{name} runs one and
// answers with a line of JSON for each step. One story runs at a time.
type Stories struct {
	o      Options
	client *http.Client

	mu      sync.Mutex
	nodes   []Node
	running string
}

// New makes the stories. None is available before Attach.
func New(o Options) *Stories {
	if o.Context == nil {
		o.Context = context.Background()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Stories{o: o, client: newClient()}
}

// Attach adds a server that answers requests now.
func (s *Stories) Attach(n Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, n)
	slices.SortFunc(s.nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
}

// Close closes idle connections. Stories that run have ended: Options.Context is over, or
// their requests are.
func (s *Stories) Close() { s.client.CloseIdleConnections() }

// story is one of the stories.
type story struct {
	Name      string `json:"name"`
	Title     string `json:"title"`
	What      string `json:"what"`
	Available bool   `json:"available"`
	Reason    string `json:"reason"` // why it is not available

	tell func(*run) error
}

func (s *Stories) list() []story {
	all := []story{
		{Name: "burst", Title: "Burst on a cold key", tell: burst,
			What: "100 requests for one record arrive at once, and no cache has it. Without a cache the store would be asked 100 times; here it is asked once, and all wait for that answer."},
		{Name: "behind", Title: "Change behind the cache", tell: behind,
			What: "Another program changes a record in the store, past the service. With the feed of the store's changes the caches drop the old record within milliseconds. Then the feed is switched off for a moment: the old record stays until somebody drops it, or its TTL ends."},
		{Name: "storm", Title: "Write storm on one key", tell: storm,
			What: "Four clients write one record as fast as they can, while others read it. No read that starts after a write was acknowledged may return an older record."},
		{Name: "redis-down", Title: "Redis gone for ten seconds", tell: redisDown,
			What: "All connections to Redis are cut for ten seconds. Reads and writes go on, from the memory of the servers and from the store. Then Redis comes back with what it had, some of it old by now, and nobody may see that."},
		{Name: "restart", Title: "Restart with an empty cache", tell: restart,
			What: "All caches are emptied under load, as after a restart. Each record is a miss once, the store never gets more than a limited number of reads at once, and the hits come back."},
	}
	nodes := s.attached()
	for i := range all {
		st := &all[i]
		switch {
		case len(nodes) == 0:
			st.Reason = "the server is still starting"
		case nodes[0].Cache == nil:
			st.Reason = "the server runs without a cache (--no-cache)"
		case st.Name == "redis-down" && s.o.Redis == nil:
			st.Reason = s.o.NoRedis
		}
		st.Available = st.Reason == ""
	}
	return all
}

func (s *Stories) attached() []Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.nodes)
}

func (s *Stories) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, isStory := strings.CutPrefix(strings.TrimSuffix(r.URL.Path, "/"), "/story/")
	w.Header().Set("Cache-Control", "no-store")
	if !isStory {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			httpapi.WriteProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "This path supports only GET, HEAD.")
			return
		}
		httpapi.WriteJSON(w, http.StatusOK, s.list())
		return
	}
	all := s.list()
	i := slices.IndexFunc(all, func(st story) bool { return st.Name == name })
	switch {
	case i < 0:
		httpapi.WriteProblem(w, http.StatusNotFound, "no_such_story", "There is no such story. GET /story lists them.")
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		httpapi.WriteProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "This path supports only POST.")
	case !all[i].Available:
		httpapi.WriteProblem(w, http.StatusConflict, "story_not_available", "This story is not available: "+all[i].Reason+".")
	default:
		p, err := readParameters(r.Body)
		if err != nil {
			httpapi.WriteProblem(w, http.StatusBadRequest, "invalid_parameters", "The body is not an object of parameters: "+err.Error()+".")
			return
		}
		if other := s.begin(name); other != "" {
			httpapi.WriteProblem(w, http.StatusConflict, "story_running", "The story "+other+" is running. Wait until it has ended.")
			return
		}
		defer s.end()
		s.serve(w, r, all[i], p)
	}
}

func (s *Stories) begin(name string) (other string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == "" {
		s.running = name
		return ""
	}
	return s.running
}

func (s *Stories) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = ""
}

// parameters of a story; 0 and "" stand for the story's own.
type parameters struct {
	ID       string `json:"id"`       // of the record
	Requests int    `json:"requests"` // burst
	Seconds  int    `json:"seconds"`  // storm, redis-down, restart
}

const (
	maxRequests = 1000
	maxSeconds  = 60
	maxBody     = 4 << 10
)

func readParameters(body io.Reader) (p parameters, err error) {
	d := json.NewDecoder(io.LimitReader(body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
		return p, err
	}
	if p.Requests < 0 || p.Requests > maxRequests || p.Seconds < 0 || p.Seconds > maxSeconds {
		return p, fmt.Errorf("requests must be at most %d, seconds at most %d", maxRequests, maxSeconds)
	}
	return p, nil
}

// Levels of a step.
const (
	info = "info"
	good = "good"
	bad  = "bad"
)

// step is a line of the answer. The last one has Done.
type step struct {
	Milliseconds int64          `json:"t_ms"`
	Text         string         `json:"text"`
	Level        string         `json:"level"`
	Done         bool           `json:"done,omitempty"`
	Facts        map[string]any `json:"facts,omitempty"`
}

// run is one run of a story.
type run struct {
	*Stories
	parameters
	ctx   context.Context
	nodes []Node
	begun time.Time
	write func(step)

	result string // text of the last line
	level  string
	facts  map[string]any
}

// say tells a step.
func (r *run) say(level, format string, args ...any) {
	r.write(step{Milliseconds: time.Since(r.begun).Milliseconds(), Text: fmt.Sprintf(format, args...), Level: level})
}

// ends says how the story has ended.
func (r *run) ends(ok bool, format string, args ...any) {
	r.result, r.level = fmt.Sprintf(format, args...), bad
	if ok {
		r.level = good
	}
}

func (s *Stories) serve(w http.ResponseWriter, req *http.Request, st story, p parameters) {
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(s.o.Context, cancel)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	flush, encoder := http.NewResponseController(w), json.NewEncoder(w)
	r := &run{Stories: s, parameters: p, ctx: ctx, nodes: s.attached(), begun: time.Now(), facts: map[string]any{}}
	r.write = func(line step) {
		if encoder.Encode(line) != nil || flush.Flush() != nil {
			cancel() // nobody reads it any more
		}
	}
	s.o.Log.Info("story begins", "story", st.Name)
	err := st.tell(r)
	if err != nil {
		r.ends(false, "The story broke off: %v", err)
	}
	s.o.Log.Info("story ended", "story", st.Name, "result", r.result)
	r.write(step{Milliseconds: time.Since(r.begun).Milliseconds(), Text: r.result, Level: r.level, Done: true, Facts: r.facts})
}
