package redisl2_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// raw returns what stands under a key.
func raw(srv *testserver.RedisServer, key string) []byte {
	b, _ := srv.Do("GET", key).AsBytes()
	return b
}

// pttl returns what a key has left to live, and -1 for one without an end.
func pttl(srv *testserver.RedisServer, key string) time.Duration {
	ms, _ := srv.Do("PTTL", key).AsInt64()
	if ms < 0 {
		return time.Duration(ms)
	}
	return time.Duration(ms) * time.Millisecond
}

// numberedToken is one of a few that are easily told apart.
func numberedToken(i int) driver.Token {
	return driver.Token(fmt.Appendf(nil, "token%011d", i))
}

// Redis and the in-memory tier keep the same bytes, after each of many operations.
// Caught: the in-memory tier writes the end of a writer who is alone.
func TestBytesInRedisAndInMemory(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	memory := &asidetest.Server{}
	tiers := map[string]driver.Tier{"Redis": open(t, redisl2.Options{URL: srv.URL()}), "memory": memory.NewClient()}
	key := prefix + "k"
	// steady has an end in a fence replaced, which depends on the clock.
	steady := func(b []byte) string {
		f, ok := envelope.ParseFence(b)
		if !ok {
			return fmt.Sprintf("%q", b)
		}
		for i := range f.Writers {
			w := &f.Writers[i]
			if w.Ends.IsZero() {
				continue
			}
			if d := time.Until(w.Ends); d < 0 || d > minute {
				t.Errorf("a fence that ends in %v", d)
			}
			w.Ends = time.UnixMilli(1)
		}
		return fmt.Sprintf("%q", f.Append(nil))
	}
	both := func(what, want string, f func(l driver.Tier) error) {
		t.Helper()
		got := map[string]string{}
		for name, l := range tiers {
			if err := f(l); err != nil {
				t.Fatalf("%s, %s: %v", what, name, err)
			}
		}
		got["Redis"], got["memory"] = steady(raw(srv, key)), steady(memory.Entry(key))
		if got["Redis"] != got["memory"] {
			t.Fatalf("%s:\n Redis  %s\n memory %s", what, got["Redis"], got["memory"])
		}
		if want != "" && got["Redis"] != fmt.Sprintf("%q", want) {
			t.Fatalf("%s: %s, want %q", what, got["Redis"], want)
		}
	}
	fence := func(i int) func(driver.Tier) error {
		return func(l driver.Tier) error {
			return errors.Join(l.Fence(t.Context(), []driver.FenceRequest{{Key: key, Token: numberedToken(i), Life: minute}})...)
		}
	}
	release := func(i int, want driver.ReleaseResult, publish string) func(driver.Tier) error {
		return func(l driver.Tier) error {
			r := l.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: numberedToken(i), Publish: []byte(publish), TTL: minute}})[0]
			if publish == "" {
				r = l.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: numberedToken(i)}})[0]
			}
			if r != want {
				return fmt.Errorf("%+v, want %+v", r, want)
			}
			return nil
		}
	}
	invalidate := func(l driver.Tier) error { return l.Invalidate(t.Context(), []string{key})[0] }
	put := func(b string) func(driver.Tier) error {
		return func(l driver.Tier) error {
			if l == tiers["memory"] {
				memory.SetEntry(key, []byte(b), minute)
			} else {
				srv.Do("SET", key, b, "PX", "60000")
			}
			return nil
		}
	}
	const ends, zeros = "0000000000001", "0000000000000"
	t1, t2 := numberedToken(1), numberedToken(2)
	one, two := string(t1[:]), string(t2[:])

	both("lease", "L1"+one, func(l driver.Tier) error {
		return l.Acquire(t.Context(), []driver.LeaseRequest{{Key: key, Lease: t1, TTL: minute}})[0].Err
	})
	both("one writer", "F0"+one+zeros, fence(1))
	both("the same again", "F0"+one+ends, fence(1))
	both("a second writer", "F1"+one+ends+two+ends, fence(2))
	both("the first again", "F1"+two+ends+one+ends, fence(1))
	both("the second ends", "F1"+one+ends, release(2, driver.ReleaseResult{}, "x"))
	both("a stranger", "F1"+one+ends, release(3, driver.ReleaseResult{Lost: true}, ""))
	both("the first ends", "", release(1, driver.ReleaseResult{}, "x"))
	both("one writer", "F0"+one+zeros, fence(1))
	both("an invalidation", "F1"+one+zeros, invalidate)
	both("the end", "", release(1, driver.ReleaseResult{}, "x"))
	both("one writer", "F0"+one+zeros, fence(1))
	both("it publishes", "x", release(1, driver.ReleaseResult{Published: true}, "x"))
	for i := range 100 {
		both("many writers", "", fence(i))
	}
	many := raw(srv, key)
	if f, ok := envelope.ParseFence(many); !ok || len(f.Writers) != envelope.MaxWriters+1 || f.Writers[envelope.MaxWriters].Token != envelope.Common || !f.Shared {
		t.Errorf("100 writers: %q", many)
	}
	for i := range 100 { // also those without a record of their own are not lost
		both("they end", "", release(i, driver.ReleaseResult{}, "x"))
	}
	if f, ok := envelope.ParseFence(raw(srv, key)); !ok || len(f.Writers) != 1 || f.Writers[0].Token != envelope.Common {
		t.Errorf("after 100 writers: %q", raw(srv, key))
	}
	both("one more", "", fence(1))
	both("which ends", "", release(1, driver.ReleaseResult{}, ""))

	// A feed: under a fence, and over what lies there otherwise.
	fed := func(l driver.Tier) driver.Fed { return l.(driver.Fed) }
	drop := func(version uint64, deleted bool, writer driver.Token) func(driver.Tier) error {
		return func(l driver.Tier) error {
			return fed(l).DropOlder(t.Context(), []driver.ChangeRequest{{Key: key, Version: version, Deleted: deleted, Writer: writer}})[0].Err
		}
	}
	none, note := driver.Token{}, func(version byte) string {
		return strings.Repeat("\xff", 8) + strings.Repeat("\x00", 7) + string(rune(version)) + zeros
	}
	both("a value", versioned(3), put(versioned(3)))
	both("one writer", "F0"+one+zeros, fence(1))
	both("its own change", "F0"+one+zeros, drop(5, false, t1))
	both("a change", "F0"+one+zeros+note(5), drop(5, false, none))
	both("an older one", "F0"+one+zeros+note(5), drop(4, false, t2))
	both("a newer one", "F0"+one+zeros+note(7), drop(7, false, t2))
	both("its own change", "F0"+one+zeros+note(7), drop(9, false, t1))
	both("the same writer", "F0"+one+ends+note(7), fence(1))
	both("a newer one", "F0"+one+ends+note(8), drop(8, false, none))
	both("its own deletion", "F0"+one+ends+note(8), drop(0, true, t1))
	both("a stranger", "F1"+one+ends, release(3, driver.ReleaseResult{Lost: true}, ""))
	both("the end", "", release(1, driver.ReleaseResult{}, "x"))
	both("one writer", "F0"+one+zeros, fence(1))
	both("a change", "F0"+one+zeros+note(5), drop(5, false, none))
	both("a deletion", "F1"+one+zeros+note(5), drop(0, true, none))
	both("a change", "F1"+one+zeros+note(5), drop(6, false, none))
	both("the same writer", "F1"+one+ends, fence(1))
	both("the end", "", release(1, driver.ReleaseResult{}, "x"))
	both("one writer", "F0"+one+zeros, fence(1))
	both("a change", "F0"+one+zeros+note(5), drop(5, false, none))
	both("a second writer", "F1"+one+ends+two+ends, fence(2))
	both("a change", "F1"+one+ends+two+ends, drop(5, false, none))
	both("the first ends", "F1"+two+ends, release(1, driver.ReleaseResult{}, versioned(9)))
	both("the second ends", "", release(2, driver.ReleaseResult{}, versioned(9)))
	both("one writer", "F0"+one+zeros, fence(1))
	both("a change", "F0"+one+zeros+note(5), drop(5, false, none))
	both("it publishes", versioned(5), release(1, driver.ReleaseResult{Published: true}, versioned(5)))
	both("a change of that version", versioned(5), drop(5, false, none))
	both("a newer one", "", drop(6, false, none))
	both("what an old release leaves", "F1"+note(5), put("F1"+note(5)))
	both("a change", "F1"+note(5), drop(6, false, none))
	both("one writer", "F1"+one+ends, fence(1))
	both("the end", "", release(1, driver.ReleaseResult{}, "x"))

	for _, b := range opaque {
		both("not understood", b, put(b))
		both("a change", string(envelope.MarkFence([]byte(b))), drop(5, false, none))
		both("not understood", b, put(b))
		marked := string(envelope.MarkFence([]byte(b)))
		both("a writer", marked, fence(1))
		both("which ends", marked, release(1, driver.ReleaseResult{}, "x"))
		both("not understood", b, put(b))
		both("an invalidation", marked, invalidate)
	}
}

