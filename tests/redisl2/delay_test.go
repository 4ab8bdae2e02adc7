package redisl2_test

import (
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// How late notices come is known from the pings, without any other traffic. Caught: a
// delay that is the time between two pings; one that stays when answers are quick again.
func TestNoticeDelay(t *testing.T) {
	t.Parallel()
	tap := newTap(t, testserver.Redis(t))
	n := newNode(t, newPrimary("k"), tap.url())
	const late = 150 * time.Millisecond
	quick := func() bool { d := n.Stats().InvalidationLag; return d > 0 && d < late }
	testsync.Eventually(t, "a quick answer", quick)
	tap.trickle(0, late)
	testsync.Eventually(t, "a late answer", func() bool { return n.Stats().InvalidationLag >= late })
	tap.trickle(0, 0)
	testsync.Eventually(t, "a quick answer again", quick)
}
