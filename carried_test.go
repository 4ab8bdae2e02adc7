package aside_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// picky encodes only the first version of a record.
type picky struct{ aside.JSON[rec] }

func (p picky) Encode(r rec) ([]byte, error) {
	if r.Version > 1 {
		return nil, errors.New("cannot be encoded")
	}
	return p.JSON.Encode(r)
}

// counting counts the bytes that are sent to give leases back.
type counting struct {
	*asidetest.Client
	restored int
}

func (c *counting) Abandon(ctx context.Context, reqs []driver.AbandonRequest) []error {
	for _, r := range reqs {
		c.restored += len(r.Restore)
	}
	return c.Client.Abandon(ctx, reqs)
}

// The stale value that a lease was granted over comes back if the load has brought
// nothing newer, and only then. L2 puts it back: it is not sent again, and not kept until
// L2 answers.
// Caught: an absence, or a value that cannot be stored, after which the next read was
// answered with the value from before it; a value that was kept for each lease that is
// to be given back.
func TestWhatALeaseCarriesComesBackUnlessSomethingNewerIsKnown(t *testing.T) {
	down := errors.New("down")
	for name, c := range map[string]struct {
		change func(*options)
		before func(n *node)
		back   bool
	}{
		"the load fails":       {before: func(n *node) { n.p.fail(down) }, back: true},
		"the loader panics":    {before: func(n *node) { n.p.beforeRead = func(string) { panic("x") } }, back: true},
		"the load is older":    {before: func(n *node) { n.p.m["k"] = rec{"k", 1} }, back: true},
		"the record is gone":   {change: func(o *options) { o.NegativeTTL = -1 }, before: func(n *node) { n.p.del("k") }},
		"it cannot be encoded": {change: func(o *options) { o.Codec = picky{} }, before: func(n *node) { n.p.put("k") }},
		"the fill is lost": {before: func(n *node) {
			n.p.put("k")
			n.conn.Intercept(func(_ context.Context, op, _ string) error {
				if op == "Fill" {
					n.conn.Intercept(nil)
					return down
				}
				return nil
			})
		}},
		"the answer to the lookup is lost": {before: func(n *node) {
			n.conn.Answer(func(op, _ string) error {
				if op == "Acquire" {
					n.conn.Answer(nil)
					return down
				}
				return nil
			})
		}, back: true},
		"it cannot be given back at once": {before: func(n *node) {
			n.p.fail(down)
			n.conn.Intercept(func(_ context.Context, op, _ string) error {
				if op == "Abandon" {
					n.conn.Intercept(nil)
					return down
				}
				return nil
			})
		}, back: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				var conn *counting
				p := newPrimary("k")
				if name == "the load is older" {
					p.put("k")
				}
				n := newNode(t, p, s, func(o *options) {
					o.TTL, o.L1TTL, o.StaleFor, o.LoadTimeout = 10*time.Second, time.Second, time.Minute, time.Minute
					conn = &counting{Client: o.L2.(*asidetest.Client)}
					o.L2 = conn
					if c.change != nil {
						c.change(o)
					}
				})
				if _, err := n.Get(t.Context(), "k", p); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(20 * time.Second)
				old := s.Entry(testPrefix + "k")
				if old == nil {
					t.Fatal("nothing was stored")
				}
				c.before(n)
				_, _ = n.Get(t.Context(), "k", p)
				time.Sleep(10 * time.Second) // what is owed is told
				want := old
				if !c.back {
					want = nil
				}
				if got := s.Entry(testPrefix + "k"); !bytes.Equal(got, want) {
					t.Errorf("L2 has %q, want %q", got, want)
				}
				if conn.restored != 0 {
					t.Errorf("%d bytes were sent to put the value back", conn.restored)
				}
				time.Sleep(35 * time.Second) // 10 s of TTL and 60 s more have gone by since it was stored: almost
				synctest.Wait()
				if got := s.Entry(testPrefix + "k"); c.back && got == nil {
					t.Error("the value ended too early")
				}
				time.Sleep(10 * time.Second)
				if got := s.Entry(testPrefix + "k"); got != nil {
					t.Errorf("the value has a new life: %q", got)
				}
				_ = n.Close(t.Context())
			})
		})
	}
}