// opaque are fences that this release does not understand: of a later one, or spoilt.
var opaque = []string{
	"F", "F0", "F1", "FOO", "F2", "F8" + strings.Repeat("x", 100), "F3\x00\xff", "F\x00", "F\xfe",
	"F0" + strings.Repeat("x", 16) + "12345",
	"F0" + strings.Repeat("x", 16) + "123456789012x",
	"F1" + strings.Repeat("x", 16) + "1234567890123" + "y",
	"F0" + strings.Repeat("x", 16) + "+000000000001",
}

// A fence that is not understood stands until it expires, whoever comes, and lives
// at least as long as the fence of a writer who came meanwhile.
// Caught: a writer who takes it for none, and then lifts what it has put there.
func TestOpaqueFence(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	key := prefix + "k"
	for _, b := range opaque {
		for _, left := range []time.Duration{10 * time.Second, 2 * minute} {
			srv.Do("SET", key, b, "PX", fmt.Sprint(left.Milliseconds()))
			want := func(what, b string, least time.Duration) {
				t.Helper()
				for _, e := range []driver.Expectation{driver.ExpectAnything, driver.ExpectNothing, driver.ExpectValue} {
					r := s.Acquire(t.Context(), []driver.LeaseRequest{{Key: key, Lease: numberedToken(9), TTL: time.Millisecond, Expect: e}})[0]
					if r.Err != nil || r.State != driver.StateFenced {
						t.Errorf("%q, %s: a read gets %+v, want fenced", b, what, r)
					}
				}
				if got := raw(srv, key); string(got) != b {
					t.Errorf("%q, %s: it is %q", b, what, got)
				}
				if d := pttl(srv, key); d < least-slack/2 || d > max(least, left) {
					t.Errorf("%q, %s: it lives for %v, want %v", b, what, d, least)
				}
			}
			marked := string(envelope.MarkFence([]byte(b)))
			want("as it is", b, left)
			if err := s.Fence(t.Context(), []driver.FenceRequest{{Key: key, Token: numberedToken(1), Life: minute}})[0]; err != nil {
				t.Errorf("%q: %v", b, err)
			}
			want("after a writer", marked, max(left, minute))
			r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: numberedToken(1), Publish: []byte("x"), TTL: minute}})[0]
			if r != (driver.ReleaseResult{}) {
				t.Errorf("%q: the writer is told %+v", b, r)
			}
			want("after its release", marked, max(left, minute))
			if err := s.Invalidate(t.Context(), []string{key})[0]; err != nil {
				t.Errorf("%q: %v", b, err)
			}
			want("after an invalidation", marked, max(left, minute))
		}
	}
}

