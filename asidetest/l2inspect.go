package asidetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// The conformance suite: what is for people to look at.

func (s *suite) inspect(l driver.Tier, k string, most int) driver.Raw {
	s.Helper()
	i, ok := l.(driver.Inspecting)
	if !ok {
		s.Fatalf("%T is no driver.Inspecting, and the other client is", l)
	}
	r, err := i.Inspect(s.ctx, s.key(k), most)
	if err != nil {
		s.Fatalf("Inspect %s: %v", k, err)
	}
	return r
}

// wantRaw wants an entry with between low and high left to live.
func (s *suite) wantRaw(l driver.Tier, k string, want []byte, low, high time.Duration) driver.Raw {
	s.Helper()
	r := s.inspect(l, k, 0)
	if r.Entry == nil || !bytes.Equal(r.Entry, want) || r.Size != len(want) || r.Foreign || r.Left < low || r.Left > high {
		s.Errorf("%s is shown as %+v, want %q with %v to %v left", k, r, want, low, high)
	}
	return r
}

func (s *suite) inspectShows() {
	v := value(strings.Repeat("\x00\xffv", 1000))
	s.put(s.a, "v", v, time.Minute)
	// A server that nobody has used since it started is not looked at; in a cluster "v" may be
	// on another one.
	s.b.Evict(s.ctx, []driver.EvictRequest{{Key: s.key("absent"), Entry: []byte("of nobody")}})
	if r := s.inspect(s.b, "absent", 0); r.Entry != nil || r.Size != 0 || r.Foreign {
		s.Errorf("an absent key is shown as %+v", r)
	}
	s.wantState(s.b, "absent", driver.StateGranted) // nothing was left there
	first := s.wantRaw(s.b, "v", v, 30*time.Second, time.Minute)
	if first.Now.IsZero() || first.Now.Nanosecond()%int(time.Millisecond) != 0 {
		s.Errorf("the tier's time is %v, want it to the millisecond", first.Now)
	}
	s.eventually("time goes on, and takes from what is left", func() bool {
		r := s.inspect(s.b, "v", 0)
		return r.Now.After(first.Now) && r.Left < first.Left
	})

	lease := envelope.NewToken()
	s.acquire(s.a, "l", lease)
	s.wantRaw(s.b, "l", envelope.AppendLease(nil, lease), 30*time.Second, time.Minute)

	one, two := s.fence(s.a, "f", time.Minute), s.fence(s.b, "f", 2*time.Minute)
	r := s.inspect(s.a, "f", 0)
	f, ok := envelope.ParseFence(r.Entry)
	if !ok || len(f.Writers) != 2 || f.Writers[0].Token != one || f.Writers[1].Token != two || r.Left < time.Minute || r.Left > 2*time.Minute {
		s.Fatalf("a fence of two writers is shown as %+v", r)
	}
	for i, w := range f.Writers { // both times are by one clock
		if left := w.Ends.Sub(r.Now); left < time.Duration(i)*time.Minute+30*time.Second || left > time.Duration(i+1)*time.Minute {
			s.Errorf("writer %d has %v left", i, left)
		}
	}
}

// inspectAnything: whatever is there is shown as it is, and no more of it than was asked for.
func (s *suite) inspectAnything() {
	for i, b := range [][]byte{
		[]byte("V"), []byte("N\x02"), []byte("F8later"), []byte("L2later"), []byte("P1"), {0}, []byte("\r\n"),
		bytes.Repeat([]byte("large"), 1<<20),
	} {
		k := fmt.Sprint("k", i)
		s.put(s.a, k, b, time.Minute)
		s.wantRaw(s.b, k, b, 30*time.Second, time.Minute)
		for _, most := range []int{1, len(b), len(b) + 1} {
			cut := b[:min(most, len(b))]
			if r := s.inspect(s.b, k, most); !bytes.Equal(r.Entry, cut) || r.Size != len(b) {
				s.Errorf("%d of %d bytes are shown as %d of %d", most, len(b), len(r.Entry), r.Size)
			}
		}
	}
}

