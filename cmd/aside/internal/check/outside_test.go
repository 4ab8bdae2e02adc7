package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// primary is the database of a fleet, for outside writers. The nodes see a change as soon
// as the fleet's see lets them.
type primary struct {
	*fleet
	raises  bool // the database raises versions itself
	deletes int
	// fails, if set, is called before each change, and may refuse it, or have it done
	// without an answer. It runs under the lock.
	fails func(q query) (done bool, err error)
}

func (p *primary) Update(_ context.Context, id string, change func(todo.Todo) (todo.Todo, error)) (todo.Todo, error) {
	var next todo.Todo
	err := p.write(query{f: p.fleet, node: -1, method: "PUT", body: stored{ID: id}}, func(q *query, now *stored) {
		before := todo.Todo{ID: id, Name: now.Name, Version: now.Version}
		var err error
		if next, err = change(before); err != nil {
			p.t.Errorf("change: %v", err)
		}
		if next.Version == before.Version && p.raises {
			next.Version++
		}
		q.life.add(-1, &stored{id, next.Name, next.Version})
	})
	return next, err
}

func (p *primary) Delete(_ context.Context, id string, check func(todo.Todo) error) error {
	return p.write(query{f: p.fleet, node: -1, method: "DELETE", body: stored{ID: id}}, func(q *query, now *stored) {
		if err := check(todo.Todo{ID: id, Name: now.Name, Version: now.Version}); err != nil {
			p.t.Errorf("check: %v", err)
		}
		p.deletes++
		q.life.add(-1, nil)
	})
}

func (p *primary) write(q query, do func(*query, *stored)) (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.life = p.life(q.body.ID)
	now := q.life.now()
	if now == nil {
		return todo.ErrNotFound
	}
	if p.fails != nil {
		done, err := p.fails(q)
		if done {
			do(&q, now)
		}
		if done || err != nil {
			return err
		}
	}
	do(&q, now)
	return nil
}

// behind makes reads show an outside change only so long after it; negative: never. What
// was changed through a node shows all that was there before.
func (f *fleet) behind(lag func(q query, change int) time.Duration) {
	f.see = func(q query) int {
		for i := len(q.life.states) - 1; i > 0; i-- {
			if by := lag(q, i); q.life.by[i] >= 0 || by >= 0 && time.Since(q.life.at[i]) >= by {
				return i
			}
		}
		return 0
	}
}

const outsideBound = 250 * time.Millisecond

func outsideConfig(f *fleet, p *primary) Config {
	return Config{
		Targets: f.urls, Clients: 8, Keys: 4, Life: 300, MaxStale: 20 * time.Minute, Duration: time.Minute,
		Outside: &Outside{Store: p, Name: "fake", Raises: p.raises, Bound: outsideBound, Rate: 200},
	}
}

// until ends the run as soon as enough is true of its progress.
func (c *Config) until(enough func(Progress) bool) {
	stop := make(chan struct{})
	var once sync.Once
	c.Stop = stop
	c.Progress = func(p Progress) {
		if enough(p) {
			once.Do(func() { close(stop) })
		}
	}
}

func (c *Config) untilViolated() { c.until(func(p Progress) bool { return p.Violations > 0 }) }

