package aside_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

func (n *node) inspect(k string) aside.Inspection[rec] {
	n.t.Helper()
	i, err := n.Inspect(context.Background(), k)
	if err != nil {
		n.t.Fatalf("inspect %s: %v", k, err)
	}
	if i.Key != k || n.conn != nil && i.L2Key != testPrefix+k {
		n.t.Errorf("inspect %s: keys %q, %q", k, i.Key, i.L2Key)
	}
	return i
}

func nodeName(name string) func(*options) { return func(o *options) { o.Node = name } }

// Each kind of entry, in both tiers: what it is, who stored it, and how long it lasts.
// Caught: random tokens, that tell nothing of a node.
func TestInspectTellsEachKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		a := newNode(t, p, s, nodeName("node a"), func(o *options) { o.SchemaVersion, o.StaleFor = 7, time.Minute })
		b := newNode(t, p, s, nodeName("node b"), func(o *options) { o.SchemaVersion = 7 })
		idA, idB := aside.NodeIDOf("node a"), aside.NodeIDOf("node b")
		now := time.Now()

		if i := a.inspect("k"); i.L1 != nil || i.L2 != nil || i.L2Err != nil || i.Loading || i.Writing || i.Pending {
			t.Errorf("nothing was read: %+v", i)
		}
		a.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		want := rec{"k", 1}
		i := a.inspect("k")
		if e := i.L1; e == nil || e.Kind != aside.EntryValue || e.Value != want || e.Version != 1 || e.Node != idA || e.Left < 49*time.Second || e.Left > 51*time.Second {
			t.Errorf("L1: %+v", e)
		}
		stored := aside.InspectedEntry[rec]{
			Kind: aside.EntryValue, Value: want, Version: 1, Stored: now, Age: 10 * time.Second, Left: 5*time.Minute + 50*time.Second,
			Format: 2, Codec: 1, Schema: 7, Size: len(s.Entry(testPrefix + "k")), Node: idA,
		}
		if e := b.inspect("k").L2; e == nil || fmt.Sprintf("%+v", *e) != fmt.Sprintf("%+v", stored) {
			t.Errorf("L2:\n%+v, want\n%+v", e, stored)
		}
		if i := b.inspect("k"); i.L1 != nil {
			t.Errorf("b has not read it: %+v", i.L1)
		}
		time.Sleep(5 * time.Minute)
		if i := a.inspect("k"); i.L1 != nil || i.L2 == nil || !i.L2.Stale || i.L2.Left != 50*time.Second {
			t.Errorf("past its TTL: %+v, %+v", i.L1, i.L2)
		}

		// An absence.
		_, _ = b.Get(t.Context(), "none", p)
		synctest.Wait()
		i = b.inspect("none")
		if i.L1 == nil || i.L1.Kind != aside.EntryNegative || i.L2 == nil || i.L2.Kind != aside.EntryNegative || i.L2.Node != idB || i.L2.Left != 30*time.Second {
			t.Errorf("an absence: %+v, %+v", i.L1, i.L2)
		}

		// A lease, and the load under it.
		gate := make(chan struct{})
		p.beforeRead = func(string) { <-gate }
		go a.read("lease", aside.Default)
		p.put("lease")
		synctest.Wait()
		i = b.inspect("lease")
		if e := i.L2; i.Loading || e == nil || e.Kind != aside.EntryLease || e.Node != idA || e.Err != nil || e.Left != 6*time.Second+200*time.Millisecond {
			t.Errorf("a lease, from elsewhere: %v, %+v", i.Loading, e)
		}
		if i := a.inspect("lease"); !i.Loading || i.Writing {
			t.Errorf("the node that loads: %+v", i)
		}
		close(gate)
		synctest.Wait()
		if i := a.inspect("lease"); i.Loading || i.L2 == nil || i.L2.Kind != aside.EntryValue {
			t.Errorf("loaded: %+v", i)
		}

		// A fence, and the writes under it.
		release := make(chan struct{})
		write := func(n *node) {
			_ = n.Write(context.Background(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { <-release; return nil })
		}
		go write(a)
		synctest.Wait()
		fenced := func(want ...aside.InspectedWriter) {
			t.Helper()
			e := b.inspect("k").L2
			if e == nil || e.Kind != aside.EntryFence || fmt.Sprintf("%+v", e.Writers) != fmt.Sprintf("%+v", want) {
				t.Errorf("fence: %+v, want writers %+v", e, want)
			}
		}
		fenced(aside.InspectedWriter{Node: idA, Left: 10 * time.Second, MayPublish: true})
		if a, b := a.inspect("k").Writing, b.inspect("k").Writing; !a || b {
			t.Errorf("writing: %v on the node that writes, %v on the other", a, b)
		}
		time.Sleep(time.Second)
		go write(b)
		synctest.Wait()
		fenced(aside.InspectedWriter{Node: idA, Left: 9 * time.Second}, aside.InspectedWriter{Node: idB, Left: 10 * time.Second})
		close(release)
		synctest.Wait()
		if i := a.inspect("k"); i.Writing || i.L2 != nil {
			t.Errorf("written: %+v", i)
		}
		_ = errors.Join(a.Close(t.Context()), b.Close(t.Context()))
	})
}