// inspectChangesNothing: who holds a lease can still fill, who writes can still publish,
// and everything ends when it would have.
func (s *suite) inspectChangesNothing() {
	lease := envelope.NewToken()
	s.acquire(s.a, "l", lease)
	s.inspect(s.b, "l", 0)
	if !s.fill(s.a, "l", lease, value("1"), time.Minute) {
		s.Error("a fill was refused: its lease was inspected")
	}
	token := s.fence(s.a, "f", time.Minute)
	s.inspect(s.b, "f", 0)
	if r := s.release(s.a, "f", token, value("1")); !r.Published {
		s.Errorf("nothing was published, since the fence was inspected: %+v", r)
	}
	s.put(s.a, "short", value("1"), 100*time.Millisecond)
	s.eventually("an entry that is looked at ends", func() bool { return s.inspect(s.b, "short", 0).Entry == nil })
}

// inspectIsNotWatched: who inspects a key is not told of its changes.
func (s *suite) inspectIsNotWatched() {
	a, _ := s.watchers()
	v := value("1")
	s.put(s.b, "inspected", v, time.Minute)
	s.put(s.b, "found", v, time.Minute)
	s.inspect(s.a, "inspected", 0)
	s.wantFound(s.a, "found", v)
	s.inspect(s.a, "found", 0) // which does not end the watch
	s.fence(s.b, "inspected", time.Minute)
	s.fence(s.b, "found", time.Minute)
	s.eventually("the change of a key that was found is told", func() bool { return a.of("found") == 1 })
	if n := a.of("inspected"); n != 0 { // it would have come before
		s.Errorf("the change of a key that was only inspected was told %d times", n)
	}
}

func (s *suite) inspectCancelled() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.a.(driver.Inspecting).Inspect(ctx, s.key("k"), 0); !errors.Is(err, context.Canceled) {
		s.Errorf("Inspect: %v", err)
	}
}

func (s *suite) announce(l driver.Tier, k, node string, data []byte, ttl time.Duration) (map[string][]byte, error) {
	s.Helper()
	r, ok := l.(driver.Roster)
	if !ok {
		s.Fatalf("%T is no driver.Roster, and the other client is", l)
	}
	return r.Announce(s.ctx, driver.AnnounceRequest{Key: s.key(k), Node: node, Data: data, TTL: ttl})
}

func (s *suite) wantRoster(what string, got map[string][]byte, err error, want ...string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", what, err)
	}
	var is []string
	for n, d := range got {
		is = append(is, n+"="+string(d))
	}
	slices.Sort(is)
	slices.Sort(want)
	if !slices.Equal(is, want) {
		s.Errorf("%s: %q, want %q", what, is, want)
	}
}

func (s *suite) announceTellsAll() {
	binary := "R1\x00\xff0000000000000\r\n"
	got, err := s.announce(s.a, "k", "one", []byte("1"), time.Minute)
	s.wantRoster("the first", got, err, "one=1")
	got, err = s.announce(s.b, "k", binary, []byte(binary), time.Minute)
	s.wantRoster("the second, any bytes", got, err, "one=1", binary+"="+binary)
	got, err = s.announce(s.a, "k", "one", nil, time.Minute)
	s.wantRoster("again, without data", got, err, "one=", binary+"="+binary)
	got, err = s.announce(s.b, "k", "on", []byte("e=x"), time.Minute)
	s.wantRoster("a name that begins as another", got, err, "one=", binary+"="+binary, "on=e=x")
	got, err = s.announce(s.b, "other", "one", []byte("x"), time.Minute)
	s.wantRoster("another key", got, err, "one=x")
	if err := s.a.Clear(s.ctx, s.prefix[:len(s.prefix)-1]+"0:"); err != nil { // of the cache beside it
		s.Fatal(err)
	}
	got, err = s.announce(s.a, "k", "on", nil, time.Minute)
	s.wantRoster("after Clear", got, err, "one=", binary+"="+binary, "on=")
}

