package asidetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// The conformance suite: a tier that follows a feed.

func (s *suite) fed(l driver.Tier) driver.Fed {
	s.Helper()
	f, ok := l.(driver.Fed)
	if !ok {
		s.Fatalf("%T is no driver.Fed, and the other client is", l)
	}
	return f
}

func (s *suite) drop(l driver.Tier, k string, version uint64, deleted bool, writer driver.Token) (left bool) {
	s.Helper()
	req := driver.ChangeRequest{Key: s.key(k), Version: version, Deleted: deleted, Writer: writer}
	r := s.fed(l).DropOlder(s.ctx, []driver.ChangeRequest{req})[0]
	if r.Err != nil {
		s.Fatalf("DropOlder %s: %v", k, r.Err)
	}
	return r.Left
}

// versioned is a value of a version, stored by a token.
func versioned(version uint64, t driver.Token) []byte {
	return envelope.Append(nil, envelope.Entry{Version: version, Token: t, Payload: []byte("v")}, -1)
}

func absence(t driver.Token) []byte {
	return envelope.Append(nil, envelope.Entry{Negative: true, Token: t}, -1)
}

// A number of Lua, and of JavaScript, tells these apart no more.
const large = 1<<63 + 1<<32

// What a change made old goes, and nothing else.
func (s *suite) dropOlderRemoves() {
	w, other, none := envelope.NewToken(), envelope.NewToken(), driver.Token{}
	// Format 1 has no more than the first 36 bytes of the head, and its number.
	format1 := versioned(5, w)[:36]
	format1[1] = 1
	later := versioned(5, w)
	later[1] = 99
	format3 := envelope.Append(nil, envelope.Entry{Version: 5, Token: w, ETag: "e", Payload: []byte("v")}, -1)
	tooLarge := envelope.Append(nil, envelope.Entry{Version: 5, Token: w, Elsewhere: true}, -1)
	for i, c := range []struct {
		what    string
		entry   []byte
		version uint64
		deleted bool
		writer  driver.Token
		stays   bool
	}{
		{"a value, an older change", versioned(5, w), 4, false, none, true},
		{"a value, a change of its version", versioned(5, w), 5, false, none, true},
		{"a value, a newer change", versioned(5, w), 6, false, none, false},
		{"a value, a change of no known version", versioned(5, w), 0, false, none, false},
		{"a value, its own writer's change of no known version", versioned(5, w), 0, false, w, true},
		{"a value, its own writer's newer change", versioned(5, w), 6, false, w, true},
		{"a value, its own writer's deletion", versioned(5, w), 0, true, w, true},
		{"a value, another writer's newer change", versioned(5, w), 6, false, other, false},
		{"a value, another writer's older change", versioned(5, w), 4, false, other, true},
		{"a value, a deletion", versioned(5, w), 0, true, none, false},
		{"a value, another's deletion", versioned(5, w), 0, true, other, false},
		{"a value, a deletion that has a version", versioned(5, w), 5, true, none, false},
		{"a value of no version", versioned(0, w), 1, false, none, false},
		{"a value of no version and no token, a change without either", versioned(0, none), 0, false, none, false},
		{"a value of a large version, the one after", versioned(large, w), large + 1, false, none, false},
		{"a value of a large version, the one before", versioned(large, w), large - 1, false, none, true},
		{"a value of a large version, a small one", versioned(large, w), 1<<33 - 1, false, none, true},
		{"a value of a small version, a large one", versioned(1<<33-1, w), large, false, none, false},
		{"a value that is too large, a newer change", tooLarge, 6, false, none, false},
		{"a value that is too large, an older change", tooLarge, 4, false, none, true},
		{"a value of format 1, an older change", format1, 4, false, none, true},
		{"a value of format 1, a newer change", format1, 6, false, none, false},
		{"a value of a later format", later, 4, false, none, false},
		{"a value that is cut off", versioned(5, w)[:40], 4, false, none, false},
		{"a value of one byte", []byte("V"), 4, false, none, false},
		{"a value of format 3, an older change", format3, 4, false, none, true},
		{"a value of format 3, a newer change", format3, 6, false, none, false},
		{"a value of format 3, its own writer's change", format3, 0, false, w, true},
		{"an absence, a change", absence(w), 1, false, none, false},
		{"an absence, a change of no known version", absence(w), 0, false, none, false},
		{"an absence, a deletion", absence(w), 0, true, none, true},
		{"an absence, its own writer's deletion", absence(w), 0, true, w, true},
		{"an absence, its own writer's change", absence(w), 1, false, w, true},
		{"an absence, another writer's change", absence(w), 1, false, other, false},
		{"an absence of no token, a change without", absence(none), 0, false, none, false},
		{"foreign bytes", []byte("X is not ours"), 4, false, none, false},
		{"foreign bytes, a deletion", []byte("X is not ours"), 0, true, none, false},
	} {
		k := fmt.Sprint("k", i)
		s.put(s.a, k, c.entry, time.Minute)
		if left := s.drop(s.b, k, c.version, c.deleted, c.writer); left != c.stays {
			s.Errorf("%s: left is %v, want %v", c.what, left, c.stays)
		}
		r := s.acquire(s.a, k, envelope.NewToken())
		stays := r.State == driver.StateFound && bytes.Equal(r.Entry, c.entry)
		if stays != c.stays || !stays && r.State != driver.StateGranted {
			s.Errorf("%s: state %d with entry %q, want it to stay: %v", c.what, r.State, r.Entry, c.stays)
		}
	}
	s.drop(s.b, "absent", 7, false, none)
	s.wantState(s.a, "absent", driver.StateGranted)
}

