package asidetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// The conformance suite: leases over entries.

var checksOfLeases = []check{
	{"LeaseOverAnEntryCarriesIt", (*suite).leaseOver},
	{"LeaseIsOverTheEntryThatWasNamed", (*suite).leaseOverNamed},
	{"LeaseOverAStaleValueCarriesIt", (*suite).leaseOverStale},
	{"RetryOfALeaseOverIsAnsweredAsBefore", (*suite).leaseOverRetry},
	{"FillUnderALeaseOver", (*suite).leaseOverFill},
	{"AbandonPutsBackWhatWasThere", (*suite).leaseOverAbandon},
	{"CarriedEntryEnds", (*suite).carriedEnds},
	{"CarriedEntryEndsWithItsLease", (*suite).carriedEndsWithLease},
	{"CarriedEntryGoesWithItsLease", (*suite).carriedGoes},
	{"CarriedEntryIsNotEvicted", (*suite).carriedIsNotEvicted},
	{"CarriedEntryIsWatched", (*suite).carriedIsWatched},
	{"LeaseOverThatIsMuchTooLongIsTakenOver", (*suite).longLeaseOver},
	{"LeaseOfAnUnknownFormatStands", (*suite).unknownLease},
	{"LeasesOverInBatches", (*suite).leaseOverBatches},
	{"EntriesThatAreCutAreFound", (*suite).cutEntries},
}

// ask asks for a key: for what a lease carries too, and for a lease over an entry.
func (s *suite) ask(l driver.Tier, k string, lease, over driver.Token) driver.Grant {
	s.Helper()
	req := driver.LeaseRequest{Key: s.key(k), Lease: lease, TTL: time.Minute, Over: over, Carried: true}
	g := l.Acquire(s.ctx, []driver.LeaseRequest{req})[0]
	if g.Err != nil {
		s.Fatalf("Acquire %s: %v", k, g.Err)
	}
	return g
}

// look is ask of somebody who wants no lease over anything.
func (s *suite) look(l driver.Tier, k string) driver.Grant {
	s.Helper()
	return s.ask(l, k, envelope.NewToken(), driver.Token{})
}

func (s *suite) wantGrant(what string, g driver.Grant, state driver.State, entry []byte) {
	s.Helper()
	if g.State != state || !bytes.Equal(g.Entry, entry) {
		s.Fatalf("%s: state %d with entry %q, want state %d with %q", what, g.State, g.Entry, state, entry)
	}
	if has := entry != nil && state != driver.StateFound; has != (g.Left > 0) || g.Left > time.Minute {
		s.Fatalf("%s: %v left", what, g.Left)
	}
}

func (s *suite) abandon(l driver.Tier, r driver.AbandonRequest) {
	s.Helper()
	r.Key = s.key(r.Key)
	if err := l.Abandon(s.ctx, []driver.AbandonRequest{r})[0]; err != nil {
		s.Fatalf("Abandon %s: %v", r.Key, err)
	}
}

// carry stores an entry for ttl, and leases it.
func (s *suite) carry(k string, entry []byte, ttl time.Duration) (lease driver.Token) {
	s.Helper()
	s.put(s.a, k, entry, ttl)
	lease = envelope.NewToken()
	_, token, _ := envelope.Head(entry)
	s.wantGrant("a lease over "+k, s.ask(s.b, k, lease, token), driver.StateGranted, entry)
	return lease
}

func (s *suite) leaseOver() {
	token := envelope.NewToken()
	format1 := versioned(5, token)[:36]
	format1[1] = 1
	for i, entry := range [][]byte{
		versioned(5, token),
		absence(token),
		format1,
		envelope.Append(nil, envelope.Entry{Token: token, Elsewhere: true}, -1),
		envelope.Append(nil, envelope.Entry{Token: token, StaleFor: time.Second}, -1),
		envelope.Append(nil, envelope.Entry{Token: token, Payload: bytes.Repeat([]byte("\x00\r\n\xff"), 1<<16)}, -1),
	} {
		k := fmt.Sprint("k", i)
		s.carry(k, entry, time.Minute)
		s.wantGrant("another reader", s.look(s.a, k), driver.StateLeased, entry)
		s.wantGrant("a reader on the same node", s.look(s.b, k), driver.StateLeased, entry)
		s.wantGrant("another refresh", s.ask(s.a, k, envelope.NewToken(), token), driver.StateLeased, entry)
		s.wantGrant("who has no use for it", s.acquire(s.a, k, envelope.NewToken()), driver.StateLeased, nil)
	}
}