func (s *suite) announcementEnds() {
	if _, err := s.announce(s.a, "k", "long", []byte("1"), time.Minute); err != nil {
		s.Fatal(err)
	}
	got, err := s.announce(s.b, "k", "short", []byte("2"), 100*time.Millisecond)
	s.wantRoster("before it ends", got, err, "long=1", "short=2")
	if i, ok := s.a.(driver.Inspecting); ok { // the longer one does not end with it
		if r, err := i.Inspect(s.ctx, s.key("k"), 0); err != nil || r.Left < 30*time.Second {
			s.Errorf("the roster has %v left, %v", r.Left, err)
		}
	}
	s.eventually("a node that is heard of no more is gone", func() bool {
		got, err := s.announce(s.a, "k", "other", nil, time.Minute)
		if err != nil || string(got["long"]) != "1" {
			s.Fatalf("%q, %v", got, err)
		}
		return got["short"] == nil
	})
	// The whole roster ends with its last node: nothing is left.
	if _, err := s.announce(s.a, "alone", "n", nil, 100*time.Millisecond); err != nil {
		s.Fatal(err)
	}
	s.eventually("the roster ends", func() bool { return s.acquire(s.b, "alone", envelope.NewToken()).State == driver.StateGranted })
}

// announceLimits: what is too large is refused, and leaves what is there.
func (s *suite) announceLimits() {
	large := bytes.Repeat([]byte{'x'}, driver.MaxAnnouncement)
	for what, c := range map[string]struct {
		node string
		data []byte
	}{
		"no name":           {"", nil},
		"a name too long":   {strings.Repeat("n", driver.MaxNodeName+1), nil},
		"too much data":     {"n", append(large, 'x')},
		"all of that twice": {strings.Repeat("n", 2*driver.MaxNodeName), append(large, large...)},
	} {
		if got, err := s.announce(s.a, "k", c.node, c.data, time.Minute); !errors.Is(err, driver.ErrKeyFailed) {
			s.Errorf("%s: %d nodes, %v", what, len(got), err)
		}
	}
	name := strings.Repeat("n", driver.MaxNodeName-2)
	for i := range driver.MaxRoster/driver.MaxAnnouncement + 1 {
		got, err := s.announce(s.a, "k", fmt.Sprintf("%s%02d", name, i), large, time.Minute)
		if full := (i+1)*(len(large)+driver.MaxNodeName) > driver.MaxRoster; full != errors.Is(err, driver.ErrKeyFailed) || !full && len(got) != i+1 {
			s.Fatalf("node %d of that size: %d nodes, %v", i, len(got), err)
		}
	}
	if got, err := s.announce(s.b, "k", name+"00", nil, time.Minute); err != nil || len(got) != driver.MaxRoster/driver.MaxAnnouncement-1 {
		s.Errorf("a full roster: %d nodes, %v", len(got), err)
	}
}

// announceTakesOver: what is no roster is nobody's, and a node that is announced later
// than now is of a clock that was set back.
func (s *suite) announceTakesOver() {
	now := time.Now()
	roster := func(since, until time.Duration) []byte {
		return envelope.AppendRoster(nil, []envelope.Announced{{Since: now.Add(since), Until: now.Add(until), Node: "o", Data: []byte("d")}})
	}
	whole := roster(-time.Hour, time.Hour)
	for i, c := range []struct {
		entry []byte
		known bool
	}{
		{whole, true},
		{roster(24*time.Hour, 25*time.Hour), false},
		{roster(-2*time.Hour, -time.Hour), false},
		{whole[:len(whole)-1], false},
		{append([]byte("R2"), whole[2:]...), false},
		{append([]byte("R1+"), whole[3:]...), false},
		{[]byte("R1"), false},
		{[]byte("R"), false},
		{value("x"), false},
	} {
		k := fmt.Sprint("k", i)
		s.put(s.a, k, c.entry, time.Minute)
		want := []string{"n="}
		if c.known {
			want = append(want, "o=d")
		}
		got, err := s.announce(s.b, k, "n", nil, time.Minute)
		s.wantRoster(fmt.Sprintf("over %q", c.entry), got, err, want...)
	}
}
