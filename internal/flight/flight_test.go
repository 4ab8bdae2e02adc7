package flight

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func done(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// A flight is joined until the key is invalidated, and again once its leader has
// asked anew; one whose place was taken is not.
func TestForgottenFlightsAreNotJoined(t *testing.T) {
	g := NewGroup[string, int]()
	a, leads := g.Join("k", 0)
	if !leads {
		t.Fatal("no leader")
	}
	if b, leads := g.Join("k", 0); leads || b != a || g.Followers("k") != 1 {
		t.Error("did not join")
	}
	g.Forget("other")
	if b, leads := g.Join("k", 0); leads || b != a {
		t.Error("did not join after another key was invalidated")
	}
	for _, forget := range []func(){func() { g.Forget("k") }, g.ForgetAll} {
		forget()
		if !g.Restart("k", a) {
			t.Error("asked anew: another flight took its place, and there is none")
		}
		if b, leads := g.Join("k", 0); leads || b != a {
			t.Error("did not join after the leader asked anew")
		}
	}
	g.Forget("k")
	c, leads := g.Join("k", 0)
	if !leads || c == a {
		t.Error("joined a flight from before an invalidation")
	}
	if g.Restart("k", a) || g.Current("k", a) || !g.Current("k", c) {
		t.Error("a flight whose place was taken can be joined")
	}
	g.Overtake("k", c)
	if d, leads := g.Join("k", 0); leads || d != c {
		t.Error("did not join the flight that overtook the others")
	}
	g.Overtake("k", a)
	e, leads := g.Join("k", 0)
	if !leads || e == c {
		t.Error("joined a flight that was overtaken")
	}
	// The old flights' ends must not remove the new one.
	for _, old := range []*Call[int]{a, c} {
		g.Publish(old, 0, false, 0, g.Now())
		g.Close("k", old, TrustNone)
		if n, _ := g.Size(); n != 1 {
			t.Errorf("%d flights", n)
		}
	}
	g.Publish(e, 0, false, 0, g.Now())
	g.Close("k", e, TrustNone)
	if n, _ := g.Size(); n != 0 {
		t.Errorf("%d flights", n)
	}
}

// A flight is given up when nobody waits for it any more, and not before; who
// comes later leads another. Its leader hears of it, and of nested callers.
func TestDrop(t *testing.T) {
	g := NewGroup[string, int]()
	heard := make(chan struct{}, 1)
	want := func(what string, yes bool) {
		t.Helper()
		select {
		case <-heard:
			if !yes {
				t.Errorf("%s: heard of it", what)
			}
		default:
			if yes {
				t.Errorf("%s: not heard of it", what)
			}
		}
	}
	c, _ := g.Join("k", 1)
	c.Notify(heard)
	want("at the start", true)
	g.Join("k", 1)
	want("another caller", false)
	g.Join("k", 3)
	want("a nested caller", true)
	if n := c.Level(); n != 3 {
		t.Errorf("level %d", n)
	}
	gone := done(t.Context())
	for range 2 {
		_, _, _ = c.Wait(gone, g.Now(), TrustAll)
		if c.Drop() {
			t.Error("given up while somebody waits")
		}
	}
	want("some left", false)
	_, _, _ = c.Wait(gone, g.Now(), TrustAll)
	want("all left", true)
	if d, leads := g.Join("k", 0); leads || d != c {
		t.Error("a flight that all have left, and that goes on, is not joined")
	}
	if c.Drop() {
		t.Error("given up after somebody has come back")
	}
	_, _, _ = c.Wait(gone, g.Now(), TrustAll)
	if !c.Drop() {
		t.Error("not given up")
	}
	if d, leads := g.Join("k", 0); !leads || d == c {
		t.Error("joined a flight that was given up")
	}
}

// Who may take what. A ticket drawn before the read began, while it ran, and
// after it had ended; each for results of each trust.
func TestWho(t *testing.T) {
	for _, c := range []struct {
		name   string
		failed bool
		trust  Trust
		need   Trust
		// whether the result is fit for a caller that came before the read,
		// while it ran, after it ended
		before, during, after bool
	}{
		{"refused, default", false, TrustNone, TrustLocal, true, false, false},
		{"refused, strong", false, TrustNone, TrustAll, true, false, false},
		{"local, default", false, TrustLocal, TrustLocal, true, true, true},
		{"local, strong", false, TrustLocal, TrustAll, true, false, false},
		{"proven, default", false, TrustAll, TrustLocal, true, true, true},
		{"proven, strong", false, TrustAll, TrustAll, true, true, false},
		{"failed, default", true, TrustNone, TrustLocal, true, true, false},
		{"failed, strong", true, TrustNone, TrustAll, true, true, false},
	} {
		g := NewGroup[string, int]()
		call, _ := g.Join("k", 0)
		before := g.Now()
		began := g.Now()
		during := g.Now()
		if !g.Publish(call, 42, c.failed, began, g.Now()) || g.Publish(call, 43, false, began, g.Now()) {
			t.Fatalf("%s: not published once", c.name)
		}
		after := g.Now()
		if r, ok, err := call.Wait(t.Context(), before, c.need); !ok || err != nil || r != 42 {
			t.Errorf("%s: the leader got %d, %v, %v before the flight ended", c.name, r, ok, err)
		}
		g.Close("k", call, c.trust)
		for when, want := range map[Ticket]bool{before: c.before, during: c.during, after: c.after} {
			if _, ok, err := call.Wait(t.Context(), when, c.need); ok != want || err != nil {
				t.Errorf("%s: ticket %d (read began at %d): %v, %v; want %v", c.name, when, began, ok, err, want)
			}
		}
	}
}

func TestWaitLeavesWithItsContext(t *testing.T) {
	g := NewGroup[string, int]()
	call, _ := g.Join("k", 0)
	if _, _, err := call.Wait(done(t.Context()), g.Now(), TrustLocal); !errors.Is(err, context.Canceled) {
		t.Errorf("unsettled: %v", err)
	}
	began := g.Now()
	g.Publish(call, 1, false, began, g.Now())
	if _, _, err := call.Wait(done(t.Context()), g.Now(), TrustLocal); !errors.Is(err, context.Canceled) {
		t.Errorf("unfinished: %v", err)
	}
	g.Close("k", call, TrustNone)
}