// An entry tells its tags in both tiers. Once one of them is invalidated it is of no use,
// also by what a node says that has not met a tag yet.
// Caught: an old entry of L2 that was shown as what reads get, by a node that knew no tags.
func TestInspectTellsTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k", "u")
		a, b := newTagNode(t, p, s), newNode(t, p, s)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.want("u", 1, aside.SourceLoad)
		synctest.Wait()
		i := a.inspect("k")
		for name, e := range map[string]*aside.InspectedEntry[rec]{"L1": i.L1, "L2": i.L2} {
			if e == nil || !slices.Equal(e.Tags, []string{"t", "other"}) || e.Err != nil {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if i := b.inspect("u"); i.L1.Tags != nil || i.L2.Tags != nil {
			t.Errorf("without tags: %+v, %+v", i.L1, i.L2)
		}
		a.invalidates("t")
		for name, n := range map[string]*node{"the node itself": a.node, "another": b, "a new one": newNode(t, p, s)} {
			i := n.inspect("k")
			if i.L1 != nil || i.L2 == nil || i.L2.Err == nil || !strings.Contains(i.L2.Err.Error(), "a tag of the entry was invalidated") || len(i.L2.Tags) != 2 {
				t.Errorf("%s, after it was invalidated: %+v, %+v", name, i.L1, i.L2)
			}
		}
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		if i := b.inspect("k"); i.L2 == nil || i.L2.Err != nil {
			t.Errorf("loaded again: %+v", i.L2)
		}
	})
}

// A look is no read: nothing is counted, nothing is asked of L2 but that, no entry of
// L1 lives longer, and the key's changes are not reported for it.
// Caught: Get in place of Peek; c.changed called for a key that was only looked at.
func TestInspectIsNoRead(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	var ops []string
	n := newNode(t, p, s, func(o *options) { o.OnL2 = func(op string, _ time.Duration, _ error) { ops = append(ops, op) } })
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	before, calls := n.Stats(), fmt.Sprint(ops)
	other := newNode(t, p, s)
	for _, k := range []string{"k", "absent", "k"} {
		n.inspect(k)
		other.inspect(k)
	}
	other.update("k")
	testsync.Eventually(t, "the change is told to the one who has read it", func() bool { return n.Stats().Invalidations == 1 })
	if st := other.Stats(); st.Invalidations != 0 {
		t.Errorf("%d invalidations were told to a node that has read nothing", st.Invalidations)
	}
	after := n.Stats()
	after.Invalidations, after.L1Entries, after.L1Cost = before.Invalidations, before.L1Entries, before.L1Cost
	if !reflect.DeepEqual(before, after) {
		t.Errorf("counted:\n%+v, before\n%+v", after, before)
	}
	if fmt.Sprint(ops) != calls || n.p.reads.Load() != 1 || n.conn.Calls("Inspect") != 3 {
		t.Errorf("L2 was asked %v, and %d times to inspect; %d loads", ops, n.conn.Calls("Inspect"), n.p.reads.Load())
	}
}