func (s *suite) leaseOverNamed() {
	v, n, other := value("1"), absence(envelope.NewToken()), envelope.NewToken()
	s.put(s.a, "v", v, time.Minute)
	s.put(s.a, "n", n, time.Minute)
	s.put(s.a, "none", versioned(1, driver.Token{}), time.Minute)
	later := value("1")
	later[1] = 99
	_, token, _ := envelope.Head(v)
	s.put(s.a, "later", later, time.Minute)
	cut := value("1")[:34]
	s.put(s.a, "cut", cut, time.Minute)
	s.wantGrant("another value", s.ask(s.b, "v", other, envelope.NewToken()), driver.StateFound, v)
	s.wantGrant("another absence", s.ask(s.b, "n", other, envelope.NewToken()), driver.StateFound, n)
	s.wantGrant("no token is none", s.look(s.b, "none"), driver.StateFound, versioned(1, driver.Token{}))
	s.wantGrant("a value of a later format", s.ask(s.b, "later", other, driver.Token(later[12:])), driver.StateFound, later)
	s.wantGrant("a value that is cut off", s.ask(s.b, "cut", other, driver.Token(cut[12:28])), driver.StateFound, cut)
	s.wantGrant("nothing", s.ask(s.b, "absent", other, token), driver.StateGranted, nil)
	s.wantGrant("a lease over nothing", s.look(s.a, "absent"), driver.StateLeased, nil)
	s.fence(s.a, "fenced", time.Minute)
	s.wantGrant("a fence", s.ask(s.b, "fenced", other, token), driver.StateFenced, nil)
}

func (s *suite) leaseOverStale() {
	v := envelope.Append(nil, envelope.Entry{Token: envelope.NewToken(), StaleFor: time.Hour, Payload: []byte("old")}, -1)
	s.put(s.a, "k", v, time.Minute)
	lease := envelope.NewToken()
	s.wantGrant("the first reader", s.ask(s.b, "k", lease, envelope.NewToken()), driver.StateGranted, v)
	s.wantGrant("the next one", s.look(s.a, "k"), driver.StateLeased, v)
	s.abandon(s.b, driver.AbandonRequest{Key: "k", Lease: lease})
	s.wantGrant("after it was put back", s.look(s.a, "k"), driver.StateGranted, v)
}

// The first answer may have been lost.
func (s *suite) leaseOverRetry() {
	v := value("1")
	_, token, _ := envelope.Head(v)
	lease := s.carry("k", v, time.Minute)
	s.wantGrant("again", s.ask(s.b, "k", lease, token), driver.StateGranted, v)
	s.wantGrant("again, without a wish", s.acquire(s.b, "k", lease), driver.StateGranted, v)
	for range 3 { // one that expects the key to be absent
		req := driver.LeaseRequest{Key: s.key("k"), Lease: lease, TTL: time.Minute, Over: token, Expect: driver.ExpectNothing}
		s.wantGrant("again, expecting nothing", s.b.Acquire(s.ctx, []driver.LeaseRequest{req})[0], driver.StateGranted, v)
	}
	if !s.fill(s.b, "k", lease, value("2"), time.Minute) {
		s.Error("fill refused after a retry")
	}
}

func (s *suite) leaseOverFill() {
	old, fresh := value("1"), value("2")
	lease := s.carry("k", old, time.Minute)
	_, token, _ := envelope.Head(old)
	if s.fill(s.a, "k", envelope.NewToken(), fresh, time.Minute) || s.fill(s.a, "k", token, fresh, time.Minute) {
		s.Error("filled with another token than the lease's")
	}
	s.wantGrant("after the wrong fills", s.look(s.a, "k"), driver.StateLeased, old)
	if !s.fill(s.b, "k", lease, fresh, time.Minute) {
		s.Fatal("fill under a standing lease refused")
	}
	s.wantFound(s.a, "k", fresh)
	if s.fill(s.b, "k", lease, old, time.Minute) {
		s.Error("filled twice")
	}
}

