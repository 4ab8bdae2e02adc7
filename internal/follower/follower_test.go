package follower

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

const goBack = 40 * time.Second

// shared is an L2: what it was told, and who leads.
type shared struct {
	mu      sync.Mutex
	told    []string
	clears  int
	refuses bool // DropOlder
	down    bool
	part    bool // a part of it is down

	leader driver.Token
	until  time.Time
	state  []byte
}

func (s *shared) lead(_ context.Context, r driver.LeadRequest) (l driver.Leadership, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return l, errors.New("L2 is down")
	}
	l.State = s.state
	if time.Now().Before(s.until) && s.leader != r.Leader {
		l.Led = true
		return l, nil
	}
	s.leader, s.until = r.Leader, time.Now().Add(r.TTL)
	l.Leads, l.Led = r.TTL > 0, r.TTL > 0
	if r.State != nil {
		s.state = r.State
	}
	return l, nil
}

func (s *shared) handle(_ context.Context, changes []driver.Change) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		return false
	}
	for _, c := range changes {
		s.told = append(s.told, c.Key)
	}
	return true
}

func (s *shared) clear(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return errors.New("L2 is down")
	}
	s.clears++
	s.told = append(s.told, "clear")
	return nil
}

func (s *shared) whole() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.part
}

func (s *shared) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// since returns what was told since the last call, without repetitions.
func (s *shared) since() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := slices.Compact(s.told)
	s.told = nil
	return told
}

// world is a primary's log, an L2, and nodes that follow.
type world struct {
	t   *testing.T
	log *asidetest.Log
	l2  *shared
	n   int
}

type node struct {
	*Follower
	kill func()
	dead chan struct{}
	// cut: this node does not reach L2 any more
	cut func(bool)
}

func in(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&world{t: t, log: &asidetest.Log{}, l2: &shared{}}) })
}

func (w *world) node(change ...func(*Config)) *node {
	var mu sync.Mutex
	cut := false
	c := Config{
		Feed: w.log, Key: "leader", Handle: w.l2.handle, Clear: w.l2.clear, GoBack: goBack, Silence: 10 * time.Second,
		Log: slog.New(slog.DiscardHandler), Whole: w.l2.whole,
		Lead: func(ctx context.Context, r driver.LeadRequest) (driver.Leadership, error) {
			mu.Lock()
			defer mu.Unlock()
			if cut {
				return driver.Leadership{}, errors.New("cut off")
			}
			return w.l2.lead(ctx, r)
		},
	}
	for _, f := range change {
		f(&c)
	}
	w.n++
	ctx, cancel := context.WithCancel(w.t.Context())
	n := &node{Follower: New(c, driver.Token{byte(w.n)}), dead: make(chan struct{}), cut: func(b bool) {
		mu.Lock()
		defer mu.Unlock()
		cut = b
	}}
	n.kill = func() { cancel(); <-n.dead }
	go func() {
		defer close(n.dead)
		n.Run(ctx)
	}()
	w.t.Cleanup(n.kill)
	return n
}

func put(w *world, keys ...string) {
	for _, k := range keys {
		w.log.Append(driver.Change{Key: k})
	}
}

// expect waits, and compares what L2 was told.
func (w *world) expect(wait time.Duration, want ...string) {
	w.t.Helper()
	time.Sleep(wait)
	synctest.Wait()
	if got := w.l2.since(); !slices.Equal(got, want) {
		w.t.Errorf("L2 was told %v, want %v", got, want)
	}
}

func (w *world) expectStatus(n *node, fed, leads bool, reason string) {
	w.t.Helper()
	if s := n.Status(); s.Fed != fed || s.Leads != leads || s.Reason != reason {
		w.t.Errorf("fed %v, leads %v, reason %q; want %v, %v, %q", s.Fed, s.Leads, s.Reason, fed, leads, reason)
	}
}

// One node follows, the other stands by, and both know it. Caught: a leader that does
// not keep its state.
func TestOneNodeFollows(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(time.Second, "clear")
		b := w.node()
		put(w, "x", "y")
		w.expect(time.Second, "x", "y")
		w.expectStatus(a, true, true, "")
		w.expectStatus(b, true, false, "")
		if n := w.log.Handled(); n != 2 {
			t.Errorf("%d changes are handled, want 2", n)
		}
		if s := a.Status(); s.Changes != 2 || s.Clears != 1 || s.Gaps != 0 || s.LastChange.IsZero() {
			t.Errorf("%+v", s)
		}
	})
}