// A load that began before a change was told may have read what was there before it.
func (s *suite) dropOlderRemovesLeases() {
	for i, c := range []driver.ChangeRequest{{Version: 1}, {}, {Deleted: true}, {Writer: envelope.NewToken()}} {
		k := fmt.Sprint("k", i)
		lease := envelope.NewToken()
		s.acquire(s.a, k, lease)
		s.drop(s.b, k, c.Version, c.Deleted, c.Writer)
		if s.fill(s.a, k, lease, versioned(9, lease), time.Minute) {
			s.Errorf("%+v: stale set: a fill whose load began before the change was told", c)
		}
		s.wantState(s.a, k, driver.StateGranted)
	}
}

// A change of somebody else under a writer's fence: the fence stands, and nothing
// older is published. What is not older is.
func (s *suite) dropOlderUnderAFence() {
	none := driver.Token{}
	type change struct {
		version uint64
		deleted bool
		own     bool // the writer's
	}
	for i, c := range []struct {
		what    string
		changes []change
		publish []byte
		stored  bool
	}{
		{"an older value", []change{{version: 5}}, versioned(4, none), false},
		{"a value of the version", []change{{version: 5}}, versioned(5, none), true},
		{"a newer value", []change{{version: 5}}, versioned(6, none), true},
		{"a value of no version", []change{{version: 5}}, versioned(0, none), false},
		{"what cannot be read", []change{{version: 5}}, []byte("V"), false},
		{"an absence", []change{{version: 5}}, absence(none), false},
		{"an absence of a version", []change{{version: 5}}, envelope.Append(nil, envelope.Entry{Negative: true, Version: 6}, -1), false},
		{"older than the first of two", []change{{version: 7}, {version: 5}}, versioned(6, none), false},
		{"older than the second of two", []change{{version: 5}, {version: 7}}, versioned(6, none), false},
		{"newer than two", []change{{version: 5}, {version: 7}}, versioned(7, none), true},
		{"one before a large version", []change{{version: large}}, versioned(large-1, none), false},
		{"a large version", []change{{version: large}}, versioned(large, none), true},
		{"after a change of no known version", []change{{}}, versioned(9, none), false},
		{"after one, and one that is known", []change{{}, {version: 5}}, versioned(9, none), false},
		{"after one that is known, and one that is not", []change{{version: 5}, {}}, versioned(9, none), false},
		{"a value after a deletion", []change{{deleted: true}}, versioned(9, none), false},
		{"an absence after a deletion", []change{{deleted: true}}, absence(none), false},
		{"its own change", []change{{version: 5, own: true}}, versioned(4, none), true},
		{"its own change of no known version", []change{{own: true}}, versioned(4, none), true},
		{"its own deletion", []change{{deleted: true, own: true}}, absence(none), true},
		{"an older value after another's change and its own", []change{{version: 5}, {version: 6, own: true}}, versioned(4, none), false},
		{"a newer value after another's change and its own", []change{{version: 5}, {version: 6, own: true}}, versioned(6, none), true},
		{"after its own and another's", []change{{version: 5, own: true}, {version: 6}}, versioned(5, none), false},
	} {
		k := fmt.Sprint("k", i)
		token := s.fence(s.a, k, time.Minute)
		for _, ch := range c.changes {
			writer := envelope.NewToken()
			if ch.own {
				writer = token
			}
			s.drop(s.b, k, ch.version, ch.deleted, writer)
			s.wantState(s.b, k, driver.StateFenced)
		}
		if r := s.release(s.a, k, token, c.publish); r.Published != c.stored || r.Lost {
			s.Errorf("%s: %+v, want it published: %v", c.what, r, c.stored)
		}
		if c.stored {
			s.wantFound(s.b, k, c.publish)
		} else {
			s.wantState(s.b, k, driver.StateGranted)
		}
	}
	// Who comes after the change has seen it, and is not bound by it.
	first := s.fence(s.a, "next", time.Minute)
	s.drop(s.b, "next", 5, false, none)
	s.release(s.a, "next", first, nil)
	if r := s.release(s.a, "next", s.fence(s.a, "next", time.Minute), versioned(1, none)); !r.Published {
		s.Errorf("the next writer: %+v, want published", r)
	}
	// A fence that is put up again, its first answer lost, is bound still.
	token := s.fence(s.a, "again", time.Minute)
	s.drop(s.b, "again", 5, false, none)
	if err := s.a.Fence(s.ctx, []driver.FenceRequest{{Key: s.key("again"), Token: token, Life: time.Minute}})[0]; err != nil {
		s.Fatal(err)
	}
	if r := s.release(s.a, "again", token, versioned(4, none)); r.Published || r.Lost {
		s.Errorf("a fence that was put up again: %+v", r)
	}
}

