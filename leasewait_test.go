package aside_test

import (
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/gate"
)

// Flights of one key that wait together have begun in different generations, where an
// invalidation came between. The one that it concerns is looked up again, and the
// other too.
// Caught: the other is forgotten, and its readers wait for ever.
func TestFlightsOfOneKeyWaitTogether(t *testing.T) {
	n := newNode(t, newPrimary("k"), &asidetest.Server{})
	for i, answered := range aside.AwaitLeaseTwice(n.Cache, "k", n.p) {
		gate.Await(t, []string{"the flight before", "the flight after"}[i], answered)
	}
}