// seeds are entries of all kinds, whole and broken.
func inspectSeeds(t testing.TB) map[string][]byte {
	s := &asidetest.Server{}
	n := newNode(t, newPrimary("k"), s)
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	good := s.Entry(testPrefix + "k")
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	token := envelope.NewToken()
	fence := func(b string, records int) []byte {
		f := envelope.Fence{Shared: b == "1"}
		for range records {
			f.Writers = append(f.Writers, envelope.Writer{Token: envelope.NewToken(), Ends: time.Now().Add(time.Minute)})
		}
		return f.Append(nil)
	}
	seeds := map[string][]byte{
		"value": good, "empty": {}, "V": {'V'}, "cut": good[:51], "header only": good[:52], "other format": change(1, 99),
		"unknown flags": change(2, 0xf0), "other codec": change(3, 9), "newer": change(4, 0xff), "year 292277026": change(28, binary.BigEndian.AppendUint64(nil, math.MaxInt64)...),
		"before the beginning": change(28, binary.BigEndian.AppendUint64(nil, 1<<63)...), "the zero time": change(28, binary.BigEndian.AppendUint64(nil, 0xffffc77cedd32800)...),
		"other schema": change(44, 1), "other type": change(48, 1), "not JSON": change(52, '!'), "stale": change(2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1),
		"stale for ever": change(2, 4), "too large": change(2, 2)[:52], "negative": change(0, 'N')[:52], "negative with payload": change(0, 'N'),
		"compressed": change(2, 1), "lease": envelope.AppendLease(nil, token), "L": {'L'}, "other lease": []byte("L2" + string(token[:])),
		"lease over a value":    envelope.Lease{Token: token, Carried: good, Ends: time.Now().Add(time.Minute)}.Append(nil),
		"lease over what ended": envelope.Lease{Token: token, Carried: good, Ends: time.UnixMilli(1)}.Append(nil), "lease over one byte": envelope.Lease{Token: token, Carried: []byte("N"), Ends: time.UnixMilli(9999999999999)}.Append(nil),
		"F": {'F'}, "F0": []byte("F0"), "fence": fence("0", 1), "shared": fence("1", 2), "crowd": envelope.Fence{Shared: true, Writers: []envelope.Writer{{}}}.Append(nil),
		"told": envelope.Fence{Writers: []envelope.Writer{{Token: token}}, Since: 9}.Append(nil), "all ended": envelope.Fence{Shared: true, Writers: []envelope.Writer{{Token: token, Ends: time.UnixMilli(1)}}}.Append(nil),
		"other fence": []byte("F8later"), "no digits": append(fence("0", 1)[:18], "            x"...), "leader": []byte("P1"), "foreign": []byte(`{"id":1}`),
	}
	seeds["stale for ever"] = append(append(change(2, 4)[:36], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), good[44:]...)
	return seeds
}