// With several writers nobody publishes, whatever a feed tells, and the fence stands
// until the last of them has ended.
func (s *suite) dropOlderUnderManyFences() {
	for i, c := range []driver.ChangeRequest{{Version: 1}, {}, {Deleted: true}} {
		for _, from := range []string{"first", "second", "stranger"} {
			for _, early := range []bool{false, true} { // before the second writer comes
				k := fmt.Sprint(from, i, early)
				first, second := s.fence(s.a, k, time.Minute), envelope.NewToken()
				c.Writer = map[string]driver.Token{"first": first, "second": second}[from]
				if early {
					s.drop(s.b, k, c.Version, c.Deleted, c.Writer)
				}
				if err := s.b.Fence(s.ctx, []driver.FenceRequest{{Key: s.key(k), Token: second, Life: time.Minute}})[0]; err != nil {
					s.Fatal(err)
				}
				if !early {
					s.drop(s.b, k, c.Version, c.Deleted, c.Writer)
				}
				if r := s.release(s.a, k, first, versioned(9, first)); r.Published || r.Lost {
					s.Errorf("%s: first of two writers: %+v", k, r)
				}
				s.wantState(s.a, k, driver.StateFenced)
				s.drop(s.a, k, c.Version, c.Deleted, c.Writer)
				if r := s.release(s.b, k, second, versioned(9, second)); r.Published || r.Lost {
					s.Errorf("%s: second of two writers: %+v", k, r)
				}
				s.wantState(s.a, k, driver.StateGranted)
			}
		}
	}
	for i, raw := range []string{"F8" + strings.Repeat("later", 9), "F", "FOO", "F0" + strings.Repeat("x", 29)} {
		k := fmt.Sprint("unknown", i)
		s.put(s.a, k, []byte(raw), time.Minute)
		s.drop(s.b, k, 5, false, driver.Token{})
		s.wantState(s.a, k, driver.StateFenced)
	}
	// It ends when it would have ended.
	late := s.fence(s.a, "short", 50*time.Millisecond)
	s.drop(s.b, "short", 5, false, driver.Token{})
	s.eventually("the fence of a crashed writer ends", func() bool { return s.acquire(s.b, "short", envelope.NewToken()).State == driver.StateGranted })
	if r := s.release(s.a, "short", late, versioned(9, late)); !r.Lost || r.Published {
		s.Errorf("a release after the fence has ended: %+v", r)
	}
}

