package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
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

// quiet are records that the load leaves alone: an old one that stays in a node's
// memory is not put right by the next write or strong read.
var quiet = []string{"quiet-0", "quiet-1", "quiet-2", "quiet-3", "quiet-4", "quiet-5"}

// quietly has every node keep the quiet records in memory, makes a fault, changes
// the records, and waits until every node has heard of it.
func (r *run) quietly(fault func()) {
	r.Helper()
	for _, id := range quiet {
		// Beside the load the store may take longer than a write has: then it is asked
		// again, and may say that the record is there.
		for tries := 1; ; tries++ {
			status := r.Nodes[0].Do(http.MethodPost, "/todos", `{"id":"`+id+`","name":"old"}`)
			if status == http.StatusCreated || status == http.StatusConflict && tries > 1 {
				break
			}
			if status != http.StatusGatewayTimeout || tries == 5 {
				r.Fatalf("creating %s: status %d", id, status)
			}
		}
		for _, n := range r.Nodes {
			for range 3 { // it is stored off the reader's path
				if name := n.Get(id, "max-age=60"); name != "old" {
					r.Errorf("%s reads %q for %s", n.name, name, id)
				}
			}
		}
	}
	fault()
	for i, id := range quiet {
		writer := r.Nodes[i%len(r.Nodes)]
		testsync.Eventually(r, writer.name+" takes writes again", func() bool {
			return writer.Do(http.MethodPut, "/todos/"+id, `{"name":"new"}`) == http.StatusOK
		})
	}
	for _, id := range quiet {
		for _, n := range r.Nodes {
			testsync.Eventually(r, n.name+" hears of the change of "+id, func() bool { return n.Get(id, "max-age=60") == "new" })
		}
	}
}
