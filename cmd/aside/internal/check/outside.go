package check

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Outside configures writers that change the records in the primary itself, past all
// nodes. Store is required. Zero means the default.
//
// Some records are changed only by them, and left alone now and then for longer than
// Bound: then reads show whether a node missed a change. The others are changed through
// the nodes too.
type Outside struct {
	// Store is the primary of the nodes. The check does not close it.
	Store OutsideStore
	// Name is the name of the store in reports, without secrets.
	Name string
	// Raises: the store itself raises the version of an update that does not. Half of the
	// updates then leave the version to the store.
	Raises bool
	// Writers is the number of concurrent writers; default 4.
	Writers int
	// Rate is the number of writes per second, of all writers together; default 100,
	// negative: no limit.
	Rate float64
	// Bound is how long after its acknowledgement a read of any level may miss an outside
	// write; default 5s. A later read that misses it is a violation.
	Bound time.Duration
}

// OutsideStore is what the writers need of a todo.Store.
type OutsideStore interface {
	Update(ctx context.Context, id string, change func(current todo.Todo) (todo.Todo, error)) (todo.Todo, error)
	Delete(ctx context.Context, id string, check func(current todo.Todo) error) error
}

const (
	defaultWriters = 4
	defaultRate    = 100
	defaultBound   = 5 * time.Second
)

func (o *Outside) faults(keys int) []error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Writers < 0 || o.Writers > maxClients {
		fault("outside writers must be 1 to %d, are %d", maxClients, o.Writers)
	}
	if math.IsNaN(o.Rate) || math.IsInf(o.Rate, 0) {
		fault("the rate of outside writes must be a number, is %v", o.Rate)
	}
	if o.Bound < 0 {
		fault("the bound for outside writes must not be negative, is %v", o.Bound)
	}
	if o.Bound > maxTime {
		fault("the bound for outside writes must be at most %v, is %v", maxTime, o.Bound)
	}
	if cmp.Or(keys, defaultKeys) == 1 {
		fault("with outside writers keys must be at least 2: some records are changed only by them")
	}
	return errs
}

func (o Outside) withDefaults() *Outside {
	o.Writers = cmp.Or(o.Writers, defaultWriters)
	o.Rate = cmp.Or(o.Rate, defaultRate)
	o.Bound = cmp.Or(o.Bound, defaultBound)
	return &o
}

// outsider is one of the outside writers of a run.
type outsider struct {
	*run
	pace *pace
	id   int // as a client of the histories
	rng  *rand.Rand
}

// loop starts writes until begin ends. When ctx ends, it aborts the running one. begin is
// a child of ctx.
func (w *outsider) loop(ctx, begin context.Context) {
	delay := minPause
	for w.pace.wait(begin) {
		if w.operation(ctx) {
			delay = minPause
		} else if !pause.For(begin, delay) {
			return
		} else {
			delay = min(2*delay, maxPause)
		}
	}
}

// operation writes once and reports whether it could.
func (w *outsider) operation(ctx context.Context) bool {
	s, l, a := w.pick()
	if s == nil {
		return false
	}
	tag := w.tags.Add(1)
	x := w.write(ctx, a, l.id, tag)
	if x.problem != "" && ctx.Err() != nil {
		x.problem = "" // the run aborted it
		w.recorder.cutOff()
	}
	if x.sure != nothing {
		op := history.Op{
			Client: w.id, Node: -1, Kind: kinds[a], Outside: true,
			Call: w.since(x.call), Return: w.since(x.end), Version: x.version, Tag: tag,
		}
		if x.sure == unknown {
			op.Unknown, op.Return, op.Version = true, 0, 0
		}
		l.key.Record(op)
	}
	finished, expected := s.endOutside(l, a, x.outcome, w.since(x.end), w.rng)
	w.finish(finished)
	w.recorder.wroteOutside(a, x, expected)
	if x.sure == told {
		w.mended(ctx, s, l)
	}
	return expected || x.problem == ""
}

// pick chooses a record and a kind of write. The slot is nil if there is nothing to write
// now. The records that are changed only outside come first: they seldom want a write.
func (w *outsider) pick() (*slot, *life, act) {
	now := w.since(time.Now())
	others := len(w.slots) - w.rare
	first := w.rng.IntN(others)
	for i := range w.slots {
		s := w.slots[i]
		if i >= w.rare {
			s = w.slots[w.rare+(first+i)%others]
		}
		if l, a, ok := s.beginOutside(now, w.rng); ok {
			return s, l, a
		}
	}
	return nil, nil, 0
}

// write changes or deletes a record in the store.
func (r *run) write(ctx context.Context, a act, id string, tag uint64) (x exchange) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	keep := r.Outside.Raises && tag%2 == 0
	x.call = time.Now()
	var err error
	if a == remove {
		err = r.Outside.Store.Delete(ctx, id, func(todo.Todo) error { return nil })
	} else {
		var t todo.Todo
		t, err = r.Outside.Store.Update(ctx, id, func(t todo.Todo) (todo.Todo, error) {
			t.Name = nameOf(tag)
			if !keep {
				t.Version++
				t.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
			}
			return t, nil
		})
		x.version = t.Version
	}
	x.end = time.Now()
	x.outcome = judgeStore(err, x.version)
	return x
}