// A leader that is gone without a word is replaced within three seconds, and nothing is
// lost. Caught: a new leader that begins at now.
func TestLeaderIsReplaced(t *testing.T) {
	for _, how := range []string{"cut off from L2", "closed"} {
		t.Run(how, func(t *testing.T) {
			in(t, func(w *world) {
				a := w.node()
				w.expect(2*goBack, "clear")
				b := w.node()
				put(w, "x")
				w.expect(time.Second, "x")
				if how == "closed" {
					a.kill()
				} else {
					a.cut(true)
				}
				put(w, "y")
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if got := w.l2.since(); !slices.Contains(got, "y") || slices.Contains(got, "clear") {
					t.Errorf("L2 was told %v, want y and no clear", got)
				}
				w.expectStatus(b, true, true, "")
				put(w, "z")
				w.expect(time.Second, "z")
				if how != "closed" {
					w.expectStatus(a, false, false, "L2 cannot be asked who follows: cut off")
					a.cut(false)
					w.expect(time.Second)
					w.expectStatus(a, true, false, "")
				}
			})
		})
	}
}

// What may have been lost is told again: by the leader that hears of it, and by a new
// one. Caught: a leader that goes on where it was; one that goes back less than it was
// told to.
func TestGoBack(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		put(w, "old")
		w.expect(2*goBack, "old")
		put(w, "x")
		w.expect(goBack-5*time.Second, "x")
		put(w, "y")
		w.expect(4*time.Second, "y")
		a.GoBack()
		w.expect(time.Second, "x", "y")
		w.expect(10 * time.Second)
		if s := a.Status(); s.WentBack != 1 || s.Clears != 1 || !s.Fed {
			t.Errorf("%+v", s)
		}
		a.kill()
		w.node()
		w.expect(time.Second, "x", "y")
	})
}

// A part of L2 fails over for longer than goBack, and nothing changes there meanwhile. What
// was told before is told again: by the leader, and by one that comes after it. Caught:
// places that age while a part of L2 cannot be reached.
func TestGoBackAfterALongFailover(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		put(w, "x")
		w.expect(time.Second, "x")
		w.l2.set(func() { w.l2.part = true })
		for range 10 {
			put(w, "elsewhere")
			w.expect(goBack/2, "elsewhere")
		}
		w.l2.set(func() { w.l2.part = false })
		a.GoBack()
		w.expect(time.Second, "x", "elsewhere")
		a.kill()
		w.node()
		w.expect(time.Second, "x", "elsewhere")
		w.expect(2 * goBack)
	})
}

// No leader leads for as long as one goes back. Caught: each told again what had changed
// since the first one, more and more.
func TestLeadersOfShortLife(t *testing.T) {
	in(t, func(w *world) {
		n := w.node()
		w.expect(2*goBack, "clear")
		const life = goBack / 4
		for i := range 40 {
			put(w, fmt.Sprint(i))
			time.Sleep(life)
			if told := w.l2.since(); len(told) > int(tooOld/life)+1 {
				t.Fatalf("leader %d was told %d changes", i, len(told))
			}
			n.kill()
			n = w.node()
		}
	})
}

// While slots move, L2 says again and again that it may have lost commands. Caught: a
// stream that was opened each time, and told of the same changes.
func TestGoBackAgainAndAgain(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		put(w, "x")
		w.expect(goBack/2, "x")
		for range 100 {
			a.GoBack()
			time.Sleep(100 * time.Millisecond)
		}
		put(w, "y")
		time.Sleep(backEvery + time.Second)
		if s := a.Status(); s.WentBack < 4 || s.WentBack > 6 {
			t.Errorf("went back %d times in 10 s", s.WentBack)
		}
		told := w.l2.since()
		if last := told[len(told)-1]; last != "y" {
			t.Errorf("told %q", told)
		}
	})
}

// A change that is being handled when L2 loses its latest commands is told again.
// Caught: a go-back that only a stream that waits notices.
func TestGoBackWhileHandling(t *testing.T) {
	in(t, func(w *world) {
		var gate chan struct{}
		var mu sync.Mutex
		entered := make(chan string, 10)
		n := w.node(func(c *Config) {
			handle := c.Handle
			c.Handle = func(ctx context.Context, changes []driver.Change) bool {
				told := handle(ctx, changes)
				mu.Lock()
				g := gate
				mu.Unlock()
				if len(changes) > 0 && g != nil {
					entered <- changes[0].Key
					<-g
				}
				return told
			}
		})
		w.expect(2*goBack, "clear")
		g := make(chan struct{})
		mu.Lock()
		gate = g
		mu.Unlock()
		put(w, "x")
		<-entered
		n.GoBack() // after L2 was told of x, before its place is noted
		mu.Lock()
		gate = nil
		mu.Unlock()
		w.l2.since()
		close(g)
		w.expect(time.Second, "x")
	})
}

