package redisl2_test

import (
	"context"
	"sync"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/tests/testserver"
)

// Tracking belongs to a connection, so there is one for everything, whatever
// the load and the size of a batch. Caught: batches of 2,500, for which rueidis
// takes another connection.
func TestOneConnectionForEverything(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	keys := numbered("k", 5_000)
	p := newPrimary(keys...)
	n := newNode(t, p, srv.URL())
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 50 {
				n.read(keys[i*50+j], aside.Default)
			}
			n.update(keys[i])
		})
	}
	wg.Go(func() {
		if _, err := n.GetMany(context.Background(), keys, p); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if got := srv.KillClients("aside"); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}
