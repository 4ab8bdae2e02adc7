package asidetest

import (
	"fmt"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// The conformance suite: looks without a lease.

var checksOfPeeking = []check{
	{"PeekShowsWhatIsThere", (*suite).peekShows},
	{"PeekChangesNothing", (*suite).peekChangesNothing},
	{"PeekInBatches", (*suite).peekBatches},
}

func (s *suite) peek(l driver.Tier, k string) driver.Grant {
	s.Helper()
	g := l.(driver.Peeking).Peek(s.ctx, []string{s.key(k)})[0]
	if g.Err != nil {
		s.Fatalf("Peek %s: %v", k, g.Err)
	}
	return g
}

func (s *suite) wantPeek(k string, state driver.State, entry []byte, left bool) {
	s.Helper()
	for _, l := range []driver.Tier{s.a, s.b} {
		if g := s.peek(l, k); g.State != state || string(g.Entry) != string(entry) || (g.Left > 0) != left || g.Left > time.Minute {
			s.Fatalf("%s: state %d with %q for %v, want state %d with %q", k, g.State, g.Entry, g.Left, state, entry)
		}
	}
}

func (s *suite) peekShows() {
	s.wantPeek("absent", driver.StateAbsent, nil, false)
	v := versioned(5, envelope.NewToken())
	s.put(s.a, "value", v, time.Minute)
	s.wantPeek("value", driver.StateFound, v, false)
	n := absence(envelope.NewToken())
	s.put(s.a, "absence", n, time.Minute)
	s.wantPeek("absence", driver.StateFound, n, false)
	stale := envelope.Append(nil, envelope.Entry{Token: envelope.NewToken(), StaleFor: time.Hour, Payload: []byte("\x00\xff")}, -1)
	s.put(s.a, "stale", stale, time.Minute)
	s.wantPeek("stale", driver.StateFound, stale, true)
	s.acquire(s.a, "leased", envelope.NewToken())
	s.wantPeek("leased", driver.StateLeased, nil, false)
	s.carry("carried", v, time.Minute)
	s.wantPeek("carried", driver.StateLeased, v, true)
	s.fence(s.a, "fenced", time.Minute)
	s.wantPeek("fenced", driver.StateFenced, nil, false)
}

// Nobody gets a lease by a look, and nothing lives longer for it.
func (s *suite) peekChangesNothing() {
	s.wantPeek("absent", driver.StateAbsent, nil, false)
	s.wantState(s.a, "absent", driver.StateGranted)
	stale := envelope.Append(nil, envelope.Entry{Token: envelope.NewToken(), StaleFor: time.Hour}, -1)
	s.put(s.a, "stale", stale, time.Minute)
	s.wantPeek("stale", driver.StateFound, stale, true)
	s.wantState(s.b, "stale", driver.StateGranted)
	short := value("short")
	s.put(s.a, "short", short, 300*time.Millisecond)
	s.eventually("it ends", func() bool { return s.peek(s.b, "short").State == driver.StateAbsent })
	lease := envelope.NewToken()
	s.acquire(s.a, "leased", lease)
	s.wantPeek("leased", driver.StateLeased, nil, false)
	if !s.fill(s.a, "leased", lease, short, time.Minute) {
		s.Error("a fill was refused after a look")
	}
}

func (s *suite) peekBatches() {
	var keys []string
	for i := range 700 {
		k := fmt.Sprint("k", i)
		keys = append(keys, s.key(k))
		if i%100 == 0 {
			s.put(s.a, k, value(k), time.Minute)
		}
	}
	for i, g := range s.b.(driver.Peeking).Peek(s.ctx, keys) {
		want := driver.StateAbsent
		if i%100 == 0 {
			want = driver.StateFound
		}
		if g.Err != nil || g.State != want {
			s.Fatalf("key %d: state %d, %v; want %d", i, g.State, g.Err, want)
		}
	}
	if out := s.b.(driver.Peeking).Peek(s.ctx, nil); len(out) != 0 {
		s.Errorf("%d answers without a key", len(out))
	}
}