func (s *suite) leaseOverAbandon() {
	other := envelope.NewToken()
	for i, entry := range [][]byte{value("1"), absence(envelope.NewToken()), value(strings.Repeat("long", 1<<18))} {
		k := fmt.Sprint("k", i)
		lease := s.carry(k, entry, time.Minute)
		s.abandon(s.a, driver.AbandonRequest{Key: k, Lease: other})
		s.abandon(s.a, driver.AbandonRequest{Key: k, Lease: other, Drop: true})
		s.wantGrant("somebody else's lease was given back", s.look(s.a, k), driver.StateLeased, entry)
		s.abandon(s.a, driver.AbandonRequest{Key: k, Lease: lease})
		s.wantFound(s.a, k, entry)
		s.abandon(s.a, driver.AbandonRequest{Key: k, Lease: lease, Drop: true})
		s.wantFound(s.a, k, entry)
	}

	v, w := value("1"), value("2")
	s.abandon(s.b, driver.AbandonRequest{Key: "dropped", Lease: s.carry("dropped", v, time.Minute), Drop: true})
	s.wantState(s.a, "dropped", driver.StateGranted)
	s.abandon(s.b, driver.AbandonRequest{Key: "restored", Lease: s.carry("restored", v, time.Minute), Restore: w, TTL: time.Minute})
	s.wantFound(s.a, "restored", w)
	s.abandon(s.b, driver.AbandonRequest{Key: "both", Lease: s.carry("both", v, time.Minute), Restore: w, TTL: time.Minute, Drop: true})
	s.wantFound(s.a, "both", w)
}

// It lives no longer than it would have without the lease, and neither when it is put
// back: that does not give it a new life.
func (s *suite) carriedEnds() {
	const life = 300 * time.Millisecond
	lease := s.carry("k", value("1"), life)
	s.eventually("the carried entry ends", func() bool {
		g := s.look(s.a, "k")
		if g.State != driver.StateLeased || g.Left > life {
			s.Fatalf("%+v, want a lease", g)
		}
		return g.Entry == nil
	})
	s.wantGrant("a retry after it has ended", s.acquire(s.b, "k", lease), driver.StateGranted, nil)
	s.abandon(s.b, driver.AbandonRequest{Key: "k", Lease: lease})
	s.wantState(s.a, "k", driver.StateGranted)

	began := time.Now()
	s.abandon(s.b, driver.AbandonRequest{Key: "back", Lease: s.carry("back", value("1"), life)})
	s.eventually("the entry that was put back ends", func() bool { return s.look(s.a, "back").State == driver.StateGranted })
	if d := time.Since(began); d > 10*time.Second {
		s.Errorf("it ended after %v, want %v", d, life)
	}
}

func (s *suite) carriedEndsWithLease() {
	v := value("1")
	s.put(s.a, "k", v, time.Minute)
	_, token, _ := envelope.Head(v)
	lease := envelope.NewToken()
	req := driver.LeaseRequest{Key: s.key("k"), Lease: lease, TTL: 50 * time.Millisecond, Over: token}
	s.wantGrant("a short lease", s.b.Acquire(s.ctx, []driver.LeaseRequest{req})[0], driver.StateGranted, v)
	s.eventually("the lease of a crashed node ends", func() bool { return s.look(s.a, "k").State == driver.StateGranted })
	s.abandon(s.b, driver.AbandonRequest{Key: "k", Lease: lease})
	if s.fill(s.b, "k", lease, value("late"), time.Minute) {
		s.Error("fill under an expired lease stored")
	}
	s.wantState(s.a, "k", driver.StateLeased)
}