// A clear that is young may have been lost too, so it is done again. Caught: going back to
// the beginning, which told nothing of what had changed before.
func TestGoBackToTheBeginningClears(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(time.Second, "clear")
		put(w, "x")
		w.expect(time.Second, "x")
		a.GoBack()
		w.expect(time.Second, "clear")
		put(w, "y")
		w.expect(time.Second, "y")
		a.kill()
		w.node()
		w.expect(time.Second, "clear")
	})
}

// The places that are kept stay few, are old enough, and are not too old for a feed.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := places{goBack: goBack}
		for i := range 5000 {
			p.add(driver.Position(fmt.Sprint(i)), true)
			oldest := time.Since(p.all[0].at)
			if len(p.all) > spacing+3 {
				t.Fatalf("%d places", len(p.all))
			}
			if i > 1000 && (oldest < goBack || oldest > goBack+goBack/spacing+time.Second) {
				t.Fatalf("the oldest place is %v old", oldest)
			}
			if string(p.from()) != fmt.Sprint(i) {
				t.Fatalf("the latest is %s, want %d", p.from(), i)
			}
			time.Sleep(100 * time.Millisecond)
		}
		p.rewind()
		if len(p.all) != 1 || time.Since(p.all[0].at) < goBack {
			t.Errorf("%d places", len(p.all))
		}
	})
}

// Of a state that it does not understand a leader knows no place.
func TestStrangeState(t *testing.T) {
	for _, state := range []string{"", "x", "{}", `{"places":[]}`, `{"places":[{"position":"","age_ms":100000000}]}`, `{"places":[{"position":"YQ==","age_ms":-5}]}`} {
		p := places{goBack: goBack}
		p.read([]byte(state))
		if from := p.from(); len(from) != 0 {
			t.Errorf("%s: %q", state, from)
		}
	}
}

// With a gap the feed is opened first, the cache is cleared second, and then changes are
// handled. Caught: clearing first.
func TestGap(t *testing.T) {
	in(t, func(w *world) {
		first := make(chan struct{})
		a := w.node(func(c *Config) {
			clear := c.Clear
			c.Clear = func(ctx context.Context) error {
				if w.log.Streams() == 0 {
					t.Error("the cache was cleared before the feed was open")
				}
				if err := clear(ctx); err != nil {
					return err
				}
				select {
				case <-first:
				default:
					put(w, "x") // while it is cleared: a load may have read before that
				}
				return nil
			}
		})
		w.expect(time.Second, "clear", "x")
		close(first)
		w.expect(2 * goBack)
		w.log.Break(errors.New("connection lost"))
		synctest.Wait()
		put(w, "lost")
		w.log.Lose()
		w.expect(2*time.Second, "clear")
		put(w, "y")
		w.expect(time.Second, "y")
		if s := a.Status(); s.Gaps != 1 || s.Clears != 2 || !s.Fed {
			t.Errorf("%+v", s)
		}
	})
}

// A stream that breaks is opened again where it was. Caught: changes told twice, or not.
func TestBrokenStream(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		put(w, "x")
		w.expect(time.Second, "x")
		w.log.Fail(errors.New("the primary is down"))
		w.log.Break(errors.New("connection lost"))
		put(w, "y")
		w.expect(3 * time.Second)
		w.expectStatus(a, false, true, "the feed cannot be opened: the primary is down")
		w.log.Fail(nil)
		w.expect(2*time.Second, "y")
		w.expectStatus(a, true, true, "")
	})
}

// A leader that cannot follow lets another one try.
func TestLeaderGivesUp(t *testing.T) {
	in(t, func(w *world) {
		a := w.node(func(c *Config) { c.Feed = &asidetest.Log{} })
		a.Feed.(*asidetest.Log).Fail(errors.New("wal_level is replica"))
		w.expect(time.Second)
		w.expectStatus(a, false, false, "the feed cannot be opened: wal_level is replica")
		b := w.node()
		w.expect(10*time.Second, "clear")
		w.expectStatus(b, true, true, "")
		w.expectStatus(a, true, false, "")
	})
}

// A gap is noted by a leader that gives up, too: the next one would try the same position.
func TestGapWhenTheLeaderGivesUp(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		w.log.Fail(errors.New("the primary is down"))
		w.log.Break(errors.New("connection lost"))
		w.expect(giveUpAfter - 100*time.Millisecond)
		w.expectStatus(a, false, true, "the feed cannot be opened: the primary is down")
		w.log.Fail(fmt.Errorf("restored: %w", driver.ErrGap))
		w.expect(time.Second)
		if s := a.Status(); s.Leads || s.Gaps != 1 {
			t.Errorf("%+v, want a leader that gave up, with a gap", s)
		}
		w.l2.mu.Lock()
		defer w.l2.mu.Unlock()
		if state := string(w.l2.state); !strings.Contains(state, `"places":null`) {
			t.Errorf("kept for the next leader: %s", state)
		}
	})
}

