package measure

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/asidecache/aside/bench/internal/record"
)

// Memory is what a full cache holds.
type Memory struct {
	Entries int64         // that are in it
	Heap    int64         // bytes in use on Go's heap, more than before
	RSS     int64         // bytes of the process in memory, more than before; 0 where the system does not tell
	GC      time.Duration // a collection takes, with all processors
	Trouble string
}

// Memory fills the cache with every key and looks at what that took. Keys and
// records are only held by the cache.
func (s *Session) Memory(ctx context.Context) (m Memory, err error) {
	n := len(s.keys)
	s.keys = nil // Open made them
	heap, rss := inUse()
	s.keys = record.Keys(n)
	missing, err := s.Fill(ctx)
	if err != nil {
		return m, err
	}
	s.keys = nil
	m.Entries, m.Trouble = int64(n)-missing, s.check()
	m.measure(heap, rss)
	runtime.KeepAlive(s.client)
	return m, nil
}

// DataAlone is the same for a slice of keys and records: what no cache can do
// without.
func DataAlone(n int) (m Memory) {
	type pair struct {
		key string
		t   *record.Todo
	}
	heap, rss := inUse()
	pairs := make([]pair, n)
	for i := range pairs {
		key := record.Key(i)
		pairs[i] = pair{key, record.New(key, 1)}
	}
	m.Entries = int64(n)
	m.measure(heap, rss)
	runtime.KeepAlive(pairs)
	return m
}

func (m *Memory) measure(heapBefore, rssBefore int64) {
	heap, rss := inUse()
	m.Heap = heap - heapBefore
	if rssBefore > 0 {
		m.RSS = rss - rssBefore
	}
	start := time.Now()
	runtime.GC()
	m.GC = time.Since(start)
}

// inUse is what the process uses when all that can be given back has been.
func inUse() (heap, rss int64) {
	runtime.GC() // finalizers and pools need two
	debug.FreeOSMemory()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc), residentSize()
}