// judgeStore returns the outcome of a write in the store.
func judgeStore(err error, version int64) outcome {
	switch {
	case err == nil:
		return outcome{version: version}
	case errors.Is(err, todo.ErrNotFound):
		o := outcome{sure: nothing, code: "not_found", problem: "not found", detail: "the record does not exist"}
		if text := err.Error(); text != todo.ErrNotFound.Error() {
			o.detail = cut(text) // such as a table that does not exist
		}
		return o
	}
	o := outcome{sure: unknown, problem: "failed", detail: cut(err.Error())}
	if todo.Definite(err) {
		o.sure = nothing
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		o.problem = "timeout"
	case errors.Is(err, todo.ErrUnknownOutcome):
		o.problem = "unknown outcome"
	case errors.Is(err, todo.ErrUnavailable):
		o.problem = "store unavailable"
	}
	return o
}

// pace spreads the writes of all writers over time. It does not catch up.
type pace struct {
	every time.Duration // 0: no limit

	mu   sync.Mutex
	next time.Time
}

func newPace(rate float64) *pace {
	p := &pace{}
	if rate > 0 {
		p.every = time.Duration(min(float64(time.Second)/rate, float64(math.MaxInt64/2)))
	}
	return p
}

// wait waits for the turn of the next write. It returns false when ctx ends.
func (p *pace) wait(ctx context.Context) bool {
	p.mu.Lock()
	now := time.Now()
	turn := now
	if p.next.After(now) {
		turn = p.next
	}
	p.next = turn.Add(p.every)
	p.mu.Unlock()
	return pause.For(ctx, turn.Sub(now))
}

// probeOutside checks that the store of the outside writers is that of the nodes, and that
// they can write there: it changes the record that a node has created last.
func (r *run) probeOutside(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.grace())
	defer cancel()
	for delay := probePause; ; delay *= 2 {
		var before int64
		x := r.writeProbe(ctx, &before)
		switch {
		case x.sure == told && x.version != before+1:
			return &TargetError{Text: fmt.Sprintf("the store of the outside writers (%s) gave a changed record of version %d the version %d; "+
				"only with a version that every change raises by one can a check tell what a read saw", r.Outside.Name, before, x.version)}
		case x.sure == told:
			return nil
		case x.code == "not_found":
			return &TargetError{Text: fmt.Sprintf("the store of the outside writers (%s) is not that of the nodes: "+
				"a record that was created through %s is not there: %s", r.Outside.Name, r.Targets[r.probed.target], x.detail)}
		}
		if !pause.For(ctx, delay) {
			return &TargetError{Text: fmt.Sprintf("the outside writers cannot write in their store (%s): %s: %s", r.Outside.Name, x.problem, x.detail)}
		}
	}
}

// writeProbe is an update that leaves the version to the store, if the store can do that.
func (r *run) writeProbe(ctx context.Context, before *int64) exchange {
	ctx, cancel := context.WithTimeout(ctx, min(r.Timeout, probeTimeout))
	defer cancel()
	tag := r.tags.Add(1)
	t, err := r.Outside.Store.Update(ctx, r.probed.id, func(t todo.Todo) (todo.Todo, error) {
		*before = t.Version
		t.Name = nameOf(tag)
		if !r.Outside.Raises {
			t.Version++
		}
		return t, nil
	})
	return exchange{outcome: judgeStore(err, t.Version)}
}

// NotFed is a target that says that it does not learn of outside writes.
type NotFed struct {
	Target int // its index
	Reason string
}

func (n NotFed) text(targets []string) string {
	return fmt.Sprintf("%s says that it is not fed, so it may miss outside writes until its entries expire: %s", targets[n.Target], n.Reason)
}

// askFeeds asks the targets whether they are fed. Those that do not answer, or say nothing
// about it, are not counted.
func (r *run) askFeeds(ctx context.Context) (without []NotFed) {
	ctx, cancel := context.WithTimeout(ctx, r.grace())
	defer cancel()
	c := newCaller(r.endpoints, min(r.Timeout, probeTimeout))
	defer c.close()
	defer c.abortWith(ctx)()
	for t, conn := range c.conns {
		conn.Request.Header.SetMethod(http.MethodGet)
		conn.Request.SetRequestURI(r.endpoints[t].Path + "/readyz")
		answer, failure := conn.Do(ctx)
		if failure != nil {
			continue
		}
		var ready struct {
			Feed *struct {
				Fed    bool   `json:"fed"`
				Reason string `json:"reason"`
			} `json:"feed"`
		}
		if err := json.Unmarshal(answer.Body(), &ready); err == nil && ready.Feed != nil && !ready.Feed.Fed {
			without = append(without, NotFed{t, cmp.Or(cut(ready.Feed.Reason), "no reason given")})
		}
	}
	return without
}
