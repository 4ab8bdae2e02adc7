package l1

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// counter is split into cells on cache lines of their own, since one shared
// cell would cost a hit more than the lookup does.
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
	c.cells[goroutineHash()&uint32(len(c.cells)-1)].n.Add(n)
}

// goroutineHash tells goroutines apart by where their stacks are, which is
// cheaper than a random number. The address is only hashed, so it does not
// matter that stacks move.
func goroutineHash() uint32 {
	var here byte
	at := uint64(uintptr(unsafe.Pointer(&here))) >> 11 // stacks are 2 KiB or more
	return uint32(at * 0x9e3779b97f4a7c15 >> 32)
}

func (c *counter) load() (n uint64) {
	for i := range c.cells {
		n += c.cells[i].n.Load()
	}
	return n
}
