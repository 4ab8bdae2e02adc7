package story

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// requestTime is the timeout of one request of a story.
const requestTime = 20 * time.Second

func newClient() *http.Client {
	return &http.Client{Timeout: requestTime, Transport: &http.Transport{
		MaxIdleConnsPerHost: maxRequests, DisableCompression: true,
		// The requests go to the listeners of this process, whatever name is in their certificate.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
}

// answer is what a server answered.
type answer struct {
	todo.Todo
	status int
	tier   string // L1, L2, load, shared (another request's load), or ""
	took   time.Duration
}

// ok reports whether the answer is that of a service that works.
func (a answer) ok() bool { return a.status == http.StatusOK }

func tierOf(cacheStatus string) string {
	switch {
	case strings.Contains(cacheStatus, "detail=L1"):
		return "L1"
	case strings.Contains(cacheStatus, "detail=L2"):
		return "L2"
	case strings.Contains(cacheStatus, "collapsed"):
		return "shared"
	case strings.Contains(cacheStatus, "fwd="):
		return "load"
	}
	return ""
}

func (r *run) do(ctx context.Context, n Node, method, path string, body any, strong bool) (a answer, err error) {
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return a, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, n.URL+path, bytes.NewReader(content))
	if err != nil {
		return a, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if strong {
		req.Header.Set("Cache-Control", "no-cache")
	}
	begun := time.Now()
	resp, err := r.client.Do(req)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	a = answer{status: resp.StatusCode, tier: tierOf(resp.Header.Get("Cache-Status")), took: time.Since(begun)}
	if a.ok() && strings.HasPrefix(path, "/todos/") {
		err = json.Unmarshal(text, &a.Todo)
	}
	return a, err
}

func (r *run) get(n Node, id string, strong bool) (answer, error) {
	return r.do(r.ctx, n, http.MethodGet, "/todos/"+url.PathEscape(id), nil, strong)
}

// rename changes the name of a record through the service.
func (r *run) rename(ctx context.Context, n Node, id, name string) (answer, error) {
	return r.do(ctx, n, http.MethodPatch, "/todos/"+url.PathEscape(id), map[string]string{"name": name}, false)
}

// mustGet is get for a record that must be there.
func (r *run) mustGet(n Node, id string, strong bool) (answer, error) {
	a, err := r.get(n, id, strong)
	if err == nil && !a.ok() {
		err = fmt.Errorf("GET /todos/%s on %s: status %d", id, n.Name, a.status)
	}
	return a, err
}

// records returns up to limit records of the store.
func (r *run) records(limit int) ([]todo.Todo, error) {
	page, err := r.o.Store.List(r.ctx, "", limit)
	if err == nil && len(page.Todos) == 0 {
		err = fmt.Errorf("the store has no records: create one, or start the demo with another --data")
	}
	return page.Todos, err
}

// record returns the record of the parameters, or one by chance.
func (r *run) record() (todo.Todo, error) {
	if r.ID != "" {
		t, err := r.o.Store.Store.Get(r.ctx, r.ID)
		if err != nil {
			err = fmt.Errorf("record %q: %w", r.ID, err)
		}
		return t, err
	}
	all, err := r.records(200)
	if err != nil {
		return todo.Todo{}, err
	}
	return all[rand.IntN(len(all))], nil
}

// putBack sets the name of a record as it was, through the service, whatever has happened to
// the story.
func (r *run) putBack(t todo.Todo) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 5*time.Second)
	defer cancel()
	if _, err := r.rename(ctx, r.nodes[0], t.ID, t.Name); err != nil {
		r.o.Log.Warn("a story could not put a record back", "id", t.ID, "error", err)
	}
}

// pause waits, and returns false if the story is to end.
func (r *run) pause(d time.Duration) bool { return pause.For(r.ctx, d) }

// until waits for a condition, for some time.
func (r *run) until(limit time.Duration, ok func() bool) (took time.Duration, held bool) {
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > limit || !r.pause(time.Millisecond) {
			return time.Since(begun), false
		}
	}
	return time.Since(begun), true
}

// every reports whether a condition holds for every node.
func (r *run) every(ok func(Node) bool) bool {
	return !slices.ContainsFunc(r.nodes, func(n Node) bool { return !ok(n) })
}

// tally counts answers.
type tally struct {
	mu     sync.Mutex
	tiers  map[string]int
	failed int
	last   string // the last failure
	took   []time.Duration
}

func newTally() *tally { return &tally{tiers: map[string]int{}} }

func (t *tally) add(a answer, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err != nil:
		t.failed++
		t.last = err.Error()
	case !a.ok():
		t.failed++
		t.last = fmt.Sprintf("status %d", a.status)
	default:
		t.tiers[a.tier]++
		t.took = append(t.took, a.took)
	}
}

// take returns what was counted, and begins anew.
func (t *tally) take() *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := &tally{tiers: t.tiers, failed: t.failed, last: t.last, took: t.took}
	t.tiers, t.failed, t.last, t.took = map[string]int{}, 0, "", nil
	return old
}

// plus adds what other has counted.
func (t *tally) plus(other *tally) {
	for tier, n := range other.tiers {
		t.tiers[tier] += n
	}
	t.failed += other.failed
	if other.last != "" {
		t.last = other.last
	}
	t.took = append(t.took, other.took...)
}

func (t *tally) answered() int { return len(t.took) }

// hits returns the share of answers from a cache, in percent.
func (t *tally) hits() float64 {
	return math.Round(1000*float64(t.tiers["L1"]+t.tiers["L2"])/float64(max(t.answered(), 1))) / 10
}

// percentile returns a percentile of the times in milliseconds.
func (t *tally) percentile(p int) float64 {
	if len(t.took) == 0 {
		return 0
	}
	slices.Sort(t.took)
	return ms(t.took[min(len(t.took)*p/100, len(t.took)-1)])
}

// ms returns milliseconds with two decimals.
func ms(d time.Duration) float64 {
	return float64(d.Round(10*time.Microsecond)) / float64(time.Millisecond)
}

// workers runs f again and again in n goroutines, with a pause after each call, until ctx
// ends.
func workers(ctx context.Context, wg *sync.WaitGroup, n int, between time.Duration, f func(worker int)) {
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				f(i)
				pause.For(ctx, between)
			}
		})
	}
}
