package flight

import (
	"context"
	"testing"
	"testing/synctest"
)

// An early answer is for those who are content with it. The others wait for the result,
// and whoever comes later leads another flight.
// Caught: a strict caller that is given the early answer; a flight that is closed although
// a strict caller waits; a result that is lost since the flight is answered already.
func TestEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[string, int]()
		c, _ := g.Join("k", 0)
		got := make(chan [2]int, 2)
		wait := func(name int, need Trust) {
			g.Join("k", 0)
			ticket := g.Now()
			go func() {
				r, ok, err := c.Wait(context.Background(), ticket, need)
				if !ok || err != nil {
					r = -1
				}
				got <- [2]int{name, r}
			}()
		}
		wait(1, TrustLocal)
		wait(2, TrustAll)
		synctest.Wait()
		if alone, ok := g.Early("k", c, 41); alone || !ok {
			t.Errorf("early: alone %v, ok %v", alone, ok)
		}
		if r := <-got; r != [2]int{1, 41} {
			t.Errorf("got %v", r)
		}
		if _, ok := g.Early("k", c, 40); ok {
			t.Error("answered early twice")
		}
		if d, leads := g.Join("k", 0); !leads || d == c {
			t.Error("joined a flight that was answered early")
		}
		if !c.Answered() || c.Unneeded() || c.Drop() {
			t.Errorf("answered %v, unneeded %v", c.Answered(), c.Unneeded())
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Errorf("a strict caller was answered: %v", <-got)
		}
		if !g.Publish(c, 42, false, 1, g.Now()) || g.Publish(c, 43, false, 1, g.Now()) {
			t.Error("the result is not published once")
		}
		g.Close("k", c, TrustAll)
		if r := <-got; r != [2]int{2, 42} {
			t.Errorf("got %v", r)
		}
	})
}

// Without a strict caller a flight that was answered early may end without a result.
func TestEarlyAlone(t *testing.T) {
	g := NewGroup[string, int]()
	c, leads := g.Lead("k")
	if !leads || !c.Unneeded() {
		t.Error("somebody waits in a flight that nobody has joined")
	}
	if _, leads := g.Lead("k"); leads {
		t.Error("two lead")
	}
	if _, ok := g.Early("k", c, 1); !ok || !c.Unneeded() {
		t.Error("not answered")
	}
	g.Close("k", c, TrustNone)
	if _, ok, err := c.Wait(t.Context(), g.Now(), TrustAll); ok || err != nil {
		t.Errorf("a late strict caller: %v, %v; it must read again", ok, err)
	}
	d := g.Apart("k")
	if e, leads := g.Join("k", 0); !leads || e == d || d.Answered() {
		t.Error("joined a flight that is apart")
	}
	if !g.Publish(d, 1, false, 0, g.Now()) {
		t.Error("not published")
	}
	g.Close("k", d, TrustNone)
	if n, _ := g.Size(); n != 1 {
		t.Errorf("%d flights", n)
	}
}