// checkInspected holds what Inspect says of an entry to what a read makes of it.
func checkInspected(t *testing.T, entry []byte, ttl time.Duration) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	p.put("k") // version 2, so that it can be told from an entry's
	reader := newNode(t, p, s, func(o *options) { o.LeaseWait = time.Millisecond })
	s.SetEntry(testPrefix+"k", entry, ttl)
	i := reader.inspect("k")
	if !bytes.Equal(s.Entry(testPrefix+"k"), entry) {
		t.Error("the entry was changed")
	}
	e := i.L2
	if i.L2Err != nil || e == nil || e.Size != len(entry) || (ttl == 0) != (e.Left < 0) {
		t.Fatalf("%q: %+v, %v", entry, e, i.L2Err)
	}
	if _, err := json.Marshal(i); err != nil {
		t.Errorf("%q: %v", entry, err)
	}
	r, err := reader.Read(context.Background(), "k", p, aside.Default)
	from := fmt.Sprint(r.Source, ", ", r.Miss)
	want := "load, absent" // replaced
	switch {
	case e.Kind == aside.EntryFence:
		want = "load, fenced"
	case e.TooLarge && strings.Contains(e.Err.Error(), "MaxEntrySize"):
		want = "load, too large"
	case e.Stale:
		want = "load, stale"
	case e.Err != nil:
	case e.Kind == aside.EntryLease:
		want = "load, lease wait"
		if e.Carried != nil && e.Carried.Err == nil && e.Carried.Left > 0 && !e.Carried.Stale {
			want = "L2, none"
			if r.Value != e.Carried.Value || r.Stale {
				t.Errorf("%q: carries %+v, read as %+v", entry, e.Carried, r)
			}
		}
	case e.Kind == aside.EntryValue, e.Kind == aside.EntryNegative:
		want = "L2, none"
		if r.Value != e.Value || r.Version != e.Version || r.Negative != (e.Kind == aside.EntryNegative) || errors.Is(err, aside.ErrNotFound) != r.Negative {
			t.Errorf("%q: inspected as %+v, read as %+v", entry, e, r)
		}
	default:
		t.Errorf("%q: of no known kind, and without an error: %+v", entry, e)
	}
	if from != want {
		t.Errorf("%q: inspected as %+v, so a read should be answered by %q, not %q", entry, e, want, from)
	}
	if e.Kind != aside.EntryFence && e.Writers != nil || e.Err != nil && e.Value != (rec{}) {
		t.Errorf("%q: %+v", entry, e)
	}
	for _, w := range e.Writers {
		if w.Crowd && !w.Node.IsZero() || w.MayPublish && len(e.Writers) != 1 {
			t.Errorf("%q: writer %+v", entry, w)
		}
	}
}

// Whatever is under the key, Inspect says what a read would make of it.
// Caught: a lease without an end taken for one
// that stands; a time stamp that JSON cannot write.
func TestInspectOfAnyBytes(t *testing.T) {
	for name, entry := range inspectSeeds(t) {
		t.Run(name, func(t *testing.T) {
			checkInspected(t, entry, time.Minute)
			checkInspected(t, entry, 0)
			checkInspected(t, entry, 24*time.Hour)
		})
	}
}

func FuzzInspect(f *testing.F) {
	for _, entry := range inspectSeeds(f) {
		f.Add(entry, uint8(60))
		f.Add(entry, uint8(0))
	}
	f.Fuzz(func(t *testing.T, entry []byte, minutes uint8) {
		checkInspected(t, entry, time.Duration(minutes)*time.Minute)
	})
}

// Only what can be of use is asked for.
// Caught: a decoder that got the first bytes of a value.
func TestInspectOfALargeEntry(t *testing.T) {
	s := &asidetest.Server{}
	n := newNode(t, newPrimary(), s, func(o *options) { o.MaxEntrySize = 100 })
	large := envelope.Append(nil, envelope.Entry{
		Codec: 1, Token: envelope.NewTokenOf(aside.NodeIDOf("other")), Stored: time.Now(), Version: 3, Payload: bytes.Repeat([]byte(" "), 2<<20),
	}, -1)
	for what, entry := range map[string][]byte{"value": large, "fence": envelope.Fence{Writers: make([]envelope.Writer, 40_000)}.Append(nil)} {
		s.SetEntry(testPrefix+"k", entry, time.Minute)
		e := n.inspect("k").L2
		if e == nil || e.Err == nil || e.Size != len(entry) || e.Kind.String() != what {
			t.Fatalf("%s: %+v", what, e)
		}
		if what == "value" && (e.Version != 3 || e.Node != aside.NodeIDOf("other") || !strings.Contains(e.Err.Error(), fmt.Sprint(len(entry)))) {
			t.Errorf("%+v", e)
		}
	}
}