// A feed that says nothing is opened again. Caught: a stream that is quiet for ever.
func TestSilence(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		w.log.Silence(true)
		put(w, "x")
		time.Sleep(10*time.Second + 20*time.Millisecond)
		synctest.Wait()
		w.expectStatus(a, false, true, "the feed has been silent for 10s: context deadline exceeded")
		w.log.Silence(false)
		w.expect(2*time.Second, "x")
		w.expectStatus(a, true, true, "")
	})
}

// While L2 has not been told of a change, no place behind it is kept. Caught: a leader
// that dies then, and whose successor begins behind the change.
func TestNothingIsKeptBeforeItWasHandled(t *testing.T) {
	in(t, func(w *world) {
		a := w.node()
		w.expect(2*goBack, "clear")
		w.l2.set(func() { w.l2.refuses, w.l2.part = true, true })
		put(w, "x")
		w.expect(3 * goBack) // far longer than it goes back
		if n := w.log.Handled(); n != 0 {
			t.Errorf("%d changes are handled, want none", n)
		}
		a.kill()
		w.l2.set(func() { w.l2.refuses, w.l2.part = false, false })
		w.node()
		w.expect(time.Second, "x")
	})
}

// Without L2 each process follows for itself.
func TestAlone(t *testing.T) {
	in(t, func(w *world) {
		alone := func(c *Config) { c.Lead = nil }
		a, b := w.node(alone), w.node(alone)
		w.expect(time.Second, "clear")
		put(w, "x")
		time.Sleep(time.Second)
		synctest.Wait()
		for _, n := range []*node{a, b} {
			w.expectStatus(n, true, true, "")
			if s := n.Status(); s.Changes != 1 || s.Clears != 1 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// With L2 down nobody follows; when it is back, everything since is told. The status says
// since when. Caught: since the last time that L2 was asked in vain.
func TestL2Down(t *testing.T) {
	in(t, func(w *world) {
		began := time.Now()
		since := func(a *node, when string, from, to time.Time) {
			if s := a.Status().Since; s.Before(from) || s.After(to) {
				t.Errorf("%s since %v, want from %v to %v", when, s, from, to)
			}
		}
		a := w.node()
		w.expect(2*goBack, "clear")
		since(a, "fed", began, began.Add(time.Second))
		down := time.Now()
		w.l2.set(func() { w.l2.down = true })
		time.Sleep(5 * time.Second)
		put(w, "x")
		time.Sleep(time.Minute)
		synctest.Wait()
		w.expectStatus(a, false, false, "L2 cannot be asked who follows: L2 is down")
		since(a, "not fed", down, down.Add(5*time.Second))
		w.l2.since()
		up := time.Now()
		w.l2.set(func() { w.l2.down = false })
		w.expect(2*time.Second, "x")
		w.expectStatus(a, true, true, "")
		since(a, "fed again", up, up.Add(2*time.Second))
	})
}

// A clear that fails is tried again, and nothing is handled before.
func TestClearFails(t *testing.T) {
	in(t, func(w *world) {
		n := 0
		a := w.node(func(c *Config) {
			clear := c.Clear
			c.Clear = func(ctx context.Context) error {
				if n++; n < 4 {
					return errors.New("out of memory")
				}
				return clear(ctx)
			}
		})
		time.Sleep(100 * time.Millisecond)
		put(w, "x")
		synctest.Wait()
		w.expectStatus(a, false, false, "the cache cannot be cleared: out of memory")
		w.expect(2*time.Second, "clear", "x")
	})
}

// A truncated table clears the cache.
func TestAll(t *testing.T) {
	in(t, func(w *world) {
		w.node()
		w.expect(2*goBack, "clear")
		put(w, "x")
		w.log.AppendAll()
		put(w, "y")
		w.expect(time.Second, "x", "clear", "y")
	})
}

// A stream that has much to tell is read a little later, so that fewer batches are
// handled; one that has little is read at once.
func TestRush(t *testing.T) {
	now := time.Now()
	var r rush
	for i := range 3 * rushBatches {
		if got, want := r.batch(now), i >= rushBatches; got != want {
			t.Fatalf("batch %d: %v", i, got)
		}
		now = now.Add(rushWithin)
	}
	if now = now.Add(time.Millisecond); r.batch(now) {
		t.Error("a pause does not end it")
	}
}