// Every node that has the key hears that it goes, who drops it too; and nobody hears of
// what stays.
func (s *suite) dropOlderIsTold() {
	a, b := s.watchers()
	none := driver.Token{}
	for _, k := range []string{"goes", "stays"} {
		s.put(s.a, k, versioned(5, none), time.Minute)
		s.wantState(s.b, k, driver.StateFound)
		s.wantState(s.a, k, driver.StateFound)
	}
	was := [2]int{a.of("stays"), b.of("stays")}
	for _, l := range []driver.Tier{s.a, s.b} {
		s.drop(l, "stays", 5, false, none)
	}
	for i, l := range []driver.Tier{s.a, s.b} {
		n := [2]int{a.of("goes"), b.of("goes")}
		s.drop(l, "goes", 6+uint64(i), false, none)
		s.eventually("both hear that it goes", func() bool { return a.of("goes") > n[0] && b.of("goes") > n[1] })
		s.put(s.a, "goes", versioned(6, none), time.Minute)
		s.wantState(s.b, "goes", driver.StateFound)
	}
	if n := [2]int{a.of("stays"), b.of("stays")}; n != was {
		s.Errorf("told of a key that stays: %v, before %v", n, was)
	}
	// What stays is watched on.
	s.drop(s.a, "stays", 6, false, none)
	s.eventually("both hear that it goes after all", func() bool { return a.of("stays") > was[0] && b.of("stays") > was[1] })
	// And a key that somebody waits for.
	lease := envelope.NewToken()
	s.acquire(s.b, "leased", lease)
	s.wantState(s.a, "leased", driver.StateLeased)
	n := a.of("leased")
	s.drop(s.a, "leased", 1, false, none)
	s.eventually("who waits for a lease hears that it goes", func() bool { return a.of("leased") > n })
}

