package asidetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var prefixes atomic.Int64

// TestL2 checks an L2 against the contract in package driver. open returns two
// clients of one empty or shared server; the suite uses keys of its own and
// does not close the clients.
func TestL2(t *testing.T, open func(t *testing.T) (a, b driver.Tier)) {
	for _, c := range []struct {
		name string
		f    func(*suite)
	}{
		{"AcquireGrantsOnce", (*suite).acquireGrantsOnce},
		{"AcquireRetryIsGrantedAgain", (*suite).acquireRetry},
		{"FillNeedsItsOwnLease", (*suite).fillNeedsItsOwnLease},
		{"LeaseExpires", (*suite).leaseExpires},
		{"EntryExpires", (*suite).entryExpires},
		{"ForeignBytesAreReplaced", (*suite).foreignBytes},
		{"AbandonOnlyOwnLease", (*suite).abandonOnlyOwn},
		{"StaleValueIsLeased", (*suite).staleValueIsLeased},
		{"EvictComparesBytes", (*suite).evictComparesBytes},
		{"FenceKillsLeaseAndValue", (*suite).fenceKills},
		{"ReleasePublishes", (*suite).releasePublishes},
		{"ReleaseOfOneWriterKeepsTheOthersFence", (*suite).overlappingWriters},
		{"CrashedWritersFenceEnds", (*suite).crashedWriter},
		{"LateReleaseRemovesWhatWasFilledMeanwhile", (*suite).lateRelease},
		{"LateReleaseForbidsOthersToPublish", (*suite).lateReleaseForbids},
		{"FenceOfAnUnknownFormatStandsUntilItExpires", (*suite).unknownFence},
		{"FencesOfManyWritersAreBounded", (*suite).manyWriters},
		{"LeaseThatIsMuchTooLongIsTakenOver", (*suite).longLease},
		{"InvalidateForbidsWritersToPublish", (*suite).invalidateForbids},
		{"InvalidateRemovesValueAndLease", (*suite).invalidateRemoves},
		{"ClearKeepsFencesAndOtherPrefixes", (*suite).clear},
		{"WatchTellsOthers", (*suite).watch},
		{"WatchAfterOwnChanges", (*suite).watchAfterOwnChanges},
		{"WatchOncePerPrefix", (*suite).watchOnce},
		{"Batches", (*suite).batches},
		{"CancelledContext", (*suite).cancelled},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := open(t)
			p := fmt.Sprintf("asidetest:%d:%d:", time.Now().UnixNano(), prefixes.Add(1))
			c.f(&suite{T: t, ctx: t.Context(), a: a, b: b, prefix: p})
		})
	}
}

type suite struct {
	*testing.T
	ctx    context.Context
	a, b   driver.Tier
	prefix string
}

func (s *suite) key(k string) string { return s.prefix + k }

func value(payload string) []byte {
	return envelope.Append(nil, envelope.Entry{Payload: []byte(payload), Token: envelope.NewToken()}, -1)
}

func (s *suite) acquire(l driver.Tier, k string, lease driver.Token) driver.Grant {
	s.Helper()
	r := l.Acquire(s.ctx, []driver.LeaseRequest{{Key: s.key(k), Lease: lease, TTL: time.Minute}})[0]
	if r.Err != nil {
		s.Fatalf("Acquire %s: %v", k, r.Err)
	}
	return r
}

func (s *suite) wantState(l driver.Tier, k string, want driver.State) {
	s.Helper()
	if r := s.acquire(l, k, envelope.NewToken()); r.State != want {
		s.Fatalf("key %s is in state %d with entry %q, want state %d", k, r.State, r.Entry, want)
	}
}

func (s *suite) wantFound(l driver.Tier, k string, want []byte) {
	s.Helper()
	if r := s.acquire(l, k, envelope.NewToken()); r.State != driver.StateFound || !bytes.Equal(r.Entry, want) {
		s.Fatalf("key %s is in state %d with entry %q, want %q", k, r.State, r.Entry, want)
	}
}

