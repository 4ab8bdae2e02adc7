package l1

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"
)

// counter is split into cells on cache lines of their own, since one shared
// cell would cost a hit more than the look-up does. A random cell is cheaper
// than asking which processor this is.
type counter struct{ cells []cell }

type cell struct {
	n atomic.Uint64
	_ [56]byte
}

func newCounter() counter {
	n := 1
	for n < 4*runtime.GOMAXPROCS(0) && n < 256 {
		n *= 2
	}
	if runtime.GOMAXPROCS(0) == 1 {
		n = 1
	}
	return counter{make([]cell, n)}
}

func (c *counter) add(n uint64) {
	if len(c.cells) == 1 {
		c.cells[0].n.Add(n)
		return
	}
	c.cells[rand.Uint32()&uint32(len(c.cells)-1)].n.Add(n)
}

func (c *counter) load() (n uint64) {
	for i := range c.cells {
		n += c.cells[i].n.Load()
	}
	return n
}

// recorder is what otter calls; misses are counted where they are served.
type recorder struct{ hits, evictions counter }

func newRecorder() recorder { return recorder{newCounter(), newCounter()} }

func (r *recorder) RecordHits(n int)                { r.hits.add(uint64(n)) }
func (r *recorder) RecordEviction(uint32)           { r.evictions.add(1) }
func (r *recorder) RecordMisses(int)                {}
func (r *recorder) RecordLoadSuccess(time.Duration) {}
func (r *recorder) RecordLoadFailure(time.Duration) {}