// Many keys at once, each with its own answer; one key may be there more than once.
func (s *suite) dropOlderBatches() {
	const n = 1100
	lease := envelope.NewToken()
	acq := make([]driver.LeaseRequest, n)
	fills := make([]driver.FillRequest, n)
	var reqs []driver.ChangeRequest
	for i := range n {
		k := s.key(fmt.Sprint("k", i))
		acq[i] = driver.LeaseRequest{Key: k, Lease: lease, TTL: time.Minute}
		fills[i] = driver.FillRequest{Key: k, Lease: lease, Entry: versioned(5, lease), TTL: time.Minute}
		req := driver.ChangeRequest{Key: k, Version: uint64(4 + i%3)} // every third is newer
		if i%7 == 0 {
			req = driver.ChangeRequest{Key: k, Writer: lease}
		}
		reqs = append(reqs, req)
		if i%50 == 0 {
			reqs = append(reqs, driver.ChangeRequest{Key: k, Deleted: true}, driver.ChangeRequest{Key: k, Version: 1})
		}
	}
	s.a.Acquire(s.ctx, acq)
	for i, r := range s.a.Fill(s.ctx, fills) {
		if r.Err != nil || !r.Stored {
			s.Fatalf("fill %d: %+v", i, r)
		}
	}
	results := s.fed(s.b).DropOlder(s.ctx, reqs)
	if len(results) != len(reqs) {
		s.Fatalf("%d answers of %d", len(results), len(reqs))
	}
	for i, r := range results {
		if r.Err != nil {
			s.Fatalf("change %d: %v", i, r.Err)
		}
	}
	for i, r := range s.a.Acquire(s.ctx, acq) {
		stays := i%50 != 0 && (i%7 == 0 || i%3 != 2)
		if r.Err != nil || (r.State == driver.StateFound) != stays {
			s.Fatalf("key %d: %+v, want it to stay: %v", i, r, stays)
		}
	}
	if errs := s.fed(s.a).DropOlder(s.ctx, nil); len(errs) != 0 {
		s.Errorf("an empty batch has the answers %+v", errs)
	}
}

// Readers, writers, others who write past the cache, and the feed that tells of it all
// later, in any order: what is stored is never older than what the feed has told. Some
// changes carry their writer, some their version; records are deleted and made again.
func (s *suite) fedHistory() {
	const rounds, steps = 96, 60
	for round := range rounds {
		// Every kind of round, so that each rule is needed in some: with many writers at
		// once no rule for one that is alone is.
		h := &fedHistory{suite: s, k: fmt.Sprint("k", round), rnd: rand.New(rand.NewPCG(uint64(round), 0)),
			writers: round&1 == 0, versions: round&2 == 0, deletes: round&4 == 0, goesBack: round&8 == 0, most: round >> 4 % 3}
		for h.n = 0; h.n < steps && !s.Failed(); h.n++ {
			h.step(true)
		}
		for (len(h.loads) > 0 || len(h.writes) > 0 || len(h.events) > h.told) && !s.Failed() {
			h.step(false)
		}
		if s.Failed() {
			s.Fatalf("round %d:\n%s", round, strings.Join(h.log, "\n"))
		}
	}
}

// fedHistory is one key and its record.
type fedHistory struct {
	*suite
	k                 string
	rnd               *rand.Rand
	writers, versions bool // changes have them
	deletes, goesBack bool // the record is deleted now and then, the feed goes back
	most              int  // writers at once
	n                 int  // steps
	log               []string

	record state
	events []event
	told   int // of the events
	ever   int // told of them, before the feed went back
	loads  []under
	writes []under
}

// state is a record after so many changes.
type state struct {
	changes int
	absent  bool
	version uint64
}

type event struct {
	state
	writer driver.Token
}

// under is a load or a write that has begun.
type under struct {
	token  driver.Token
	done   bool // it has read, or changed, the record
	is     state
	client driver.Tier
}

func (h *fedHistory) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *fedHistory) entry(is state, t driver.Token) []byte {
	e := envelope.Entry{Negative: is.absent, Token: t}
	if !is.absent {
		e.Payload = fmt.Append(nil, is.changes)
		if h.versions {
			e.Version = is.version
		}
	}
	e.Stored = time.UnixMilli(int64(is.changes)) // so that it can be told of an absence too
	return envelope.Append(nil, e, -1)
}

// change commits one.
func (h *fedHistory) change(t driver.Token) state {
	h.record.changes++
	h.record.version++
	h.record.absent = h.deletes && h.rnd.IntN(4) == 0
	if h.record.absent && h.rnd.IntN(2) == 0 {
		h.record.version = 0 // made again, it begins anew
	}
	h.events = append(h.events, event{h.record, t})
	return h.record
}