func (s *suite) fill(l driver.Tier, k string, lease driver.Token, v []byte, ttl time.Duration) bool {
	s.Helper()
	r := l.Fill(s.ctx, []driver.FillRequest{{Key: s.key(k), Lease: lease, Entry: v, TTL: ttl}})[0]
	if r.Err != nil {
		s.Fatalf("Fill %s: %v", k, r.Err)
	}
	return r.Stored
}

// put stores a value as a reader would.
func (s *suite) put(l driver.Tier, k string, v []byte, ttl time.Duration) {
	s.Helper()
	lease := envelope.NewToken()
	if r := s.acquire(l, k, lease); r.State != driver.StateGranted {
		s.Fatalf("lease on %s not granted: state %d", k, r.State)
	}
	if !s.fill(l, k, lease, v, ttl) {
		s.Fatalf("fill of %s refused", k)
	}
}

func (s *suite) fence(l driver.Tier, k string, life time.Duration) driver.Token {
	s.Helper()
	token := envelope.NewToken()
	if err := errors.Join(l.Fence(s.ctx, []driver.FenceRequest{{Key: s.key(k), Token: token, Life: life}})...); err != nil {
		s.Fatalf("Fence %s: %v", k, err)
	}
	return token
}

func (s *suite) release(l driver.Tier, k string, token driver.Token, publish []byte) driver.ReleaseResult {
	s.Helper()
	r := l.Release(s.ctx, []driver.ReleaseRequest{{Key: s.key(k), Token: token, Publish: publish, TTL: time.Minute}})[0]
	if r.Err != nil {
		s.Fatalf("Release %s: %v", k, r.Err)
	}
	return r
}

