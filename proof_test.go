package aside_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
)

// slowAnswers is a connection on which the answers to fills, and the pushes
// after them, take their time.
type slowAnswers struct {
	driver.Tier
	filled, arrive chan struct{}
}

func (s *slowAnswers) Fill(ctx context.Context, reqs []driver.FillRequest) []driver.FillResult {
	out := s.Tier.Fill(context.WithoutCancel(ctx), reqs)
	select {
	case s.filled <- struct{}{}:
		<-s.arrive
	default: // only the first
	}
	return out
}

func (s *slowAnswers) Watch(prefix string, w driver.Watcher) (func(), error) {
	changed := w.Changed
	w.Changed = func(k string) { go func() { <-s.arrive; changed(k) }() }
	return s.Tier.Watch(prefix, w)
}

// An accepted fill proves that no write came before it, and nothing of a write
// that was acknowledged while the fill's answer was under way. Found by the
// random test on a real Redis. Caught: Wait that takes TrustAll for a proof
// whenever the caller came.
func TestStrongFollowerMayComeAfterTheFillButBeforeItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		slow := &slowAnswers{filled: make(chan struct{}, 1), arrive: make(chan struct{})}
		a := newNode(t, p, s, func(o *options) { slow.Tier = o.L2; o.L2 = slow; o.L1Size = -1 })
		b := newNode(t, p, s)
		a.read("k", aside.Strong) // version 1; its fill is made, and not yet answered
		synctest.Wait()
		b.update("k")
		follower := testsync.Async(func() int { v, _ := a.read("k", aside.Strong); return v })
		synctest.Wait() // the follower has joined
		close(slow.arrive)
		if v := testsync.Await(t, "the follower", follower); v != 2 {
			t.Errorf("stale: a strong read that began after version 2 was acknowledged got version %d", v)
		}
	})
}