// step does one thing; more: also one that begins.
func (h *fedHistory) step(more bool) {
	client := []driver.Tier{h.a, h.b}[h.rnd.IntN(2)]
	switch what := h.rnd.IntN(8); {
	case what == 0 && more:
		t := envelope.NewToken()
		if r := h.acquire(client, h.k, t); r.State == driver.StateGranted {
			h.note("a load begins")
			h.loads = append(h.loads, under{token: t, client: client})
		}
	case what == 1 && len(h.loads) > 0:
		i := h.rnd.IntN(len(h.loads))
		l := &h.loads[i]
		if !l.done {
			l.done, l.is = true, h.record
			h.note("a load reads %+v", l.is)
			break
		}
		h.note("a load of %+v fills: %v", l.is, h.fill(l.client, h.k, l.token, h.entry(l.is, l.token), time.Minute))
		h.loads = append(h.loads[:i], h.loads[i+1:]...)
	case what == 2 && more && len(h.writes) < h.most:
		h.note("a write begins")
		h.writes = append(h.writes, under{token: h.fence(client, h.k, time.Minute), client: client})
	case (what == 3 || what == 4) && len(h.writes) > 0:
		i := h.rnd.IntN(len(h.writes))
		w := &h.writes[i]
		if !w.done {
			t := w.token
			if !h.writers {
				t = driver.Token{}
			}
			w.done, w.is = true, h.change(t)
			h.note("a write commits %+v", w.is)
			break
		}
		h.note("a write of %+v ends: %+v", w.is, h.release(w.client, h.k, w.token, h.entry(w.is, w.token)))
		h.writes = append(h.writes[:i], h.writes[i+1:]...)
	case what == 5 && more:
		h.note("somebody else commits %+v", h.change(driver.Token{}))
	case what >= 6 && h.told < len(h.events):
		e := h.events[h.told]
		h.told++
		h.ever = max(h.ever, h.told)
		version := e.version
		if !h.versions || e.absent {
			version = 0
		}
		h.note("told of %+v", e.state)
		h.drop(client, h.k, version, e.absent, e.writer)
		if h.goesBack && h.rnd.IntN(8) == 0 { // from a few changes before
			h.told = max(0, h.told-3)
			h.note("the feed goes back")
		}
	}
	h.check()
}

func (h *fedHistory) check() {
	t := envelope.NewToken()
	r := h.acquire(h.a, h.k, t)
	switch r.State {
	case driver.StateGranted:
		if err := h.a.Abandon(h.ctx, []driver.AbandonRequest{{Key: h.key(h.k), Lease: t}})[0]; err != nil {
			h.Fatal(err)
		}
	case driver.StateFound:
		e, err := (envelope.Reader{}).Decode(r.Entry)
		if err != nil {
			h.Fatal(err)
		}
		if at := int(e.Stored.UnixMilli()); at < h.ever {
			h.Errorf("stored is the record after %d changes, and the feed has told of %d", at, h.ever)
		}
	}
}

func (s *suite) lead(l driver.Tier, k string, t driver.Token, ttl time.Duration, state []byte) driver.Leadership {
	s.Helper()
	r, err := s.fed(l).Lead(s.ctx, driver.LeadRequest{Key: s.key(k), Leader: t, TTL: ttl, State: state})
	if err != nil {
		s.Fatalf("Lead %s: %v", k, err)
	}
	return r
}

func (s *suite) wantLead(what string, got driver.Leadership, leads, led bool, state []byte) {
	s.Helper()
	if got.Leads != leads || got.Led != led || !bytes.Equal(got.State, state) || (got.State == nil) != (state == nil) {
		s.Errorf("%s: %+v, want leads %v, led %v, state %q", what, got, leads, led, state)
	}
}

