package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// All faults at random, also several at once. Redis sometimes loses its data, so only the
// promises that survive this are asserted. Only the long form has the time for it.
func TestChaos(t *testing.T) {
	try(t, fault{
		group: nothing, name: "everything, at random", long: true,
		outage: true, silent: true, lossy: true, errors: anything, struck: []int{0, 1, 2},
		stale: -1, // a node may have been stopped for long
		do: func(r *run) {
			seed := rand.Uint64()
			r.Logf("seed of the faults: %d", seed)
			c := chaos{run: r, rng: rand.New(rand.NewPCG(seed, 0)), paused: map[*node]bool{}}
			for end := time.Now().Add(10 * r.Fault); time.Now().Before(end); {
				c.step()
				r.hold(time.Duration(50+c.rng.IntN(1000)) * time.Millisecond)
			}
			c.calm()
		},
	})
}

type chaos struct {
	*run
	rng    *rand.Rand
	down   bool // Redis
	paused map[*node]bool
}

// step begins or ends one fault.
func (c *chaos) step() {
	n := c.Nodes[c.rng.IntN(len(c.Nodes))]
	switch c.rng.IntN(12) {
	case 0:
		n.Proxy.Cut()
	case 1:
		n.Proxy.Silence()
	case 2:
		n.Proxy.Jitter(c.L2, c.L2/2)
	case 3, 4:
		n.Proxy.Restore()
	case 5:
		if !c.down {
			c.Redis.Do("FLUSHALL")
		}
	case 6:
		if !c.down {
			c.Redis.Do("SCRIPT", "FLUSH")
			c.Redis.Do("CLIENT", "KILL", "TYPE", "normal")
		}
	case 7:
		if c.down = !c.down; c.down {
			c.Redis.Kill()
		} else {
			c.Redis.Restart()
		}
	case 8:
		if !c.paused[n] {
			n.Restart()
		}
	default:
		if c.paused[n] = !c.paused[n]; c.paused[n] {
			n.Stop()
		} else {
			n.Continue()
		}
	}
}

// calm ends all faults.
func (c *chaos) calm() {
	if c.down {
		c.Redis.Restart()
	}
	for _, n := range c.Nodes {
		n.Proxy.Restore()
		if c.paused[n] {
			n.Continue()
		}
	}
}
