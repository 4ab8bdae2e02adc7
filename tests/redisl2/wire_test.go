package redisl2_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// warmScripts makes the server know every script, so that later commands show
// what an operation costs from then on.
func warmScripts(n *node) {
	n.t.Helper()
	n.warm("warm-up")
	n.update("warm-up")
	if err := n.Invalidate(context.Background(), "warm-up"); err != nil {
		n.t.Fatal(err)
	}
	_, err := n.GetMany(context.Background(), []string{"warm-up", "warm-up-2"}, n.p)
	if err != nil {
		n.t.Fatal(err)
	}
	n.warm("warm-up")
}

// Caught: a GET before the script that leases.
func TestWireCost(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("hit", "miss", "written", "published")
	a := steadfast(t, p, srv.URL()) // no pings
	tap := newTap(t, srv)
	b := steadfast(t, p, tap.url())
	warmScripts(b)
	warmScripts(a)
	a.warm("hit")
	stores, removes := []string{"EVALSHA"}, []string{"EVALSHA"}
	setIf, delIf := srv.Plain()
	if setIf {
		stores = []string{"MULTI", "SET", "EXISTS", "EXEC"}
	}
	if delIf != "" {
		removes = []string{delIf}
	}

	t.Run("L2 hit", func(t *testing.T) {
		tap.forget()
		calls := commandCalls(srv, "evalsha")
		b.want("hit", 1, aside.SourceL2)
		tap.want("EVALSHA")
		if n := commandCalls(srv, "evalsha") - calls; n != 1 {
			t.Errorf("the server ran %d scripts for a hit", n)
		}
		b.want("hit", 1, aside.SourceL1)
		tap.want("EVALSHA") // none was added
	})
	t.Run("miss", func(t *testing.T) {
		g := testsync.NewGate(t)
		p.afterRead = g.First()
		tap.forget()
		done := testsync.Async(func() int { v, _ := b.read("miss", aside.Default); return v })
		testsync.Await(t, "the load", g.Arrived)
		tap.want("EVALSHA")
		g.Open()
		testsync.Await(t, "the answer", done)
		p.afterRead = nil
		b.warm("miss")
		tap.want(append([]string{"EVALSHA"}, stores...)...)
		tap.forget()
		b.want("miss", 1, aside.SourceL1)
		tap.want()
	})
	for _, publish := range []bool{false, true} {
		t.Run(fmt.Sprintf("write publish=%v", publish), func(t *testing.T) {
			tap.forget()
			err := b.Write(context.Background(), "written", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				tap.want("EVALSHA")
				if r := p.put("written"); publish {
					w.Publish("written", r)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			sent := append([]string{"EVALSHA"}, removes...)
			if publish {
				sent = append([]string{"EVALSHA"}, stores...)
			}
			tap.want(sent...)
			if publish {
				b.want("written", 3, aside.SourceL1)
				tap.want(sent...)
			}
		})
	}
}

// All look-ups are on the wire before the first answer comes back, and so are
// all fills. Caught: one script after the other leaves the rest waiting for ever.
func TestGetManyIsTwoRoundTrips(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	keys := numbered("k", 100)
	p := newPrimary(keys...)
	tap := newTap(t, srv)
	n := newNode(t, p, tap.url())
	warmScripts(n)
	g := testsync.NewGate(t)
	p.afterRead = g.First()
	tap.forget()
	tap.hold()
	done := testsync.Async(func() map[string]rec {
		m, err := n.GetMany(context.Background(), keys, p)
		if err != nil {
			t.Error(err)
		}
		return m
	})
	// 32 keys in a script
	count := func(n int) func() bool { return func() bool { return len(tap.commands()) >= n } }
	testsync.Eventually(t, "100 look-ups in one go", count(4))
	tap.release()
	testsync.Await(t, "the load", g.Arrived)
	tap.hold()
	g.Open()
	testsync.Eventually(t, "100 fills in one go", count(8))
	tap.release()
	if m := testsync.Await(t, "the values", done); len(m) != 100 {
		t.Errorf("%d values", len(m))
	}
	if p.loads.Load() > 4 {
		t.Errorf("%d loads", p.loads.Load())
	}
	n.warm("k99")
	if got := tap.commands(); len(got) != 8 || slices.Contains(got, "EVAL") {
		t.Errorf("%d commands: %v", len(got), got)
	}
}

// allScripts are the twelve scripts, the ping and the mark.
const allScripts = 14

// loaded is how many SCRIPT LOADs were sent.
func (x *tap) loaded() (n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range x.admits {
		if c[0] == "SCRIPT" {
			n++
		}
	}
	return n
}

// Caught: Eval in place of Evalsha sends the source each time; nobody who loads.
func TestScriptSourceIsSentOnce(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "INFO tells that the server did not start again")
	srv := testserver.Redis(t)
	p := newPrimary()
	tap := newTap(t, srv)
	n := newNode(t, p, tap.url())
	testsync.Eventually(t, "the node's scripts are loaded", func() bool { return tap.loaded() == allScripts })
	tap.forget()
	srv.Do("SCRIPT", "FLUSH")
	for i := range 50 {
		k := fmt.Sprint(i)
		n.update(k)
		if err := n.Invalidate(context.Background(), k); err != nil {
			t.Fatal(err)
		}
		n.warm(k)
	}
	sent, evals := tap.loaded()-allScripts, 0
	tap.mu.Lock()
	defer tap.mu.Unlock()
	for _, c := range append(tap.cmds, tap.admits...) {
		if c[0] == "EVAL" && !strings.Contains(strings.Join(c, " "), "selftest-") {
			evals++
		}
	}
	if sent != allScripts || evals > 3 { // to see what the server is, and to clear it
		t.Errorf("%d scripts loaded, %d sources sent otherwise", sent, evals)
	}
}

// Redis forgets its scripts at a SCRIPT FLUSH and at a restart. Caught: the
// second try taken away, and, for the batch, one key after the other, which
// waits for answers that are held back; and what is in Redis removed as after
// a restart, though the server is the same.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "INFO tells that the server did not start again")
	srv := testserver.Redis(t)
	keys := numbered("k", 100)
	p := newPrimary(keys...)
	tap := newTap(t, srv)
	n := newNode(t, p, tap.url())
	warmScripts(n)
	for range 3 {
		srv.Do("SCRIPT", "FLUSH")
		v := n.update("k0").Version
		n.wantStrong("k0", v)
		srv.Do("SCRIPT", "FLUSH")
		if err := n.Invalidate(context.Background(), "k0"); err != nil {
			t.Error(err)
		}
		srv.Do("SCRIPT", "FLUSH")
		n.wantStrong("k0", v)
	}

	srv.Do("SCRIPT", "FLUSH")
	tap.forget()
	var sent int // keys
	sources := make(chan struct{})
	tap.replace(func(cmd []string) []string {
		if n, _ := strconv.Atoi(cmd[min(2, len(cmd)-1)]); cmd[0] == "EVALSHA" && n > 0 && cmd[3] != prefix+"k0" { // whose last fill may be late
			if sent += n; sent > 99 {
				tap.held = true // its lock is held by the caller
			}
			if sent == 2*99 {
				close(sources)
			}
		}
		return cmd
	})
	batch := numbered("k", 100)[1:]
	done := testsync.Async(func() error {
		_, err := n.GetMany(context.Background(), batch, p)
		return err
	})
	testsync.Await(t, "the look-ups again, in one go", sources)
	tap.replace(nil)
	tap.release()
	if err := testsync.Await(t, "the batch", done); err != nil {
		t.Error(err)
	}
	n.warm("k1")
	if len(raw(srv, prefix+"k0")) == 0 {
		t.Error("SCRIPT FLUSH cost what was stored")
	}
	if s := n.Stats(); s.L2Errors != 0 || s.Degraded {
		t.Errorf("%d L2 errors, degraded: %q", s.L2Errors, s.DegradedReason)
	}
}