func (s *suite) leadsAlone() {
	one, two := envelope.NewToken(), envelope.NewToken()
	binary := []byte("=\x00\xff P1\r\n")
	s.wantLead("first", s.lead(s.a, "k", one, time.Minute, binary), true, true, nil)
	s.wantLead("while another leads", s.lead(s.b, "k", two, time.Minute, []byte("two")), false, true, binary)
	s.wantLead("giving up what another has", s.lead(s.b, "k", two, 0, []byte("two")), false, true, binary)
	s.wantLead("goes on, state as it is", s.lead(s.a, "k", one, time.Minute, nil), true, true, binary)
	s.wantLead("goes on, no bytes", s.lead(s.a, "k", one, time.Minute, []byte{}), true, true, binary)
	s.wantLead("goes on, from elsewhere", s.lead(s.b, "k", one, time.Minute, []byte("one")), true, true, []byte{})
	s.wantLead("gives up, with a last word", s.lead(s.a, "k", one, 0, []byte("last")), false, false, []byte("one"))
	s.wantLead("gives up again", s.lead(s.a, "k", one, 0, []byte("late")), false, false, []byte("last"))
	s.wantLead("the next one", s.lead(s.b, "k", two, time.Minute, nil), true, true, []byte("last"))
	s.wantLead("the one before", s.lead(s.a, "k", one, time.Minute, []byte("late")), false, true, []byte("last"))
	s.wantLead("gives up, state as it is", s.lead(s.b, "k", two, 0, nil), false, false, []byte("last"))
	s.wantLead("of another key", s.lead(s.b, "other", two, time.Minute, nil), true, true, nil)
}

func (s *suite) leadershipEnds() {
	one, two := envelope.NewToken(), envelope.NewToken()
	s.wantLead("first", s.lead(s.a, "k", one, 50*time.Millisecond, []byte("one")), true, true, nil)
	s.eventually("a leader that is heard of no more is followed by another", func() bool {
		r := s.lead(s.b, "k", two, time.Minute, nil)
		if string(r.State) != "one" {
			s.Fatalf("%+v, want the first one's state", r)
		}
		return r.Leads
	})
	s.wantLead("the first one again", s.lead(s.a, "k", one, time.Minute, []byte("late")), false, true, []byte("one"))
	s.wantLead("the second goes on", s.lead(s.b, "k", two, time.Minute, nil), true, true, []byte("one"))
	// Nobody's to give up: the state stays, and no key is made.
	s.wantLead("nothing to give up", s.lead(s.a, "none", one, 0, []byte("x")), false, false, nil)
	s.wantLead("after that", s.lead(s.b, "none", two, time.Minute, nil), true, true, nil)
}

// leadTakesOver: what is no leader's is nobody's, and a leadership that begins later than
// now is of a clock that was set back.
func (s *suite) leadTakesOver() {
	now, t := time.Now(), envelope.NewToken()
	leads := func(since, until time.Duration) []byte {
		return envelope.Leader{Since: now.Add(since), Until: now.Add(until), Token: envelope.NewToken(), State: []byte("x")}.Append(nil)
	}
	whole := leads(-time.Hour, time.Hour)
	for i, c := range []struct {
		entry []byte
		led   bool
		state []byte
	}{
		{whole, true, []byte("x")},
		{leads(24*time.Hour, 25*time.Hour), false, []byte("x")},
		{whole[:len(whole)-2], true, nil},
		{whole[:len(whole)-3], false, nil},
		{append(bytes.Clone(whole[:len(whole)-2]), "?x"...), false, nil},
		{append([]byte("P2"), whole[2:]...), false, nil},
		{append([]byte("P1+"), whole[3:]...), false, nil},
		{versioned(1, t), false, nil},
		{envelope.AppendLease(nil, t), false, nil},
		{[]byte("P"), false, nil},
	} {
		k := fmt.Sprint("k", i)
		s.put(s.a, k, c.entry, time.Minute)
		s.wantLead(fmt.Sprintf("over %q", c.entry), s.lead(s.b, k, t, time.Minute, nil), !c.led, true, c.state)
	}
}
