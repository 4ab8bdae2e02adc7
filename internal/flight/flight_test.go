package flight

import (
	"context"
	"errors"
	"testing"
)

func done(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

func TestJoinByGeneration(t *testing.T) {
	g := NewGroup[string, int]()
	a, leads := g.Join("k", 1)
	if !leads {
		t.Fatal("no leader")
	}
	if b, leads := g.Join("k", 1); leads || b != a || g.Followers("k") != 1 {
		t.Error("same generation: did not join")
	}
	c, leads := g.Join("k", 2)
	if !leads || c == a {
		t.Error("joined a flight from before an invalidation")
	}
	g.Restart("k", c, 3)
	if d, leads := g.Join("k", 3); leads || d != c {
		t.Error("did not join after the leader began anew")
	}
	// The old flight's end must not remove the new one.
	g.Settle(a, 0, false, 0)
	g.Finish("k", a, TrustNone)
	if g.Len() != 1 {
		t.Errorf("%d flights", g.Len())
	}
	g.Settle(c, 0, false, 0)
	g.Finish("k", c, TrustNone)
	if g.Len() != 0 {
		t.Errorf("%d flights", g.Len())
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
		if !g.Settle(call, 42, c.failed, began) || g.Settle(call, 43, false, began) {
			t.Fatalf("%s: not settled once", c.name)
		}
		after := g.Now()
		if r, ok, err := call.Wait(t.Context(), before, c.need); !ok || err != nil || r != 42 {
			t.Errorf("%s: the leader got %d, %v, %v before the flight ended", c.name, r, ok, err)
		}
		g.Finish("k", call, c.trust)
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
	g.Settle(call, 1, false, began)
	if _, _, err := call.Wait(done(t.Context()), g.Now(), TrustLocal); !errors.Is(err, context.Canceled) {
		t.Errorf("unfinished: %v", err)
	}
	g.Finish("k", call, TrustNone)
}
