package flight

import "testing"

// A circle is told to who closes it, in whichever order the loads come to wait, and
// is none any more once one of them waits no longer, or is answered.
// Caught: an edge that stays after Awaited; one of a flight that is published.
func TestCircleOfLoads(t *testing.T) {
	g, h := NewGroup[string, int](), NewGroup[int, string]()
	a, _ := g.Join("a", 0)
	b, _ := h.Join(1, 0)
	c, _ := g.Join("c", 0)
	la, lb := &Load{}, &Load{}
	lc := &Load{Outer: lb} // b's loader has begun c
	a.LoadedBy(la)
	b.LoadedBy(lb)
	c.LoadedBy(lc)
	if !Await(la, b) || !Await(lb, c) {
		t.Fatal("a circle of two waits")
	}
	for range 2 {
		if Await(lc, a) {
			t.Error("c's loader waits for a, which waits for b, which waits for c")
		}
	}
	if Await(lc, b) || Await(lb, b) {
		t.Error("a load waits for itself")
	}
	Awaited(la, b)
	if !Await(lc, a) {
		t.Error("a waits for nothing")
	}
	if Await(la, b) {
		t.Error("the circle is closed from the other side")
	}
	g.Publish(a, 1, false, 0, g.Now())
	if !Await(la, b) {
		t.Error("a is there, so nobody waits for its load")
	}
	Awaited(la, b)
	Awaited(lc, a)
	Awaited(lb, c)
	if len(la.awaits)+len(lb.awaits)+len(lc.awaits) != 0 {
		t.Error("somebody waits still")
	}
}