// Nodes that see outside changes a little later, and their own at once, break no promise.
// Every kind of outside write happens, and the lag is measured.
// Caught: outside writes recorded as those of a node; an outside delete after which a
// client's write was an error; reads of deleted records that ended before the bound, so that
// no delete was held; the lag left out of the timeline.
func TestOutsideHonestFleet(t *testing.T) {
	for _, raises := range []bool{false, true} {
		t.Run(fmt.Sprint("raises ", raises), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 3)
			f.behind(func(q query, _ int) time.Duration { return 20 * time.Millisecond })
			p := &primary{fleet: f, raises: raises}
			c := outsideConfig(f, p)
			c.until(func(r Progress) bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return r.Elapsed > 3*time.Second && r.Outside > 100 && p.deletes > 2
			})
			r := mustRun(t, c)
			if err := errors.Join(r.Broken(), r.Unproven()); err != nil {
				t.Error(err, r.History.Violations)
			}
			o, h := r.Outside, &r.History
			if o.Updates.Count+o.Deletes.Count < 100 || o.Deletes.Count < 2 || o.Failed != 0 || r.Failed != 0 {
				t.Errorf("%+v, %d failed, %v", o, r.Failed, r.Errors)
			}
			if h.Outside != o.Updates.Count+o.Deletes.Count || h.Held < 20 {
				t.Errorf("%d outside writes in histories, of %+v; %d reads held", h.Outside, o, h.Held)
			}
			if h.OutsideStrong.Stale == 0 || h.OutsideDefault.Stale == 0 || h.OutsideStrong.Worst > outsideBound || h.Strong.Stale != 0 {
				t.Errorf("outside: %+v, %+v; all: %+v", h.OutsideStrong, h.OutsideDefault, h.Strong)
			}
			sum := r.Timeline.Between(0, r.Elapsed+bucket)
			if sum.StaleOutside != h.OutsideStrong.Stale+h.OutsideDefault.Stale || sum.WorstOutside != max(h.OutsideStrong.Worst, h.OutsideDefault.Worst) {
				t.Errorf("the timeline has %+v, the history %+v, %+v", sum, h.OutsideStrong, h.OutsideDefault)
			}
			for _, id := range f.remaining() {
				t.Errorf("%s was left", id)
			}
		})
	}
}

// A fleet that misses outside changes is detected, also if it misses few of them, and if
// others change the same record soon.
// Caught: records that were changed through nodes all the time, which hid every miss; no
// rest between outside writes; no default reads without strong ones; reads that ended soon
// after a delete.
func TestOutsideLiars(t *testing.T) {
	some := func(q query, change int) bool { return (change+len(q.life.id)*7)%3 == 0 }
	deletes := func(q query, change int) bool { return q.life.states[change] == nil }
	for name, tt := range map[string]struct {
		lag  func(q query, change int) time.Duration
		see  func(q query) int // instead of lag
		want []history.Promise
		not  []history.Promise
	}{
		"nobody is told, strong reads": {
			lag:  func(query, int) time.Duration { return -1 },
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact, history.OwnWrites},
		},
		"nobody is told, default reads": {
			lag:  func(query, int) time.Duration { return -1 },
			want: []history.Promise{history.Bounded}, not: []history.Promise{history.Intact, history.OwnWrites},
		},
		"told too late, strong reads": {
			lag:  func(query, int) time.Duration { return outsideBound + 100*time.Millisecond },
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Intact, history.OwnWrites},
		},
		"told too late, default reads": {
			lag:  func(query, int) time.Duration { return outsideBound + 100*time.Millisecond },
			want: []history.Promise{history.Bounded}, not: []history.Promise{history.Intact, history.OwnWrites},
		},
		"one node misses some": {
			lag: func(q query, change int) time.Duration {
				if q.node == 1 && !q.strong && some(q, change) {
					return -1
				}
				return 0
			},
			want: []history.Promise{history.Bounded}, not: []history.Promise{history.OwnWrites, history.Intact},
		},
		"strong reads miss some": {
			lag: func(q query, change int) time.Duration {
				if q.strong && some(q, change) {
					return -1
				}
				return 0
			},
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Bounded, history.Intact},
		},
		"a node misses deletes": {
			lag: func(q query, change int) time.Duration {
				if q.node == 2 && !q.strong && deletes(q, change) {
					return -1
				}
				return 0
			},
			want: []history.Promise{history.Bounded}, not: []history.Promise{history.OwnWrites, history.Intact},
		},
		"writes through nodes take as long as those outside": {
			see: func(q query) int {
				if now := len(q.life.states) - 1; !q.strong || q.life.by[now] < 0 || !q.f.nth("lie", 20) {
					return now
				}
				return len(q.life.states) - 2
			},
			want: []history.Promise{history.StrongReads}, not: []history.Promise{history.Bounded, history.Intact},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 3)
			if f.see = tt.see; tt.lag != nil {
				f.behind(tt.lag)
			}
			c := outsideConfig(f, &primary{fleet: f})
			c.untilViolated()
			c.Promises = append(slices.Clone(tt.want), tt.not...) // it goes on until one of them is broken
			r := mustRun(t, c)
			expectBroken(t, r, tt.want, tt.not)
			for _, id := range f.remaining() {
				t.Errorf("%s was left", id)
			}
		})
	}
}