// eventually polls, since a real server's clock cannot be faked.
func (s *suite) eventually(what string, ok func() bool) {
	s.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			s.Fatalf("never happened: %s", what)
		}
		select {
		case <-s.ctx.Done():
			s.Fatal(s.ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *suite) acquireGrantsOnce() {
	t1 := envelope.NewToken()
	if r := s.acquire(s.a, "k", t1); r.State != driver.StateGranted || r.Entry != nil {
		s.Fatalf("absent key: %+v, want a lease", r)
	}
	s.wantState(s.b, "k", driver.StateLeased)
	s.wantState(s.a, "k", driver.StateLeased) // the lease is the fill's, not the client's
	v := value("1")
	if !s.fill(s.a, "k", t1, v, time.Minute) {
		s.Fatal("fill under a standing lease refused")
	}
	s.wantFound(s.b, "k", v)
}

func (s *suite) acquireRetry() {
	lease := envelope.NewToken()
	s.acquire(s.a, "k", lease)
	if r := s.acquire(s.a, "k", lease); r.State != driver.StateGranted {
		s.Fatalf("a second try with the same token, its first answer lost: state %d, want the lease", r.State)
	}
}

func (s *suite) fillNeedsItsOwnLease() {
	if s.fill(s.a, "absent", envelope.NewToken(), value("x"), time.Minute) {
		s.Error("fill without any lease stored")
	}
	s.wantState(s.a, "absent", driver.StateGranted)

	s.acquire(s.a, "k", envelope.NewToken())
	if s.fill(s.a, "k", envelope.NewToken(), value("x"), time.Minute) {
		s.Error("fill with another token than the lease's stored")
	}
	s.put(s.a, "v", value("new"), time.Minute)
	if s.fill(s.b, "v", envelope.NewToken(), value("old"), time.Minute) {
		s.Error("fill over a value stored")
	}
}

func (s *suite) leaseExpires() {
	lease := envelope.NewToken()
	r := s.a.Acquire(s.ctx, []driver.LeaseRequest{{Key: s.key("k"), Lease: lease, TTL: 30 * time.Millisecond}})[0]
	if r.Err != nil || r.State != driver.StateGranted {
		s.Fatalf("%+v", r)
	}
	next := envelope.NewToken()
	s.eventually("the lease of a crashed node ends", func() bool { return s.acquire(s.b, "k", next).State == driver.StateGranted })
	if s.fill(s.a, "k", lease, value("late"), time.Minute) {
		s.Error("fill under an expired lease stored")
	}
	if !s.fill(s.b, "k", next, value("new"), time.Minute) {
		s.Error("fill under the new lease refused")
	}
}

func (s *suite) entryExpires() {
	s.put(s.a, "k", value("1"), 30*time.Millisecond)
	s.eventually("the entry expires", func() bool { return s.acquire(s.b, "k", envelope.NewToken()).State == driver.StateGranted })
}

func (s *suite) foreignBytes() {
	// Whatever a value's bytes look like, they are found as they are.
	for i, payload := range []string{"L", "F0", "N", strings.Repeat("F", 40), ""} {
		k := fmt.Sprint("k", i)
		v := value(payload)
		s.put(s.a, k, v, time.Minute)
		s.wantFound(s.b, k, v)
	}
}

// unknownFence: fences of a later release, or damaged. Nobody takes them for absent,
// and writers are not kept from writing.
func (s *suite) unknownFence() {
	for i, raw := range []string{"F8" + strings.Repeat("later", 9), "F9", "F", "FOO", "F0" + strings.Repeat("x", 29), "F1short"} {
		k := fmt.Sprint("k", i)
		s.put(s.a, k, []byte(raw), time.Minute)
		s.wantState(s.b, k, driver.StateFenced)
		token := s.fence(s.b, k, time.Minute)
		s.wantState(s.a, k, driver.StateFenced)
		if r := s.release(s.b, k, token, value("new")); r.Published || r.Lost {
			s.Errorf("%q: a release beside it: %+v", raw, r)
		}
		s.wantState(s.a, k, driver.StateFenced)
		if err := s.a.Invalidate(s.ctx, []string{s.key(k)})[0]; err != nil {
			s.Errorf("%q: %v", raw, err)
		}
		s.wantState(s.a, k, driver.StateFenced)
	}
	// It ends, and not before the fence of a writer who came later.
	s.put(s.a, "short", []byte("F8"), 50*time.Millisecond)
	s.fence(s.b, "short", 300*time.Millisecond)
	start := time.Now()
	s.eventually("the fence ends", func() bool { return s.acquire(s.a, "short", envelope.NewToken()).State == driver.StateGranted })
	if d := time.Since(start); d < 200*time.Millisecond {
		s.Errorf("it ended after %v", d)
	}
}

// manyWriters: however many write one key, it is fenced until the last has released
// it, or its fence ends, and none of them publishes.
func (s *suite) manyWriters() {
	var tokens []driver.Token
	for range 200 {
		tokens = append(tokens, s.fence(s.a, "k", 2*time.Second))
	}
	for i, t := range tokens {
		if r := s.release(s.b, "k", t, value("new")); r.Published || r.Lost {
			s.Fatalf("release %d: %+v", i, r)
		}
		s.wantState(s.a, "k", driver.StateFenced)
	}
	s.eventually("the common fence ends", func() bool { return s.acquire(s.a, "k", envelope.NewToken()).State == driver.StateGranted })
	// Few writers need not wait for that.
	tokens = nil
	for range 32 {
		tokens = append(tokens, s.fence(s.a, "few", time.Minute))
	}
	for _, t := range tokens {
		s.wantState(s.b, "few", driver.StateFenced)
		s.release(s.a, "few", t, nil)
	}
	s.wantState(s.b, "few", driver.StateGranted)
}

func (s *suite) longLease() {
	lease := string(envelope.AppendLease(nil, envelope.NewToken()))
	s.put(s.a, "long", []byte(lease), time.Hour) // a lease of the suite has a minute
	s.wantState(s.b, "long", driver.StateGranted)
	s.put(s.a, "other", []byte(lease), 9*time.Minute)
	s.wantState(s.b, "other", driver.StateLeased)
}

func (s *suite) abandonOnlyOwn() {
	lease := envelope.NewToken()
	s.acquire(s.a, "k", lease)
	if err := s.a.Abandon(s.ctx, []driver.AbandonRequest{{Key: s.key("k"), Lease: envelope.NewToken()}})[0]; err != nil {
		s.Fatal(err)
	}
	s.wantState(s.b, "k", driver.StateLeased)
	if err := s.a.Abandon(s.ctx, []driver.AbandonRequest{{Key: s.key("k"), Lease: lease}})[0]; err != nil {
		s.Fatal(err)
	}
	s.wantState(s.b, "k", driver.StateGranted)
}

func (s *suite) staleValueIsLeased() {
	staleFor := func(d time.Duration) []byte {
		return envelope.Append(nil, envelope.Entry{Codec: 1, Token: envelope.NewToken(), Stored: time.Now(), StaleFor: d, Payload: []byte("old")}, -1)
	}
	fresh := staleFor(time.Second)
	s.put(s.a, "fresh", fresh, time.Minute)
	s.wantFound(s.b, "fresh", fresh)
	v := staleFor(time.Hour)
	s.put(s.a, "k", v, time.Minute)
	req := driver.LeaseRequest{Key: s.key("k"), Lease: envelope.NewToken(), TTL: time.Minute}
	r := s.b.Acquire(s.ctx, []driver.LeaseRequest{req})[0]
	if r.Err != nil || r.State != driver.StateGranted || !bytes.Equal(r.Entry, v) || r.Left <= 0 || r.Left > time.Minute {
		s.Fatalf("a stale value: %+v, want a lease beside the value", r)
	}
	s.wantState(s.a, "k", driver.StateLeased)
	if err := s.b.Abandon(s.ctx, []driver.AbandonRequest{{Key: req.Key, Lease: req.Lease, Restore: v, TTL: r.Left}})[0]; err != nil {
		s.Fatal(err)
	}
	// Restored it is stale still: the next one is granted the lease too.
	req.Lease = envelope.NewToken()
	if r := s.a.Acquire(s.ctx, []driver.LeaseRequest{req})[0]; r.State != driver.StateGranted || !bytes.Equal(r.Entry, v) {
		s.Fatalf("restored: %+v", r)
	}
}

func (s *suite) evictComparesBytes() {
	v := value("1")
	s.put(s.a, "k", v, time.Minute)
	w := value("2")
	s.put(s.a, "other", w, time.Minute)
	for _, err := range s.a.Evict(s.ctx, []driver.EvictRequest{{Key: s.key("k"), Entry: v}, {Key: s.key("other"), Entry: value("3")}}) {
		if err != nil {
			s.Fatal(err)
		}
	}
	s.wantFound(s.a, "other", w)
	s.wantState(s.a, "k", driver.StateGranted)
}

func (s *suite) fenceKills() {
	lease := envelope.NewToken()
	s.acquire(s.a, "k", lease)
	s.put(s.a, "v", value("old"), time.Minute)
	tk, tv := s.fence(s.b, "k", time.Minute), s.fence(s.b, "v", time.Minute)
	s.wantState(s.a, "k", driver.StateFenced)
	s.wantState(s.a, "v", driver.StateFenced)
	if s.fill(s.a, "k", lease, value("old"), time.Minute) {
		s.Error("stale set: a fill whose lease a writer fenced was stored")
	}
	s.release(s.b, "k", tk, nil)
	s.release(s.b, "v", tv, nil)
	if s.fill(s.a, "k", lease, value("old"), time.Minute) {
		s.Error("stale set: a fill that began before the write was stored after it")
	}
	s.wantState(s.a, "k", driver.StateGranted)
	s.wantState(s.a, "v", driver.StateGranted)
}

func (s *suite) releasePublishes() {
	v := value("new")
	if r := s.release(s.a, "k", s.fence(s.a, "k", time.Minute), v); !r.Published || r.Lost {
		s.Fatalf("%+v, want published", r)
	}
	s.wantFound(s.b, "k", v)
}

// Two overlapping writers: the first to finish must not lift the other's fence,
// and neither may publish, since nobody knows which write the primary took last.
func (s *suite) overlappingWriters() {
	first, second := s.fence(s.a, "k", time.Minute), s.fence(s.b, "k", time.Minute)
	if r := s.release(s.a, "k", first, value("1")); r.Published || r.Lost {
		s.Fatalf("first of two writers: %+v", r)
	}
	s.wantState(s.a, "k", driver.StateFenced)
	third := s.fence(s.a, "k", time.Minute)
	if r := s.release(s.b, "k", second, value("2")); r.Published {
		s.Fatalf("second of two writers: %+v", r)
	}
	s.wantState(s.a, "k", driver.StateFenced)
	if r := s.release(s.a, "k", third, value("3")); r.Published {
		s.Fatalf("third, overlapping the second: %+v", r)
	}
	s.wantState(s.a, "k", driver.StateGranted)
}

// A crashed writer's fence ends at its own time, though others renew the key. A
// machine that stood still for a whole fence saw nothing of it: a longer one follows.
func (s *suite) crashedWriter() {
	for _, life := range []time.Duration{50 * time.Millisecond, time.Second, 10 * time.Second} {
		k := "k" + life.String()
		s.fence(s.a, k, life) // and is never heard of again
		rounds := 0
		s.eventually("a release under which the crashed writer's fence no longer stands", func() bool {
			rounds++
			token := s.fence(s.b, k, time.Minute)
			s.release(s.b, k, token, nil)
			return s.acquire(s.b, k, envelope.NewToken()).State == driver.StateGranted
		})
		if rounds > 1 {
			return
		}
	}
	s.Error("the crashed writer's fence did not stand at all")
}

func (s *suite) lateRelease() {
	late := s.fence(s.a, "k", 30*time.Millisecond)
	lease := envelope.NewToken()
	s.eventually("the fence expires", func() bool { return s.acquire(s.b, "k", lease).State == driver.StateGranted })
	if !s.fill(s.b, "k", lease, value("old"), time.Minute) {
		s.Fatal("fill after the fence expired refused")
	}
	if r := s.release(s.a, "k", late, value("new")); !r.Lost || r.Published {
		s.Fatalf("release after the fence expired: %+v, want lost", r)
	}
	s.wantState(s.b, "k", driver.StateGranted)

	// The same with a fill still on its way.
	late = s.fence(s.a, "l", 30*time.Millisecond)
	s.eventually("the fence expires", func() bool { return s.acquire(s.b, "l", lease).State == driver.StateGranted })
	s.release(s.a, "l", late, nil)
	if s.fill(s.b, "l", lease, value("old"), time.Minute) {
		s.Error("stale set: a fill that read before the late write was stored")
	}
}

func (s *suite) lateReleaseForbids() {
	late := s.fence(s.a, "k", 30*time.Millisecond)
	s.eventually("the fence expires", func() bool { return s.acquire(s.b, "k", envelope.NewToken()).State == driver.StateGranted })
	other := s.fence(s.b, "k", time.Minute)
	if r := s.release(s.a, "k", late, value("late")); !r.Lost {
		s.Fatalf("%+v, want lost", r)
	}
	s.wantState(s.a, "k", driver.StateFenced)
	if r := s.release(s.b, "k", other, value("older")); r.Published {
		s.Error("a writer published over the write that ended after its fence")
	}
	s.wantState(s.a, "k", driver.StateGranted)
}

func (s *suite) invalidateForbids() {
	token := s.fence(s.a, "k", time.Minute)
	if err := s.b.Invalidate(s.ctx, []string{s.key("k")})[0]; err != nil {
		s.Fatal(err)
	}
	s.wantState(s.b, "k", driver.StateFenced)
	if r := s.release(s.a, "k", token, value("x")); r.Published || r.Lost {
		s.Errorf("%+v: published over a change made elsewhere", r)
	}
	s.wantState(s.b, "k", driver.StateGranted)
}

func (s *suite) invalidateRemoves() {
	s.put(s.a, "v", value("1"), time.Minute)
	lease := envelope.NewToken()
	s.acquire(s.a, "l", lease)
	if err := errors.Join(s.b.Invalidate(s.ctx, []string{s.key("v"), s.key("l"), s.key("absent")})...); err != nil {
		s.Fatal(err)
	}
	s.wantState(s.b, "v", driver.StateGranted)
	if s.fill(s.a, "l", lease, value("old"), time.Minute) {
		s.Error("stale set: a load that began before the invalidation was stored")
	}
}

func (s *suite) clear() {
	other := strings.TrimSuffix(s.prefix, ":") + "x:k"
	lease := envelope.NewToken()
	if r := s.a.Acquire(s.ctx, []driver.LeaseRequest{{Key: other, Lease: lease, TTL: time.Minute}})[0]; r.Err != nil {
		s.Fatal(r.Err)
	}
	for i := range 1200 {
		k := fmt.Sprint("gone", i)
		s.release(s.a, k, s.fence(s.a, k, time.Minute), value("1"))
	}
	token := s.fence(s.a, "fenced", time.Minute)
	if err := s.a.Clear(s.ctx, s.prefix); err != nil {
		s.Fatal(err)
	}
	for i := range 1200 {
		s.wantState(s.b, fmt.Sprint("gone", i), driver.StateGranted)
	}
	s.wantState(s.b, "fenced", driver.StateFenced)
	s.release(s.a, "fenced", token, nil)
	if r := s.b.Acquire(s.ctx, []driver.LeaseRequest{{Key: other, Lease: envelope.NewToken(), TTL: time.Minute}})[0]; r.State != driver.StateLeased {
		s.Errorf("a key of another prefix was cleared: %+v", r)
	}
}

type changes struct {
	mu   sync.Mutex
	keys map[string]int
	lost int
}

func (c *changes) watcher() driver.Watcher {
	return driver.Watcher{
		Changed: func(k string) { c.mu.Lock(); defer c.mu.Unlock(); c.keys[k]++ },
		Lost:    func() { c.mu.Lock(); defer c.mu.Unlock(); c.lost++ },
	}
}

func (c *changes) of(k string) int { c.mu.Lock(); defer c.mu.Unlock(); return c.keys[k] }

func (s *suite) watchers() (a, b *changes) {
	a, b = &changes{keys: map[string]int{}}, &changes{keys: map[string]int{}}
	for l, c := range map[driver.Tier]*changes{s.a: a, s.b: b} {
		stop, err := l.Watch(s.prefix, c.watcher())
		if err != nil {
			s.Fatal(err)
		}
		s.Cleanup(stop)
	}
	return a, b
}

func (s *suite) watch() {
	a, b := s.watchers()
	v := value("1")
	s.put(s.a, "k:with:colons", v, time.Minute)
	if n := a.of("k:with:colons"); n != 0 {
		s.Errorf("a lease and its fill were pushed back %d times: L1 would lose what it has just got", n)
	}
	s.wantFound(s.b, "k:with:colons", v)
	s.fence(s.a, "k:with:colons", time.Minute)
	s.eventually("a node that read the key hears of the write", func() bool { return b.of("k:with:colons") == 1 })
}

// The point at which plain tracking fails: one's own SET ends the tracking of
// the key, so that a value put into L1 after one's own fill would never be
// invalidated; nor one that was found after one's own lease, or that is yet to
// come while another's lease is waited for.
func (s *suite) watchAfterOwnChanges() {
	a, _ := s.watchers()
	if r := s.acquire(s.a, "found", envelope.NewToken()); r.State != driver.StateGranted {
		s.Fatalf("an absent key is in state %d", r.State)
	}
	v := value("1")
	s.release(s.b, "found", s.fence(s.b, "found", time.Minute), v)
	s.wantFound(s.a, "found", v)
	if r := s.acquire(s.b, "leased", envelope.NewToken()); r.State != driver.StateGranted {
		s.Fatalf("an absent key is in state %d", r.State)
	}
	s.wantState(s.a, "leased", driver.StateLeased)
	s.put(s.a, "filled", value("1"), time.Minute)
	if !s.release(s.a, "published", s.fence(s.a, "published", time.Minute), value("1")).Published {
		s.Fatal("not published")
	}
	for _, k := range []string{"found", "leased", "filled", "published"} {
		before := a.of(k)
		s.fence(s.b, k, time.Minute)
		s.eventually("the node that found or stored "+k+" hears of another's write", func() bool { return a.of(k) > before })
	}
}

func (s *suite) watchOnce() {
	stop, err := s.a.Watch(s.prefix, driver.Watcher{})
	if err != nil {
		s.Fatal(err)
	}
	if _, err := s.a.Watch(s.prefix, driver.Watcher{}); err == nil {
		s.Error("two watchers of one prefix on one client: they would miss each other's writes")
	}
	stop()
	stop, err = s.a.Watch(s.prefix, driver.Watcher{})
	if err != nil {
		s.Errorf("after stop: %v", err)
	} else {
		stop()
	}
}

func (s *suite) batches() {
	const n = 1100 // more than one pipeline
	lease := envelope.NewToken()
	reqs := make([]driver.LeaseRequest, n)
	fills := make([]driver.FillRequest, n)
	rels := make([]driver.ReleaseRequest, n)
	fences := make([]driver.FenceRequest, n)
	for i := range n {
		k := s.key(fmt.Sprint("k", i))
		fences[i] = driver.FenceRequest{Key: k, Token: lease, Life: time.Minute}
		reqs[i] = driver.LeaseRequest{Key: k, Lease: lease, TTL: time.Minute}
		fills[i] = driver.FillRequest{Key: k, Lease: lease, Entry: value(fmt.Sprint(i)), TTL: time.Minute}
		rels[i] = driver.ReleaseRequest{Key: k, Token: lease}
	}
	for i, r := range s.a.Acquire(s.ctx, reqs) {
		if r.Err != nil || r.State != driver.StateGranted {
			s.Fatalf("acquire %d: %+v", i, r)
		}
	}
	fills[7].Lease = envelope.NewToken()
	for i, r := range s.a.Fill(s.ctx, fills) {
		if r.Err != nil || r.Stored != (i != 7) {
			s.Fatalf("fill %d: %+v", i, r)
		}
	}
	for i, r := range s.b.Acquire(s.ctx, reqs[8:]) {
		if r.Err != nil || r.State != driver.StateFound || !bytes.Equal(r.Entry, fills[8+i].Entry) {
			s.Fatalf("acquire %d: %+v", 8+i, r)
		}
	}
	if err := errors.Join(s.a.Fence(s.ctx, fences)...); err != nil {
		s.Fatal(err)
	}
	for i, r := range s.a.Release(s.ctx, rels) {
		if r.Err != nil || r.Lost {
			s.Fatalf("release %d: %+v", i, r)
		}
	}
	s.wantState(s.b, "k0", driver.StateGranted)
	if got := s.a.Acquire(s.ctx, nil); len(got) != 0 {
		s.Errorf("empty batch answered %v", got)
	}
}

func (s *suite) cancelled() {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if r := s.a.Acquire(ctx, []driver.LeaseRequest{{Key: s.key("k"), Lease: envelope.NewToken(), TTL: time.Minute}})[0]; !errors.Is(r.Err, context.Canceled) {
		s.Errorf("Acquire: %v", r.Err)
	}
	if err := s.a.Fence(ctx, []driver.FenceRequest{{Key: s.key("k"), Token: envelope.NewToken(), Life: time.Minute}})[0]; !errors.Is(err, context.Canceled) {
		s.Errorf("Fence: %v", err)
	}
}
