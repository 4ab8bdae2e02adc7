package redisl2_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
)

// traffic writes and reads keys over several nodes, while a test does things to
// the servers, and checks what was promised: a strong read on any node, and a
// default read on the one that wrote, return the last acknowledged write or a
// newer one. Each key has one writer at a time, on any node.
type traffic struct {
	t      *testing.T
	nodes  []*node
	keys   []string
	rest   sync.RWMutex // held to stop the traffic for a while
	ending chan struct{}
	ended  sync.WaitGroup

	writes, refused, reads atomic.Int64
}

// drive starts traffic. The nodes must be those of FailClosed: with FailOpen
// others may read older records in an outage.
func drive(t *testing.T, keys []string, nodes ...*node) *traffic {
	d := &traffic{t: t, nodes: nodes, keys: keys, ending: make(chan struct{})}
	for _, k := range keys {
		d.ended.Go(func() {
			for acked := 1; ; {
				select {
				case <-d.ending:
					return
				default:
				}
				d.rest.RLock()
				acked = d.once(k, acked)
				d.rest.RUnlock()
				pace(nodes...)
			}
		})
	}
	// More readers, so that loads, fills and pushes are always under way.
	for i := range 12 {
		d.ended.Go(func() {
			for {
				select {
				case <-d.ending:
					return
				default:
				}
				d.rest.RLock()
				n := nodes[i%len(nodes)]
				mode := aside.Mode(i / 2 % 2)
				if rand.N(16) == 0 { // seldom, since most of these load
					mode |= []aside.Mode{aside.Refresh, aside.NoStore, aside.SkipL2, aside.Refresh | aside.NoStore}[rand.N(4)]
				}
				d.wantSince(n, keys[rand.N(len(keys))], 0, mode)
				d.rest.RUnlock()
				pace(n)
			}
		})
	}
	t.Cleanup(d.end)
	return d
}

// pace keeps traffic that goes past a dead Redis from taking all of the machine,
// which the servers need to elect a new master.
func pace(nodes ...*node) {
	yield()
	for _, n := range nodes {
		if n.Stats().Degraded {
			time.Sleep(time.Millisecond)
		}
	}
}

func (d *traffic) once(k string, acked int) int {
	writer, reader := d.nodes[rand.N(len(d.nodes))], d.nodes[rand.N(len(d.nodes))]
	if r, err := writer.tryUpdate(k); err == nil {
		d.writes.Add(1)
		acked = r.Version
	} else {
		d.refused.Add(1)
		if !errors.Is(err, aside.ErrL2Unavailable) && !errors.Is(err, aside.ErrUnacknowledged) {
			d.t.Errorf("write %s: %v", k, err)
		}
	}
	d.wantSince(reader, k, acked, aside.Strong)
	d.wantSince(writer, k, acked, aside.Default)
	return acked
}

func (d *traffic) wantSince(n *node, k string, acked int, l aside.Mode) {
	d.reads.Add(1)
	r, err := n.Read(context.Background(), k, n.p, l)
	if err != nil {
		d.t.Errorf("read %s: %v", k, err)
	} else if r.Value.Version < acked {
		d.t.Errorf("stale: a read of %s at level %v returned version %d from %v after %d was acknowledged", k, l, r.Value.Version, r.Source, acked)
	}
}

// takes writes a key once the node does not refuse to, and returns its version.
func (n *node) takes(k string) (version int) {
	n.t.Helper()
	testsync.Eventually(n.t, "the node takes a write of "+k, func() bool {
		r, err := n.tryUpdate(k)
		version = r.Version
		return err == nil
	})
	return version
}

// still runs f while the traffic rests.
func (d *traffic) still(f func()) {
	d.rest.Lock()
	defer d.rest.Unlock()
	f()
}

// goesOn waits until so many more writes were acknowledged.
func (d *traffic) goesOn(writes int64) {
	d.t.Helper()
	want := d.writes.Load() + writes
	testsync.Eventually(d.t, "the traffic goes on", func() bool { return d.writes.Load() >= want })
}

// end stops the traffic, and waits for the last operations.
func (d *traffic) end() {
	select {
	case <-d.ending:
	default:
		close(d.ending)
	}
	d.ended.Wait()
}

// settle ends the traffic and waits until every node reads every key as the
// primary has it, at the default level, and from L1 again.
func (d *traffic) settle() {
	d.t.Helper()
	d.end()
	for _, n := range d.nodes {
		for _, k := range d.keys {
			r, _ := n.p.get(k)
			n.becomesFresh(k, r.Version)
			n.warm(k)
		}
	}
	d.t.Logf("%d writes acknowledged, %d refused, %d reads", d.writes.Load(), d.refused.Load(), d.reads.Load())
}
