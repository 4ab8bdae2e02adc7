package redisl2

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// Tracked is the size of the servers' tracking tables. Limit is
// tracking-table-max-keys, or its default, 1,000,000, without the right to CONFIG GET.
type Tracked = driver.Tracked

// itemBytes is what an item takes, about: see BenchmarkTracked and docs/reference/bounds.md.
const itemBytes = 50

const (
	lookTracked    = time.Minute
	defaultTracked = 1_000_000
)

type tracked struct {
	mu   sync.Mutex
	now  Tracked
	ok   bool
	said [2]bool
}

// Tracked implements driver.Tracking. The servers are asked each minute. ok is false
// if none has answered, for example without the right to INFO.
func (s *Store) Tracked() (t Tracked, ok bool) {
	s.tracked.mu.Lock()
	defer s.tracked.mu.Unlock()
	return s.tracked.now, s.tracked.ok
}

// watchTracked looks at what tracking costs, and warns before the server forgets
// keys, which empties L1, or entries.
func (s *Store) watchTracked(c rueidis.Client, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		s.lookTracked(c)
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Store) lookTracked(c rueidis.Client) {
	ctx, cancel := context.WithTimeout(s.ctx, s.silence)
	defer cancel()
	servers := s.servers(c)
	var sum Tracked
	ok := false
	for addr, n := range servers {
		stats, err := infoOf(ctx, n, "stats")
		if err != nil {
			continue
		}
		memory, _ := infoOf(ctx, n, "memory")
		maxmemory := number(memory, "maxmemory")
		t := Tracked{Keys: number(stats, "tracking_total_keys"), Items: number(stats, "tracking_total_items"), Limit: defaultTracked}
		if m, err := n.Do(ctx, n.B().ConfigGet().Parameter("tracking-table-max-keys").Build()).AsStrMap(); err == nil {
			if limit, err := strconv.ParseUint(m["tracking-table-max-keys"], 10, 64); err == nil {
				t.Limit = limit
			}
		}
		if t.Limit > 0 && t.Keys > t.Limit/10*9 {
			s.warnTracked(0, addr, t, maxmemory)
		}
		if maxmemory > 0 && t.Items*itemBytes > maxmemory/4 {
			s.warnTracked(1, addr, t, maxmemory)
		}
		if !ok || t.Limit > 0 && (sum.Limit == 0 || t.Limit < sum.Limit) {
			sum.Limit = t.Limit
		}
		sum.Keys, sum.Items, ok = sum.Keys+t.Keys, sum.Items+t.Items, true
	}
	s.tracked.mu.Lock()
	defer s.tracked.mu.Unlock()
	s.tracked.now, s.tracked.ok = sum, ok
}

// warnTracked says each thing once.
func (s *Store) warnTracked(which int, addr string, t Tracked, maxmemory uint64) {
	s.tracked.mu.Lock()
	said := s.tracked.said[which]
	s.tracked.said[which] = true
	s.tracked.mu.Unlock()
	what := "redis tracks nearly as many keys as it may: beyond that it forgets some, and L1 drops them, again and again: raise tracking-table-max-keys, or make L1 smaller"
	if which == 1 {
		what = "more than a quarter of redis' maxmemory may be what it tracks, of connections that are gone too, and it evicts entries for that: raise maxmemory, or give it back by CONFIG SET tracking-table-max-keys 1 and then the old value"
	}
	if !said {
		s.log.Warn(what, "addr", addr, "keys", t.Keys, "items", t.Items, "tracking-table-max-keys", t.Limit, "maxmemory", maxmemory)
	}
}