// L2 is asked also when the cache does not use it, and what comes of that is not taken
// for a sign of how L2 is.
// Caught: "circuit breaker open" for an answer; a look that opened the breaker.
func TestInspectWithoutL2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n := newNode(t, p, s)
		n.update("k")
		n.down()
		for range 10 {
			n.inspect("k")
		}
		if st := n.Stats(); st.Degraded || st.L2Errors != 0 {
			t.Errorf("ten looks: %d errors, degraded %q", st.L2Errors, st.DegradedReason)
		}
		if i := n.inspect("k"); i.L2 != nil || !errors.Is(i.L2Err, errDown) || i.L1 == nil || i.L1.Version != 2 {
			t.Errorf("L2 down: %+v", i)
		}
		for range 5 {
			n.read("k", aside.Strong)
		}
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Inspect" {
				return nil
			}
			return errDown
		})
		if i := n.inspect("k"); i.L2 == nil || i.L2Err != nil {
			t.Errorf("with the breaker open: %+v, %v", i.L2, i.L2Err)
		}
		n.update("k")
		if i := n.inspect("k"); !i.Pending || i.L1 != nil {
			t.Errorf("written without L2: %+v", i)
		}

		n.silent()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := n.Inspect(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("the caller's context: %v after %v", err, time.Since(start))
		}
		start = time.Now()
		if i := n.inspect("k"); !errors.Is(i.L2Err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("a silent L2: %v after %v", i.L2Err, time.Since(start))
		}
		n.up()
		time.Sleep(5 * time.Second)
		if i := n.inspect("k"); i.Pending || i.L2Err != nil {
			t.Errorf("L2 is back: %+v", i)
		}
		_ = n.Close(t.Context())
		if _, err := n.Inspect(t.Context(), "k"); !errors.Is(err, aside.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if _, err := n.Inspect(ended, "k"); !errors.Is(err, context.Canceled) {
			t.Errorf("with a context that has ended: %v", err)
		}
	})
}

// moment shows each entry in the last millisecond of its life.
type moment struct{ *asidetest.Client }

func (m moment) Inspect(ctx context.Context, key string, most int) (driver.Raw, error) {
	r, err := m.Client.Inspect(ctx, key, most)
	r.Left = 0
	return r, err
}

// A value is stale only if it is kept for longer than its TTL, and of no use if L1 has
// one that is newer.
// Caught: a value without StaleFor that is stale in its last millisecond.
func TestInspectOfOldEntries(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	last := newNode(t, p, nil, func(o *options) { o.L2 = moment{s.NewClient()} })
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	old := s.Entry(testPrefix + "k")
	if i := last.inspect("k"); i.L2 == nil || i.L2.Kind != aside.EntryValue || i.L2.Stale || i.L2.Err != nil {
		t.Errorf("about to end: %+v", i.L2)
	}
	n.update("k")
	s.Restore(testPrefix+"k", old, time.Minute)
	if i := n.inspect("k"); i.L1 == nil || i.L1.Version != 2 || i.L2 == nil || i.L2.Version != 1 || i.L2.Err == nil || !strings.Contains(i.L2.Err.Error(), "older than the one in L1") {
		t.Errorf("L1: %+v, L2: %+v", i.L1, i.L2)
	}
	if i := newNode(t, p, s).inspect("k"); i.L2 == nil || i.L2.Err != nil {
		t.Errorf("where L1 has nothing: %+v", i.L2)
	}
}