// A node gets no news of outside changes, and only its own strong reads update its memory.
// Caught: strong reads of all records that only outside writers change.
func TestOutsideNodeHealedByStrongReads(t *testing.T) {
	f := newFleet(t, 3)
	f.see = func(q query) int {
		now := len(q.life.states) - 1
		if q.node != 1 {
			return now
		}
		if seen, ok := f.n[q.life.id]; ok && !q.strong && q.life.by[now] < 0 {
			return seen
		}
		f.n[q.life.id] = now
		return now
	}
	c := outsideConfig(f, &primary{fleet: f})
	c.Promises = []history.Promise{history.Bounded, history.StrongReads}
	c.untilViolated()
	r := mustRun(t, c)
	if r.History.Broken[history.Bounded] == 0 || r.History.Broken[history.StrongReads] != 0 {
		t.Errorf("%v, %+v", r.History.Broken, r.History.OutsideDefault)
	}
}

// The errors of the store are counted, and their outcomes are what the store says.
// Caught: a write of unknown outcome that counted as not applied; one that was refused and
// counted as unknown.
func TestOutsideErrors(t *testing.T) {
	f := newFleet(t, 2)
	p := &primary{fleet: f}
	p.fails = func(q query) (bool, error) {
		switch n := f.n["outside"]; {
		case n < 3: // the probe and a little more
		case n%7 == 0:
			f.n["outside"]++
			return true, fmt.Errorf("%w: connection lost", todo.ErrUnknownOutcome)
		case n%7 == 1:
			f.n["outside"]++
			return false, fmt.Errorf("%w: connection lost", todo.ErrUnknownOutcome)
		case n%7 == 2:
			f.n["outside"]++
			return false, fmt.Errorf("%w: no primary", todo.ErrUnavailable)
		case n%7 == 3: // it is applied later
			f.n["outside"]++
			if q.method == "DELETE" {
				f.after(20, q)
			}
			return false, context.DeadlineExceeded
		}
		f.n["outside"]++
		return false, nil
	}
	c := outsideConfig(f, p)
	c.Outside.Rate, c.MaxStale, c.Duration = -1, -1, 2*time.Second
	r := mustRun(t, c)
	if err := r.Broken(); err != nil {
		t.Error(err, r.History.Violations)
	}
	var problems []string
	var failed int64
	for _, e := range r.Outside.Errors {
		failed += e.Count
		problems = append(problems, e.Problem)
		if certain := e.Problem == "store unavailable"; certain != (e.Unknown == 0) || !certain && e.Unknown != e.Count {
			t.Errorf("%+v", e)
		}
	}
	for _, want := range []string{"unknown outcome", "store unavailable", "timeout"} {
		if !slices.Contains(problems, want) {
			t.Errorf("%q is missing in %v", want, problems)
		}
	}
	if failed != r.Outside.Failed || r.History.Unknown == 0 || r.Failed != 0 {
		t.Errorf("%d failed, of %+v; %d unknown", failed, r.Outside, r.History.Unknown)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "outside: write: store unavailable, first: todo: store unavailable: no primary") {
		t.Errorf("%v\n%s", err, &text)
	}
}

// A run whose outside writers prove nothing says so.
// Caught: exit code 0 for a run that ended before the bound, and for one without any
// outside write.
func TestOutsideUnproven(t *testing.T) {
	f := newFleet(t, 2)
	p := &primary{fleet: f}
	c := outsideConfig(f, p)
	c.Duration, c.Outside.Bound = 300*time.Millisecond, time.Minute
	if err := mustRun(t, c).Unproven(); err == nil || !strings.Contains(err.Error(), "no read came later than 1m0s after one of them") {
		t.Errorf("too short: %v", err)
	}
	probed := false
	p.fails = func(query) (bool, error) {
		if !probed {
			probed = true
			return false, nil
		}
		return false, todo.ErrUnavailable
	}
	r := mustRun(t, c)
	if err := r.Unproven(); err == nil || !strings.Contains(err.Error(), "none of them succeeded") || r.Broken() != nil {
		t.Errorf("refused: %v", err)
	}
	if err := r.Unproven(); strings.Contains(err.Error(), "no read came later") {
		t.Errorf("one reason is enough: %v", err)
	}
}