// Whatever removes a lease removes what it carries: nobody puts that back.
func (s *suite) carriedGoes() {
	removals := map[string]func(k string) (left driver.State){
		"Fence": func(k string) driver.State { s.fence(s.a, k, time.Minute); return driver.StateFenced },
		"Invalidate": func(k string) driver.State {
			if err := s.a.Invalidate(s.ctx, []string{s.key(k)})[0]; err != nil {
				s.Fatal(err)
			}
			return driver.StateGranted
		},
		"Release": func(k string) driver.State {
			if r := s.release(s.a, k, envelope.NewToken(), value("late")); r.Published || !r.Lost {
				s.Errorf("a release whose fence was lost: %+v", r)
			}
			return driver.StateGranted
		},
		"Clear": func(k string) driver.State {
			if err := s.a.Clear(s.ctx, s.prefix); err != nil {
				s.Fatal(err)
			}
			return driver.StateGranted
		},
	}
	if isA[driver.Fed](s.a) {
		removals["DropOlder"] = func(k string) driver.State {
			if s.drop(s.a, k, 1, false, driver.Token{}) {
				s.Error("a lease was left")
			}
			return driver.StateGranted
		}
	}
	for k, remove := range removals {
		entry := versioned(5, envelope.NewToken())
		lease := s.carry(k, entry, time.Minute)
		state := remove(k)
		s.abandon(s.b, driver.AbandonRequest{Key: k, Lease: lease})
		if s.fill(s.b, k, lease, entry, time.Minute) {
			s.Errorf("%s: filled all the same", k)
		}
		s.wantGrant("after "+k, s.look(s.b, k), state, nil)
	}
}

func (s *suite) carriedIsNotEvicted() {
	v := value("1")
	lease := s.carry("k", v, time.Minute)
	if err := s.a.Evict(s.ctx, []driver.EvictRequest{{Key: s.key("k"), Entry: v}})[0]; err != nil {
		s.Fatal(err)
	}
	s.wantGrant("after Evict", s.look(s.a, "k"), driver.StateLeased, v)
	if !s.fill(s.b, "k", lease, value("2"), time.Minute) {
		s.Error("the lease is gone")
	}
}

// Who found the entry hears of the lease over it, and who was answered with what a lease
// carries, of its end, whatever that is.
func (s *suite) carriedIsWatched() {
	a, _ := s.watchers()
	v := value("1")
	_, token, _ := envelope.Head(v)
	s.put(s.b, "found", v, time.Minute)
	s.wantFound(s.a, "found", v)
	s.wantGrant("a lease", s.ask(s.b, "found", envelope.NewToken(), token), driver.StateGranted, v)
	s.eventually("the node that found an entry hears that it is leased", func() bool { return a.of("found") > 0 })

	for k, end := range map[string]func(lease driver.Token){
		"filled":   func(l driver.Token) { s.fill(s.b, "filled", l, value("2"), time.Minute) },
		"put-back": func(l driver.Token) { s.abandon(s.b, driver.AbandonRequest{Key: "put-back", Lease: l}) },
		"dropped":  func(l driver.Token) { s.abandon(s.b, driver.AbandonRequest{Key: "dropped", Lease: l, Drop: true}) },
		"fenced":   func(driver.Token) { s.fence(s.b, "fenced", time.Minute) },
	} {
		lease := s.carry(k, v, time.Minute)
		s.wantGrant("a reader", s.look(s.a, k), driver.StateLeased, v)
		before := a.of(k)
		end(lease)
		s.eventually("the node that has what a lease carries hears that it was "+k, func() bool { return a.of(k) > before })
	}
}

func (s *suite) longLeaseOver() {
	v := value("1")
	lease := envelope.Lease{Token: envelope.NewToken(), Carried: v, Ends: time.Now().Add(24 * time.Hour)}.Append(nil)
	s.put(s.a, "long", lease, time.Hour) // a lease of the suite has a minute
	s.wantState(s.b, "long", driver.StateGranted)
	s.put(s.a, "other", lease, 9*time.Minute)
	s.wantState(s.b, "other", driver.StateLeased)
}