// A fence without an end is nobody's: a writer puts its own in its place, and for
// readers it ends after a minute.
// Caught: reads that go to the primary for ever.
func TestEndlessFence(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	key := prefix + "k"
	token := numberedToken(1)
	mine := string(envelope.Fence{Writers: []envelope.Writer{{Token: token}}}.Append(nil))
	for _, b := range append([]string{mine, "F1" + mine[2:], "F0" + strings.Repeat("x", 16) + "9999999999999"}, opaque...) {
		ends := func(what string) {
			t.Helper()
			if d := pttl(srv, key); d <= 0 || d > minute {
				t.Errorf("%q, %s: it lives for %v, want a minute", b, what, d)
			}
		}
		for _, e := range []driver.Expectation{driver.ExpectAnything, driver.ExpectNothing, driver.ExpectValue} {
			srv.Do("SET", key, b)
			r := s.Acquire(t.Context(), []driver.LeaseRequest{{Key: key, Lease: numberedToken(9), TTL: minute, Expect: e}})[0]
			if r.Err != nil || r.State != driver.StateFenced {
				t.Errorf("%q: a read gets %+v, want fenced", b, r)
			}
			ends("after a read")
		}
		srv.Do("SET", key, b)
		if err := s.Invalidate(t.Context(), []string{key})[0]; err != nil {
			t.Errorf("%q: %v", b, err)
		}
		ends("after an invalidation")
		srv.Do("SET", key, b)
		if r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: numberedToken(2)}})[0]; r.Err != nil {
			t.Errorf("%q: %v", b, r.Err)
		}
		if raw(srv, key) != nil {
			ends("after a stranger's release")
		}
		srv.Do("SET", key, b)
		if err := s.Fence(t.Context(), []driver.FenceRequest{{Key: key, Token: token, Life: minute}})[0]; err != nil {
			t.Errorf("%q: %v", b, err)
		}
		if got := raw(srv, key); string(got) != mine {
			t.Errorf("%q, after a writer: %q", b, got)
		}
		ends("after a writer")
		if r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: token, Publish: []byte("x"), TTL: minute}})[0]; !r.Published {
			t.Errorf("%q: the writer is told %+v", b, r)
		}
	}
}