// Before the load the check finds out that outside writes cannot be checked.
// Caught: a run that reported violations, since the store was another one.
func TestOutsideProbe(t *testing.T) {
	for name, tt := range map[string]struct {
		other bool
		store primary
		says  string
	}{
		"another database": {other: true, says: "the store of the outside writers (fake) is not that of the nodes: a record that was created through http://"},
		"down": {store: primary{fails: func(query) (bool, error) { return false, fmt.Errorf("%w: nobody listens", todo.ErrUnavailable) }},
			says: "the outside writers cannot write in their store (fake): store unavailable: todo: store unavailable: nobody listens"},
		"versions that stay": {store: primary{raises: true}, says: "the store of the outside writers (fake) gave a changed record of version 1 the version 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, 2)
			p := &tt.store
			if p.fleet = f; tt.other {
				p.fleet = newFleet(t, 1)
			}
			c := outsideConfig(f, p)
			c.Timeout = 200 * time.Millisecond
			p.raises = false // whatever was said
			_, err := Run(t.Context(), c)
			var target *TargetError
			if !errors.As(err, &target) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v; want %q", err, tt.says)
			}
			for _, id := range f.remaining() {
				t.Errorf("%s was left", id)
			}
		})
	}
}

// A node that says that it is not fed is named before the load and in the report. It is
// checked all the same.
// Caught: a node without a word about a feed taken for one that is not fed.
func TestOutsideNotFed(t *testing.T) {
	f := newFleet(t, 4)
	f.ready = []string{
		`{"status":"ready","feed":{"fed":true}}`,
		`{"status":"degraded","feed":{"fed":false,"reason":"the slot\u001b is lost"}}`,
		`{"status":"ready"}`,
		`not json`,
	}
	c := outsideConfig(f, &primary{fleet: f})
	c.until(func(p Progress) bool { return p.Elapsed > 3*time.Second })
	var warned []string
	c.Warn = func(text string) { warned = append(warned, text) }
	r := mustRun(t, c)
	if err := errors.Join(r.Broken(), r.Unproven()); err != nil {
		t.Error(err)
	}
	if want := []NotFed{{1, "the slot\x1b is lost"}}; !slices.Equal(r.Outside.NotFed, want) || len(warned) != 1 || !strings.Contains(warned[0], f.urls[1]+" says that it is not fed") {
		t.Errorf("%v, %q", r.Outside.NotFed, warned)
	}
	var text, js bytes.Buffer
	if err := errors.Join(r.WriteText(&text), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "warning: "+f.urls[1]+" says that it is not fed") || strings.Contains(text.String(), "\x1b") {
		t.Errorf("%s", &text)
	}
	if !strings.Contains(js.String(), `"not_fed": [`) || !strings.Contains(js.String(), "is lost") {
		t.Errorf("%s", &js)
	}
	// Without outside writers nobody asks.
	f.ready = nil
	f.enter = func(q query) {
		if q.body.ID == "" {
			t.Error("a request without a record")
		}
	}
	mustRun(t, Config{Targets: f.urls, Operations: 100})
}

