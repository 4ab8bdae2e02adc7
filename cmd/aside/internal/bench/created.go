package bench

import (
	"crypto/rand"
	"fmt"
	mrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
)

// record is one that the run has created, or has tried to.
type record struct {
	id string
	// gone is set before its deletion is sent: from then on it may be absent.
	gone atomic.Bool
}

// created keeps the records of a run, so that its users can read, change and
// delete each other's.
type created struct {
	prefix string // of all ids; another one in every run, whatever the seed
	serial atomic.Int64

	mu   sync.Mutex
	live []*record
	// doubtful may exist: their creation, or their deletion, got no clear answer.
	doubtful []*record
}

func newCreated() *created {
	return &created{prefix: "bench-" + strings.ToLower(rand.Text()[:8]) + "-"}
}

// invent returns a record that does not exist yet.
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

// take returns any record that exists for its caller to delete, or nil. Nobody
// else gets it from then on.
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

// rest empties it of all that may exist.
func (c *created) rest() []*record {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(c.live, c.doubtful...)
	c.live, c.doubtful = nil, nil
	return all
}