// The end that a record states is not believed where the key itself ends sooner.
// Caught: the next writer gives the key the end of the year 2286.
func TestRecordDoesNotOutliveItsKey(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	key := prefix + "k"
	srv.Do("SET", key, "F0"+strings.Repeat("x", 16)+"9999999999999", "PX", "30000")
	if err := s.Fence(t.Context(), []driver.FenceRequest{{Key: key, Token: numberedToken(1), Life: minute}})[0]; err != nil {
		t.Fatal(err)
	}
	if d := pttl(srv, key); d > minute {
		t.Errorf("the fence lives for %v", d)
	}
	if r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: numberedToken(1)}})[0]; r != (driver.ReleaseResult{}) {
		t.Errorf("%+v", r)
	}
	if d := pttl(srv, key); d <= 0 || d > 30*time.Second {
		t.Errorf("the other's fence lives for %v, want 30s", d)
	}
}

// A lease that no node can have left, without an end or with one far away, is taken
// over; that of a node with a longer LoadTimeout is not.
// Caught: readers that wait for an hour.
func TestLeaseWithoutAHolder(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	lease := string(envelope.AppendLease(nil, numberedToken(7)))
	for i, c := range []struct {
		b    string
		px   time.Duration
		want driver.State
	}{
		{lease, 9 * time.Second, driver.StateLeased},
		{lease, minute, driver.StateGranted},
		{lease, 0, driver.StateGranted},
		{"L", 0, driver.StateGranted},
		{"L", 2 * time.Hour, driver.StateGranted},
		{"L", 9 * time.Second, driver.StateLeased},
		{"L2" + strings.Repeat("x", 100), 9 * time.Second, driver.StateLeased}, // of a later release
		{"L" + strings.Repeat("x", 16), 9 * time.Second, driver.StateLeased},   // of the one before
	} {
		key := fmt.Sprint(prefix, i)
		for _, e := range []driver.Expectation{driver.ExpectAnything, driver.ExpectNothing, driver.ExpectValue} {
			if srv.Do("SET", key, c.b); c.px > 0 {
				srv.Do("PEXPIRE", key, fmt.Sprint(c.px.Milliseconds()))
			}
			r := s.Acquire(t.Context(), []driver.LeaseRequest{{Key: key, Lease: numberedToken(1), TTL: time.Second, Expect: e}})[0]
			if r.Err != nil || r.State != c.want {
				t.Errorf("lease %q for %v: %+v, want state %d", c.b, c.px, r, c.want)
			}
			if granted := bytes.Equal(raw(srv, key), envelope.AppendLease(nil, numberedToken(1))); granted != (c.want == driver.StateGranted) {
				t.Errorf("lease %q for %v: it is %q", c.b, c.px, raw(srv, key))
			}
		}
	}
}

