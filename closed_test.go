package aside_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
)

func TestClosedCache(t *testing.T) {
	bothModes(t, func(t *testing.T, s *asidetest.Server) {
		p := newPrimary("k")
		n := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		n.settled("k")
		if err := n.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
		_, get := n.Get(t.Context(), "k", p)
		_, many := n.GetMany(t.Context(), []string{"k"}, p)
		write := n.Write(t.Context(), "k", func(context.Context, *aside.WriteTx[string, rec]) error { t.Error("ran"); return nil })
		for what, err := range map[string]error{"Get": get, "GetMany": many, "Write": write,
			"Invalidate": n.Invalidate(t.Context(), "k"), "Clear": n.Clear(t.Context())} {
			if !errors.Is(err, aside.ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Close waits for loads, so that their leases are filled or given back, and
// says if it had to give up on one.
func TestCloseWaitsForLoads(t *testing.T) {
	s := &asidetest.Server{}
	p := newPrimary("k")
	n := newNode(t, p, s)
	g := testsync.NewGate(t)
	defer g.Open()
	p.beforeRead = g.Pass
	read := testsync.Async(func() int { v, _ := n.read("k", aside.Default); return v })
	testsync.Await(t, "the load", g.Arrived)
	closed := testsync.Async(func() error { return n.Close(context.Background()) })
	g.Open()
	if v := testsync.Await(t, "the read", read); v != 1 {
		t.Errorf("version %d", v)
	}
	if err := testsync.Await(t, "Close", closed); err != nil {
		t.Errorf("Close: %v", err)
	}
	if e := s.Entry(testPrefix + "k"); len(e) == 0 || e[0] != 'V' {
		t.Errorf("entry after Close is %q, want the filled value", e)
	}
}

func TestCloseGivesUpOnAHungLoad(t *testing.T) {
	s := &asidetest.Server{}
	n := newNode(t, nil, s)
	hang, started := make(chan struct{}), make(chan struct{})
	ld := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) { close(started); <-hang; return rec{}, nil })
	read := testsync.Async(func() error { _, err := n.Get(context.Background(), "k", ld); return err })
	testsync.Await(t, "the load", started)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	if err := testsync.Await(t, "the read is answered though the loader hangs", read); err == nil {
		t.Error("the read succeeded")
	}
	testsync.Eventually(t, "the lease is given back", func() bool { return s.Entry(testPrefix+"k") == nil })
	close(hang)
	testsync.Eventually(t, "the load ends", func() bool { return n.Stats().LoadsRunning == 0 })
}

// The second Close waits as the first does. Caught: it returned at once.
func TestSecondCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newPrimary("k"), &asidetest.Server{})
		go n.Write(t.Context(), "k", func(context.Context, *writing) error { time.Sleep(3 * time.Second); return nil })
		synctest.Wait()
		start := time.Now()
		go n.Close(context.Background())
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a Close that cannot wait: %v", err)
		}
		if err := n.Close(t.Context()); err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
