package asidetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// The conformance suite: writes, invalidations and Clear.

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