// A later release may have other leases. Their token is where it always is, so the
// holder, which knows the format, can fill and abandon; everybody else waits.
func (s *suite) unknownLease() {
	v, ends := value("1"), time.Now().Add(time.Hour)
	for i, change := range []func(b []byte) []byte{
		func(b []byte) []byte { b[1] = '3'; return b },
		func(b []byte) []byte { b[20] = 'x'; return b },
		func(b []byte) []byte { b[31] = envelope.KindLease; return b },
		func(b []byte) []byte { return b[:31] },
		func(b []byte) []byte { return b[:20] },
	} {
		token := envelope.NewToken()
		lease := change(envelope.Lease{Token: token, Carried: v, Ends: ends}.Append(nil))
		filled, abandoned := fmt.Sprint("f", i), fmt.Sprint("a", i)
		for _, k := range []string{filled, abandoned} {
			s.put(s.a, k, lease, time.Minute)
			s.wantGrant(fmt.Sprintf("lease %q", lease), s.look(s.b, k), driver.StateLeased, nil)
		}
		if s.fill(s.b, filled, envelope.NewToken(), v, time.Minute) {
			s.Errorf("lease %q: filled with another token", lease)
		}
		if !s.fill(s.b, filled, token, v, time.Minute) {
			s.Errorf("lease %q: its holder cannot fill", lease)
		}
		s.abandon(s.b, driver.AbandonRequest{Key: abandoned, Lease: token})
		s.wantState(s.a, abandoned, driver.StateGranted)
	}
	s.put(s.a, "short", []byte("L2"), time.Minute)
	s.wantGrant("a lease of two bytes", s.look(s.b, "short"), driver.StateLeased, nil)
}

// Keys of one batch that are asked for differently, each by itself.
func (s *suite) leaseOverBatches() {
	const n = 200
	entries := make([][]byte, n)
	var fills []driver.FillRequest
	for i := range n {
		k := s.key(fmt.Sprint("k", i))
		entries[i] = versioned(uint64(i), envelope.NewToken())
		lease := envelope.NewToken()
		if r := s.acquire(s.a, fmt.Sprint("k", i), lease); r.State != driver.StateGranted {
			s.Fatalf("state %d", r.State)
		}
		fills = append(fills, driver.FillRequest{Key: k, Lease: lease, Entry: entries[i], TTL: time.Minute})
	}
	for i, r := range s.a.Fill(s.ctx, fills) {
		if r.Err != nil || !r.Stored {
			s.Fatalf("fill %d: %+v", i, r)
		}
	}
	for _, expect := range []driver.Expectation{driver.ExpectAnything, driver.ExpectValue, driver.ExpectNothing} {
		reqs := make([]driver.LeaseRequest, n)
		for i := range n {
			reqs[i] = driver.LeaseRequest{Key: fills[i].Key, Lease: envelope.NewToken(), TTL: time.Minute, Expect: expect, Carried: i%2 == 0}
			if i%5 == 0 {
				reqs[i].Over = fills[i].Lease // no entry has this token
			}
			if i%3 == 0 {
				_, reqs[i].Over, _ = envelope.Head(entries[i])
			}
		}
		var back []driver.AbandonRequest
		for i, g := range s.b.Acquire(s.ctx, reqs) {
			state := driver.StateFound
			if i%3 == 0 {
				state = driver.StateGranted
				back = append(back, driver.AbandonRequest{Key: reqs[i].Key, Lease: reqs[i].Lease})
			}
			if g.Err != nil {
				s.Fatalf("key %d: %v", i, g.Err)
			}
			s.wantGrant(fmt.Sprint("key ", i), g, state, entries[i])
		}
		ctx, cancel := context.WithTimeout(s.ctx, 20*time.Second)
		for _, err := range s.b.Abandon(ctx, back) {
			if err != nil {
				s.Fatal(err)
			}
		}
		cancel()
	}
}

// What is no whole entry is found as it is, however little of it there is. The reader
// replaces it.
func (s *suite) cutEntries() {
	stale := envelope.Append(nil, envelope.Entry{Token: envelope.NewToken(), StaleFor: time.Hour}, -1)
	for n := 1; n < len(stale); n++ {
		k := fmt.Sprint("k", n)
		s.put(s.a, k, stale[:n], time.Minute)
		s.wantFound(s.b, k, stale[:n])
		over := driver.Token{}
		copy(over[:], stale[min(n, 12):n])
		if g := s.ask(s.b, k, envelope.NewToken(), over); g.State != driver.StateFound {
			s.Errorf("%d bytes of an entry: state %d", n, g.State)
		}
	}
}
