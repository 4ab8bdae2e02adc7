package redisl2_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// steadfast makes a node that trusts L1 until it is told of a change: it looks
// for other owners of the slots once a minute.
func steadfast(t *testing.T, p *primary, url string, change ...func(*options)) *node {
	t.Helper()
	return newNodeOn(t, p, open(t, redisl2.Options{URL: url, SilenceTimeout: forever}), &testsync.Buffer{}, change...)
}

// A slot moves while a record is being loaded, or written. Lease and fence go
// with it, and the nodes hear of later changes from the new owner.
// Caught: fill.lua without the EXISTS; commands that are not sent again to a
// server that does not know the scripts.
func TestSlotMovesDuringALoadOrAWrite(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3)
	from, to := c.Nodes[0], c.AddMaster() // which has never seen the scripts
	tags := c.Tags(from, 12)
	for _, how := range []struct {
		name  string
		steps func(m *testserver.Migration)
	}{
		{"begins to move", func(*testserver.Migration) {}},
		{"moves the keys", func(m *testserver.Migration) { m.Move(10) }},
		{"moves", func(m *testserver.Migration) { m.Finish() }},
	} {
		for _, what := range []string{"load", "load of an absent record", "write", "published write"} {
			k := tags[0]
			tags = tags[1:]
			t.Run(what+", slot "+how.name, func(t *testing.T) {
				p := newPrimary()
				if what != "load of an absent record" {
					p.put(k)
				}
				named := func(o *options) { o.Name = fmt.Sprint("m", c.Slot(k)) }
				a, b := steadfast(t, p, c.URL(), named), steadfast(t, p, c.URL(), named)
				migrate := func() *testserver.Migration {
					m := c.Migrate(c.Slot(k), to)
					how.steps(m)
					return m
				}
				var m *testserver.Migration
				want := 1
				switch what {
				case "load", "load of an absent record":
					g := testsync.NewGate(t)
					p.afterRead = func(k string) { g.Pass(k) }
					read := testsync.Async(func() error {
						_, err := a.Read(context.Background(), k, p, aside.Default)
						return err
					})
					testsync.Await(t, "the load", g.Arrived)
					m = migrate()
					g.Open()
					testsync.Await(t, "the read", read)
					a.warm(k)
					if n := p.loads.Load(); n != 1 {
						t.Errorf("%d loads, want 1: the lease was lost", n)
					}
				case "write", "published write":
					a.warm(k)
					b.warm(k)
					err := a.Write(context.Background(), k, func(_ context.Context, w *aside.WriteTx[string, rec]) error {
						m = migrate()
						b.wantStrong(k, 1) // the fence holds: nothing is stored
						r := p.put(k)
						if what == "published write" {
							w.Publish(k, r)
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					want = 2
					b.wantStrong(k, 2)
					if n := a.Stats().Published; what == "published write" && n != 1 {
						t.Errorf("%d records published: the fence was lost", n)
					}
				}
				if what != "write" {
					if r, _ := b.Read(context.Background(), k, p, aside.Strong); r.Source != aside.SourceL2 || !r.Negative && r.Value.Version != want {
						t.Errorf("the other node reads version %d from %v, want %d from L2", r.Value.Version, r.Source, want)
					}
				}
				// Both have it in L1, and hear of the other's write.
				coherent := func() {
					t.Helper()
					a.warm(k)
					b.warm(k)
					v := b.update(k).Version
					a.becomesFresh(k, v)
					a.warm(k)
					b.becomesFresh(k, v)
					b.warm(k)
					v = a.update(k).Version
					b.becomesFresh(k, v)
				}
				coherent()
				if how.name != "moves" {
					a.warm(k)
					b.warm(k)
					m.Finish()
				}
				coherent()
				for _, n := range []*node{a, b} {
					if s := n.Stats(); s.L2Errors != 0 || s.FillsRefused != 0 {
						t.Errorf("%d L2 errors (%s), %d fills refused", s.L2Errors, s.DegradedReason, s.FillsRefused)
					}
				}
			})
		}
	}
}

// Slots move, step by step and many in a row, while two nodes read and write.
// Nobody notices: no operation fails, and every promise holds.
// Caught: fill.lua without the compare-and-set; a fence that the other scripts
// do not take for one.
func TestSlotsMoveUnderTraffic(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3)
	from, to := c.Nodes[0], c.Nodes[1]
	tag := c.Tags(from, 1)[0]
	many := c.Tags(from, 10)
	// Few keys, so that loads and writes meet: of one slot, of others that move,
	// of one that does not.
	keys := slices.Concat(numbered(tag, 3), many[4:6], c.Tags(to, 1))
	p := newPrimary(keys...)
	p.afterRead = func(string) { yield() }
	closed := func(o *options) { o.OnL2Down = aside.FailClosed }
	a, b := steadfast(t, p, c.URL(), closed), steadfast(t, p, c.URL(), closed)
	d := drive(t, keys, a, b)
	d.goesOn(200)
	for _, dest := range []*testserver.RedisServer{to, from, to} {
		m := c.Migrate(c.Slot(tag), dest)
		d.goesOn(50)
		for range 2 {
			m.Move(1)
			d.goesOn(50)
		}
		m.Finish()
		d.goesOn(50)
	}
	for _, k := range many[1:] {
		c.Migrate(c.Slot(k), to).Finish()
	}
	c.Reshard(to, from, 20)
	d.goesOn(200)
	d.settle()
	if n := d.refused.Load(); n != 0 {
		t.Errorf("%d writes were refused", n)
	}
	for _, n := range []*node{a, b} {
		if s := n.Stats(); s.L2Errors != 0 {
			t.Errorf("%d L2 errors: %s", s.L2Errors, s.DegradedReason)
		}
	}
}
