package bench

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
)

// record is a record that the run has created, or has tried to create.
type record struct {
	id string
	// gone is set before the deletion is sent. From then on the record may be absent.
	gone atomic.Bool
}

// created has the records that a run has created, so that its users can read, change and
// delete them.
type created struct {
	prefix string // of all ids; different in every run, even with the same seed
	serial atomic.Int64

	mu   sync.Mutex
	live []*record
	// doubtful records may exist: the outcome of their creation or deletion is
	// unknown.
	doubtful []*record
}

func newCreated() *created {
	return &created{prefix: "bench-" + strings.ToLower(rand.Text()[:8]) + "-"}
}

// invent returns a new record, which does not exist on the server yet.
func (c *created) invent() *record {
	return &record{id: fmt.Sprintf("%s%d", c.prefix, c.serial.Add(1))}
}

func (c *created) add(r *record) {
	c.mu.Lock()
	c.live = append(c.live, r)
	c.mu.Unlock()
}

func (c *created) doubt(r *record) {
	c.mu.Lock()
	c.doubtful = append(c.doubtful, r)
	c.mu.Unlock()
}

// pick returns any record that exists, or nil.
func (c *created) pick(rng *mrand.Rand) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.live) == 0 {
		return nil
	}
	return c.live[rng.IntN(len(c.live))]
}

// take removes any existing record and returns it, for its caller to delete. It returns
// nil if there is none.
func (c *created) take(rng *mrand.Rand) *record {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.live)
	if n == 0 {
		return nil
	}
	i := rng.IntN(n)
	r := c.live[i]
	c.live[i], c.live[n-1] = c.live[n-1], nil
	c.live = c.live[:n-1]
	r.gone.Store(true)
	return r
}

// rest removes and returns all records that may exist.
func (c *created) rest() []*record {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(c.live, c.doubtful...)
	c.live, c.doubtful = nil, nil
	return all
}
