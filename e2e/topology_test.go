package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/asidecache/aside/internal/history"
	"github.com/asidecache/aside/internal/testserver"
)

// failover is how long one may take: death is noticed after two seconds, then
// there are elections, perhaps more than one, and the nodes are told.
const failover = 15 * time.Second

// shortTTL is what records live for where old ones come back: longer than a
// failover takes as a rule, or none would be left.
const shortTTL = 6 * time.Second

// lagTime is for how long a replica lags before it takes over.
const lagTime = time.Second

// losing completes a fault that is a failover to a replica that lags: what Redis
// had acknowledged is lost, and old records come back, each for what is left of
// its TTL. A lease may come back too, and stands for its own time; what is stored
// under it stays for a TTL more. The fault is over only then, and then strong
// reads must be fresh. Until then nothing holds but that bound.
func losing(f fault) fault {
	f.outage, f.lossy, f.errors = true, true, writesRefused
	f.promises = []history.Promise{history.Bounded, history.Intact}
	return f
}

func (r *run) holdUntilOldRecordsAreGone() { r.hold(r.lease() + shortTTL) }

func staleAfterLoss(size form) time.Duration {
	return lagTime + failover + size.lease() + shortTTL + time.Second
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

// killInStep kills a master whose replica has all that it acknowledged.
func killInStep(master, replica *testserver.RedisServer) {
	master.Do("CLIENT", "PAUSE", "60000", "WRITE")
	replica.InStep(master)
	master.Kill()
}
