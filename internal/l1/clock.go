package l1

import (
	"sync"
	"sync/atomic"
	"time"
)

// resolution of the clock by which entries expire. Reading the precise time
// would be a fifth of a hit.
const resolution = 10 * time.Millisecond

// clock counts the time since it began, in nanoseconds. Until it is stopped a goroutine
// reads the precise time for all.
type clock struct {
	began      time.Time
	ticked     atomic.Int64 // 0: read the precise time
	stop, done chan struct{}
	once       sync.Once
}

func (c *clock) start() {
	c.stop, c.done = make(chan struct{}), make(chan struct{})
	c.ticked.Store(1)
	go c.run()
}

func (c *clock) run() {
	defer close(c.done)
	ticker := time.NewTicker(resolution)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			c.ticked.Store(0)
			return
		case <-ticker.C:
			c.ticked.Store(int64(time.Since(c.began)))
		}
	}
}

func (c *clock) now() int64 {
	if now := c.ticked.Load(); now != 0 {
		return now
	}
	return int64(time.Since(c.began) / resolution * resolution)
}

func (c *clock) close() {
	if c.stop != nil {
		c.once.Do(func() { close(c.stop) })
		<-c.done
	}
}
