package asidetest

import (
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// The conformance suite: notices of changes.

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