// A command that a script may not run any more is no sign that a key is absent.
// Caught: a fill that counts as refused, and a fence over that of another.
func TestScriptsReportWhatTheyMayNotDo(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	fence := func(s *redisl2.Store, key string) error {
		return s.Fence(t.Context(), []driver.FenceRequest{{Key: key, Token: numberedToken(1), Life: minute}})[0]
	}
	invalidate := func(s *redisl2.Store, key string) error { return s.Invalidate(t.Context(), []string{key})[0] }
	drop := func(s *redisl2.Store, key string) error {
		return s.DropOlder(t.Context(), []driver.ChangeRequest{{Key: key}})[0].Err
	}
	lead := func(s *redisl2.Store, key string) error {
		_, err := s.Lead(t.Context(), driver.LeadRequest{Key: key, TTL: minute})
		return err
	}
	for right, ops := range map[string]map[string]func(s *redisl2.Store, key string) error{
		"getex": {
			"invalidate": invalidate, "drop": drop, "lead": lead,
			"fill": func(s *redisl2.Store, key string) error {
				return s.Fill(t.Context(), []driver.FillRequest{{Key: key, Entry: entry("x"), TTL: minute}})[0].Err
			},
			"release": func(s *redisl2.Store, key string) error {
				return s.Release(t.Context(), []driver.ReleaseRequest{{Key: key}})[0].Err
			},
			"abandon": func(s *redisl2.Store, key string) error {
				return s.Abandon(t.Context(), []driver.AbandonRequest{{Key: key}})[0]
			},
			"evict": func(s *redisl2.Store, key string) error {
				return s.Evict(t.Context(), []driver.EvictRequest{{Key: key, Entry: entry("x")}})[0]
			},
		},
		"set": {
			"fence": fence, "invalidate": invalidate, "lead": lead,
			"acquire": func(s *redisl2.Store, key string) error {
				return s.Acquire(t.Context(), []driver.LeaseRequest{{Key: key, TTL: minute}})[0].Err
			},
		},
	} {
		url := as(right, srv.URL())
		key := prefix + right
		before := "F1" + strings.Repeat("x", 16) + "0000000000000"
		srv.Do("SET", key, before, "PX", "60000")
		for name, op := range ops {
			srv.Do("ACL", "SETUSER", right, "on", ">secret", "~*", "&*", "+@all")
			s := open(t, redisl2.Options{URL: url, Logger: slog.New(slog.DiscardHandler)})
			srv.Do("ACL", "SETUSER", right, "-"+right)
			if err := op(s, key); err == nil || !strings.Contains(err.Error(), "can't run this command") && !strings.Contains(err.Error(), "no permissions to run") {
				t.Errorf("without the right to %s, %s: %v", right, name, err)
			}
			s.Close()
		}
		if got := raw(srv, key); string(got) != before {
			t.Errorf("without the right to %s the fence has become %q", right, got)
		}
	}
}
