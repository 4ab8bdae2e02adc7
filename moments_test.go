package aside

import (
	"testing"
	"testing/synctest"
	"time"
)

// Keys are remembered until their moment, and no more of them than there may be.
// Caught: keys that are over and keep their places.
func TestMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m moments[int]
		m.remove(1)
		for i := range maxMoments {
			m.add(i, time.Now().Add(time.Second))
		}
		m.add(-1, time.Now().Add(time.Minute))
		m.add(0, time.Now().Add(time.Minute))
		if m.has(-1) || !m.has(0) || !m.has(1) {
			t.Errorf("one too many %v, moved %v, there %v", m.has(-1), m.has(0), m.has(1))
		}
		time.Sleep(2 * time.Second)
		m.add(-1, time.Now().Add(time.Minute))
		if !m.has(-1) || !m.has(0) || m.has(1) || m.n.Load() != 2 {
			t.Errorf("%d remembered", m.n.Load())
		}
		m.remove(0)
		m.remove(-1)
		if m.has(0) || m.n.Load() != 0 {
			t.Errorf("%d remembered", m.n.Load())
		}
	})
}
