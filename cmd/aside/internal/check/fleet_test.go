package check

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is some correct nodes with one database. The fields make it break promises or fail.
type fleet struct {
	t    *testing.T
	urls []string

	// answer, if set, may answer a request instead of the fleet, and reports whether it
	// did. It runs under the lock.
	answer func(w http.ResponseWriter, q query) bool
	// see, if set, chooses the state that a read returns, an index of q.life.states.
	see func(q query) int
	// ready are the nodes' answers to /readyz; nil: nobody may ask.
	ready []string
	// forget, if set, does what a drop of a record on a node does, with the record's states
	// as they are. Nil: the nodes have no calls for operators. It runs under the lock.
	forget func(node int, l *truth, byTag bool)
	// enter, if set, is called for each request without the lock.
	enter func(q query)

	mu      sync.Mutex
	records map[string]*truth
	n       map[string]int // counters of nth
	sent    map[string]bool
	asked   int
	later   []delayed
}

// delayed is a write that is applied after a number of requests.
type delayed struct {
	at int
	query
}

// truth has all states of a record so far; nil is absent.
type truth struct {
	id     string
	states []*stored
	by     []int // the node that wrote the state; -1 is nobody, or an outside writer
	at     []time.Time
	forgot map[int]int // by node: the state that it shows at least, since a drop
}

type stored struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

// query is a request.
type query struct {
	f      *fleet
	node   int
	method string
	strong bool
	body   stored // the id is in the path or in the body
	life   *truth
}

func newFleet(t *testing.T, nodes int) *fleet {
	f := &fleet{t: t, records: map[string]*truth{}, n: map[string]int{}, sent: map[string]bool{}}
	for i := range nodes {
		s := httptest.NewServer(f.node(i))
		t.Cleanup(s.Close)
		f.urls = append(f.urls, s.URL)
	}
	return f
}

// life returns the record with that id. The caller holds the lock.
func (f *fleet) life(id string) *truth {
	l := f.records[id]
	if l == nil {
		l = &truth{id: id, states: []*stored{nil}, by: []int{-1}, at: []time.Time{{}}, forgot: map[int]int{}}
		f.records[id] = l
	}
	return l
}

// apply applies a write without a response.
func (f *fleet) apply(q query) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q.life = f.life(q.body.ID)
	q.write()
}

// now returns the current record, nil if there is none.
func (l *truth) now() *stored { return l.states[len(l.states)-1] }

func (l *truth) add(node int, s *stored) {
	l.states, l.by, l.at = append(l.states, s), append(l.by, node), append(l.at, time.Now())
}

// write applies a write and returns the status of its response.
func (q *query) write() int {
	now := q.life.now()
	switch {
	case q.method == "POST" && now != nil:
		return 409
	case q.method != "POST" && now == nil:
		return 404
	case q.method == "DELETE":
		q.life.add(q.node, nil)
		return 204
	}
	next := q.body
	next.Version = 1
	status := 201
	if now != nil {
		next.Version, status = now.Version+1, 200
	}
	q.life.add(q.node, &next)
	return status
}

// after applies a write when n more requests have come.
func (f *fleet) after(n int, q query) { f.later = append(f.later, delayed{f.asked + n, q}) }

// nth returns true for every n-th call with that name.
func (f *fleet) nth(name string, n int) bool {
	f.n[name]++
	return f.n[name]%n == 0
}

func (f *fleet) node(i int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := query{f: f, node: i, method: r.Method, strong: r.Header.Get("Cache-Control") == "no-cache"}
		id, isRecord := strings.CutPrefix(r.URL.Path, "/todos/")
		if f.ready != nil && r.URL.Path == "/readyz" {
			fmt.Fprint(w, f.ready[i])
			return
		}
		if f.forget != nil && r.URL.Path == "/ops/drop" {
			f.drop(w, r, i)
			return
		}
		switch {
		case r.Method == "POST" && r.URL.Path == "/todos", r.Method == "PUT" && isRecord:
			if err := json.NewDecoder(r.Body).Decode(&q.body); err != nil || q.body.Name == "" || r.Header.Get("Content-Type") != "application/json" {
				f.t.Errorf("%s %s: a bad request: %v", r.Method, r.URL, err)
			}
		case isRecord:
		default:
			problem(w, 404, "no_such_path")
			return
		}
		q.body.ID = cmp.Or(q.body.ID, id)
		if f.enter != nil {
			f.enter(q)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.asked++
		if name := q.body.Name; name != "" {
			sent := fmt.Sprintf("node %d, %s, %q", i, q.body.ID, name)
			if f.sent[sent] {
				f.t.Errorf("sent twice: %s", sent)
			}
			f.sent[sent] = true
		}
		f.later = slices.DeleteFunc(f.later, func(d delayed) bool {
			if d.at > f.asked {
				return false
			}
			d.write()
			return true
		})
		q.life = f.life(q.body.ID)
		if f.answer != nil && f.answer(w, q) {
			return
		}
		if r.Method != "GET" {
			reply(w, q.write(), q.life.now())
			return
		}
		saw := len(q.life.states) - 1
		if f.see != nil {
			saw = f.see(q)
		}
		if s := q.life.states[saw]; s != nil {
			reply(w, 200, s)
		} else {
			problem(w, 404, "not_found")
		}
	})
}

// drop answers a drop on a node: of a record, or of all, since all have the same tag.
func (f *fleet) drop(w http.ResponseWriter, r *http.Request, node int) {
	id, tag := r.URL.Query().Get("id"), r.URL.Query().Get("tag")
	if r.Method != "POST" || (id == "") == (tag == "") {
		f.t.Errorf("%s %s: a bad drop", r.Method, r.URL)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.records {
		if l.id == id || tag != "" {
			f.forget(node, l, tag != "")
		}
	}
	w.WriteHeader(204)
}

func reply(w http.ResponseWriter, status int, s *stored) {
	switch status {
	case 404:
		problem(w, 404, "not_found")
	case 409:
		problem(w, 409, "already_exists")
	case 204:
		w.WriteHeader(204)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(s)
	}
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"title":"x","status":%d,"code":%q}`, status, code)
}

// remaining returns the ids of the existing records.
func (f *fleet) remaining() (ids []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, l := range f.records {
		if l.now() != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func mustRun(t *testing.T, c Config) *Report {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
