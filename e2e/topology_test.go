package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/asidecache/aside/internal/history"
	"github.com/asidecache/aside/internal/testserver"
)

// A failover that loses what Redis had acknowledged brings old records back, each
// for what is left of its TTL.
const shortTTL = 3 * time.Second

// cameBack is how long after such a failover an old record can be read at most: a
// lease that came back stands for its own time, and what is stored under it for
// a TTL more.
func cameBack(c timing) time.Duration { return c.lease() + shortTTL }

// lossyFailover completes a fault that is such a failover. Nothing that is said
// of other nodes' writes holds until the old records are gone; strong reads must
// be fresh from then on, for the fault is over only then.
func lossyFailover(f fault) fault {
	f.outage, f.lossy = true, true
	f.promises = []history.Promise{history.Intact}
	f.errors = writesRefused
	return f
}

// startOn starts three nodes on a Redis that is more than one server.
func startOn(t *testing.T, c timing, p policy, redisURL string, args ...string) *system {
	t.Helper()
	s := &system{t: t, Mongo: testserver.Mongo(t)}
	for i := range nodeCount {
		s.Nodes = append(s.Nodes, startNode(t, fmt.Sprintf("node %d", i), append(append([]string{
			"--mongo", s.Mongo.URI(), "--redis", redisURL, "--cache-name", "e2e", "--on-redis-down", string(p),
		}, c.args()...), args...)...))
	}
	return s
}

// killInStep kills a master that has replicated all that it acknowledged.
func killInStep(master, replica *testserver.RedisServer) {
	master.Do("CLIENT", "PAUSE", "60000", "WRITE")
	replica.InStep(master)
	master.Kill()
}