// A tier that shows nothing, a cache with L1 alone, and keys of all sorts.
func TestInspectOfWhatThereIs(t *testing.T) {
	blind := newNode(t, newPrimary("k"), nil, func(o *options) { o.L2 = struct{ driver.Tier }{(&asidetest.Server{}).NewClient()} })
	blind.want("k", 1, aside.SourceLoad)
	blind.settled("k")
	if i := blind.inspect("k"); i.L1 == nil || i.L2 != nil || i.L2Err == nil || !strings.Contains(i.L2Err.Error(), "driver.Inspecting") {
		t.Errorf("a tier that shows nothing: %+v", i)
	}

	alone := newNode(t, newPrimary("k"), nil)
	alone.want("k", 1, aside.SourceLoad)
	if i := alone.inspect("k"); i.L1 == nil || i.L2 != nil || i.L2Err != nil || i.L2Key != "" {
		t.Errorf("without L2: %+v", i)
	}

	type pair struct{ a, b int }
	pairs, err := aside.New(aside.Options[any, int]{})
	if err != nil {
		t.Fatal(err)
	}
	defer pairs.Close(t.Context())
	if i, err := pairs.Inspect(t.Context(), pair{1, 2}); err != nil || i.Key != "{1 2}" || i.L1 != nil {
		t.Errorf("a key without a name: %+v, %v", i, err)
	}
	floats, err := aside.New(aside.Options[any, int]{Logger: slog.New(slog.DiscardHandler), Key: func(f any) string { panic(f) }, ParseKey: func(string) (any, error) { return 0.0, nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer floats.Close(t.Context())
	if _, err := floats.Inspect(t.Context(), math.NaN()); !errors.Is(err, aside.ErrKey) {
		t.Errorf("NaN: %v", err)
	}
	if p := (*aside.PanicError)(nil); true {
		if _, err := floats.Inspect(t.Context(), 1); !errors.As(err, &p) || p.Callback != "Key" {
			t.Errorf("a Key that panics: %v", err)
		}
	}
}

// Every token says which node drew it: those of entries that were loaded and published,
// of leases, of fences, and of the leader of a feed. They are as long as they were.
// Caught: a leader with a token of its own making.
func TestTokensSayWhoDrewThem(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("loaded", "written", "leased")
	var feed asidetest.Log
	gate := make(chan struct{})
	defer close(gate)
	n := newNode(t, p, s, nodeName("web-1:4711"), func(o *options) { o.Feed = &feed })
	if n.Node() != "web-1:4711" || aside.NodeIDOf(n.Node()).String() != "a533dd40f601" {
		t.Errorf("node %q has the id %v", n.Node(), aside.NodeIDOf(n.Node())) // sha256sum says so
	}
	testsync.Eventually(t, "the feed is followed, and what was there is cleared", func() bool { return n.Stats().Feed.Fed })
	n.want("loaded", 1, aside.SourceLoad)
	n.settled("loaded")
	n.update("written")
	p.beforeRead = func(string) { <-gate }
	go func() { _, _ = n.Get(context.Background(), "leased", p) }()
	testsync.Eventually(t, "the lease", func() bool { return s.Entry(testPrefix+"leased") != nil })
	testsync.Eventually(t, "the leader", func() bool { return len(s.Entry("aside:test:feed:leader")) >= 44 })
	wrote := make(chan []byte, 1)
	_ = n.Write(t.Context(), "fenced", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
		token := w.Token()
		wrote <- token[:]
		return nil
	})
	seen := map[string]bool{}
	for what, token := range map[string][]byte{
		"loaded": s.Entry(testPrefix + "loaded")[12:28], "published": s.Entry(testPrefix + "written")[12:28],
		"lease": s.Entry(testPrefix + "leased")[2:], "fence": <-wrote, "leader": s.Entry("aside:test:feed:leader")[28:44],
	} {
		if len(token) != 16 || aside.NodeID(token[:6]) != aside.NodeIDOf("web-1:4711") || seen[string(token)] {
			t.Errorf("%s: token %x", what, token)
		}
		seen[string(token)] = true
	}
}

// The default name is that of the process. A name that would tear a line of a log or of
// a table is refused.
func TestNode(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	if got, want := newNode(t, newPrimary(), nil).Node(), fmt.Sprintf("%s:%d", host, os.Getpid()); got != want {
		t.Errorf("node %q, want %q", got, want)
	}
	for name, ok := range map[string]bool{
		"a": true, "web 1, rack ü": true, strings.Repeat("n", 128): true,
		strings.Repeat("n", 129): false, "a\nb": false, "a\x7f": false, "a\x00": false, "\xff": false,
	} {
		c, err := aside.New(options{Node: name})
		if (err == nil) != ok || err != nil && !errors.Is(err, aside.ErrOptions) {
			t.Errorf("node %q: %v", name, err)
		}
		if err == nil {
			_ = c.Close(t.Context())
		}
	}
	if !(aside.NodeID{}).IsZero() || aside.NodeIDOf("").IsZero() {
		t.Error("the zero id is that of a node that is not known, and of no other")
	}
}