// The records of a patient slot are changed only outside, some times in a row, and then not
// before the rest is over. Either side ends some of them.
// Caught: a rest that began with the first write of a row, or while one was running; clients
// that deleted a record which was to end outside.
func TestOutsideSlots(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	ids := 0
	s := &slot{
		patient: true, targets: 2, ops: 100, strong: 0.5, maxStale: time.Second, step: 1, next: 1, outside: true, bound: time.Second,
		newID: func() string { ids++; return fmt.Sprint(ids) },
	}
	now := time.Duration(0)
	var together, most int
	ends := map[*life]time.Duration{}
	ended := map[bool]int{}
	strongs, lates := 0, map[bool]int{}
	deletedAt := map[*life]time.Duration{}
	finish := func(l *life, a act) {
		if a == remove {
			ended[true]++
			deletedAt[l] = now
		}
		s.endOutside(l, a, outcome{version: 1}, now, rng)
		ends[l] = now
	}
	var slow *life // one of its writes takes longer than a rest
	var slowAct act
	var slowEnd time.Duration
	for range 200_000 {
		now += time.Millisecond
		l, a, _ := s.begin(rng.IntN(2) == 0, now, rng)
		switch a {
		case put:
			t.Fatal("a write through a node")
		case remove:
			ended[false]++
		case readStrong:
			strongs++
		}
		if at, ok := deletedAt[l]; ok {
			lates[now >= at+s.bound]++
		}
		s.end(l, a, outcome{version: 1}, now, rng)
		if slow != nil && now >= slowEnd {
			finish(slow, slowAct)
			slow = nil
		}
		l, a, ok := s.beginOutside(now, rng)
		if !ok {
			continue
		}
		before, again := ends[l]
		if rest := now - before; !again || rest >= s.bound {
			together = 0
			if slow == l {
				t.Fatal("the rest was over before all writes were")
			}
		} else if rest > 2*time.Millisecond {
			t.Fatalf("a rest of %v", rest)
		}
		together++
		most = max(most, together)
		if slow == nil && rng.IntN(4) == 0 {
			slow, slowAct, slowEnd = l, a, now+3*s.bound
			ends[l] = now
			continue
		}
		now += time.Millisecond // it takes that long
		finish(l, a)
	}
	if most < 2 || most > maxTogether {
		t.Errorf("up to %d writes in a row", most)
	}
	if ended[false] < 5 || ended[true] < 5 || strongs < 1000 {
		t.Errorf("ended: %v, %d strong reads", ended, strongs)
	}
	if lates[true] < 4*ended[true] {
		t.Errorf("reads after an outside delete, and whether the bound was over: %v", lates)
	}
}

// Clients end a record that outside writers cannot end.
// Caught: a record that was used for ever, since the store of the outside writers was down.
func TestOutsideWritersThatHang(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &slot{
		patient: true, targets: 2, ops: 100, maxStale: time.Second, step: 1, next: 1, outside: true, bound: time.Second,
		newID: func() string { return "x" },
	}
	for life := range 20 {
		ended := false
		for now := time.Duration(life) * time.Hour; now < time.Duration(life+1)*time.Hour && !ended; now += 100 * time.Millisecond {
			l, a, _ := s.begin(false, now, rng)
			s.end(l, a, outcome{version: 1}, now, rng)
			if l.state == live {
				s.beginOutside(now, rng) // and never ends
			}
			ended = a == remove
		}
		if !ended {
			t.Fatal("it was never deleted")
		}
		s.now, s.last = nil, nil
	}
}

// Writers together keep to the rate, and do not catch up after a pause.
// Caught: each writer with a rate of its own; a burst after a hang.
func TestOutsidePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(100)
		var n int
		counted := func(writers int, d time.Duration) int {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			before := n
			done := make(chan int)
			for range writers {
				go func() {
					own := 0
					for p.wait(ctx) {
						own++
					}
					done <- own
				}()
			}
			for range writers {
				n += <-done
			}
			return n - before
		}
		if got := counted(4, time.Second); got < 98 || got > 101 {
			t.Errorf("%d writes in a second", got)
		}
		time.Sleep(time.Minute)
		if got := counted(1, time.Second); got < 98 || got > 101 {
			t.Errorf("%d writes in a second after a pause", got)
		}
		if p := newPace(-1); !p.wait(t.Context()) || p.every != 0 {
			t.Error("no limit is one")
		}
		if p := newPace(math.SmallestNonzeroFloat64); p.every <= 0 {
			t.Errorf("a write in %v", p.every)
		}
	})
}

func TestOutsideValidate(t *testing.T) {
	c := Config{Targets: []string{"http://h"}, Keys: 1, Outside: &Outside{Writers: -1, Rate: math.NaN(), Bound: -1}}
	err := c.Validate()
	for _, want := range []string{"outside writers must be 1 to", "rate of outside writes", "bound for outside writes", "keys must be at least 2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if _, err := Run(t.Context(), Config{Targets: []string{"http://127.0.0.1:1"}, Outside: &Outside{}}); err == nil || !strings.Contains(err.Error(), "need a store") {
		t.Errorf("%v", err)
	}
	o := &Outside{Store: &primary{}}
	c = Config{Targets: []string{"http://h"}, Outside: o}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if d := c.withDefaults().Outside; d.Writers != 4 || d.Rate != 100 || d.Bound != 5*time.Second || o.Writers != 0 {
		t.Errorf("%+v, %+v", d, o)
	}
}

// A record that was deleted outside is reported as such in all forms.
func TestOutsideReport(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	key := history.NewKey("check-abc-1")
	for _, op := range []history.Op{
		{Client: 1, Kind: history.Write, Call: ms(1), Return: ms(3), Version: 1, Tag: 1},
		{Client: 32, Node: -1, Outside: true, Kind: history.Write, Call: ms(4), Return: ms(9), Version: 2, Tag: 2},
		{Client: 1, Node: 1, Kind: history.ReadStrong, Call: ms(11), Return: ms(12), Version: 1, Tag: 1},
		{Client: 1, Node: 1, Kind: history.ReadDefault, Call: ms(14), Return: ms(15), Version: 1, Tag: 1},
		{Client: 1, Node: 1, Kind: history.ReadDefault, Call: ms(1009), Return: ms(1011), Version: 2, Tag: 2},
		{Client: 1, Node: 1, Kind: history.ReadDefault, Call: ms(1110), Return: ms(1111), Version: 1, Tag: 1},
	} {
		key.Record(op)
	}
	c := Config{Targets: []string{"http://a:8001", "http://b:8002"}, Clients: 3, Keys: 2, Seed: 7, Promises: []history.Promise{history.Bounded}, Outside: &Outside{Name: "mongodb://db1/test"}}.withDefaults()
	c.Outside.Bound = ms(1000)
	rec := newRecorder(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), 2)
	for i := range 100 {
		rec.succeeded(0, readStrong, ms(10*i), ms(1))
		rec.succeeded(1, readDefault, ms(10*i), 500*time.Microsecond)
		begun := time.Unix(int64(i), 0)
		rec.wroteOutside(put, exchange{call: begun, end: begun.Add(ms(2))}, false)
	}
	begun := time.Unix(0, 0)
	rec.wroteOutside(remove, exchange{call: begun, end: begun.Add(ms(3))}, false)
	rec.wroteOutside(put, exchange{outcome: judgeStore(todo.ErrNotFound, 0)}, true)
	for range 2 {
		rec.wroteOutside(put, exchange{outcome: judgeStore(fmt.Errorf("%w: connection lost", todo.ErrUnknownOutcome), 0)}, false)
	}
	rec.checked(history.Check(key, history.Options{Promises: c.Promises, MaxStale: c.MaxStale, MaxOutside: c.Outside.Bound, OnStale: rec.stale, OnViolation: rec.violated}))
	r := rec.report(&c)
	r.Config, r.Prefix, r.Start, r.Elapsed = c, "check-abc-", rec.timeline.Start, 2*time.Second
	r.Outside.NotFed = []NotFed{{1, "the slot is lost"}}
	golden(t, "outside.txt", func(b *bytes.Buffer) error { return r.WriteText(b) })
	golden(t, "outside.json", func(b *bytes.Buffer) error { return r.WriteJSON(b) })
	if p := rec.progress(0); p.Outside != 101 || p.OutsideErrors != 2 || p.Operations != 200 {
		t.Errorf("%+v", p)
	}
}

// expectBroken checks that the promises of want were broken, and those of not were kept.
func expectBroken(t *testing.T, r *Report, want, not []history.Promise) {
	t.Helper()
	for _, p := range want {
		if r.History.Broken[p] == 0 {
			t.Errorf("%q is not broken: %v", p, r.History.Broken)
		}
	}
	for _, p := range not {
		if n := r.History.Broken[p]; n > 0 {
			t.Errorf("%d violations of %q, which holds: %v", n, p, r.History.Violations)
		}
	}
}
