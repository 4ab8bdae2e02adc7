package e2e

import (
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// failover is how long a failover may take: the death is noticed after two seconds, then
// there are one or more elections, and then the nodes learn the new master.
const failover = 15 * time.Second

// shortTTL is the TTL of records in tests where old ones come back. It is longer than most
// failovers take, so that some records are left.
const shortTTL = 6 * time.Second

// lagTime is how long a replica lags before it takes over.
const lagTime = time.Second

// losing completes a fault that is a failover to a lagging replica. Redis loses acknowledged
// data, and old records come back for the rest of their TTL. A lease may come back too, for
// the rest of its time, and a record stored with it lives for another TTL. Only then is the
// fault over, and strong reads must be fresh. Until then only this bound is asserted.
func losing(f fault) fault {
	f.outage, f.lossy, f.errors = true, true, writesRefused
	f.promises = []history.Promise{history.Bounded, history.Intact}
	return f
}

func (r *run) holdUntilOldRecordsAreGone() { r.hold(r.lease() + shortTTL) }

func staleAfterLoss(size form) time.Duration {
	return lagTime + failover + size.lease() + shortTTL + time.Second
}

// startOn starts three nodes with a Redis of several servers.
func startOn(t *testing.T, c timing, p policy, redisURL string, args ...string) *system {
	t.Helper()
	s := &system{t: t}
	s.startNodes(c, p, func(int) string { return redisURL }, args...)
	return s
}

// killInStep kills a master whose replica has all acknowledged data.
func killInStep(master, replica *testserver.RedisServer) {
	master.Do("CLIENT", "PAUSE", "60000", "WRITE")
	replica.InStep(master)
	master.Kill()
}

// quiet are records that the load does not use. So an old one in the memory of a node is
// not repaired by the next write or strong read.
var quiet = []string{"quiet-0", "quiet-1", "quiet-2", "quiet-3", "quiet-4", "quiet-5"}

// quietly lets every node cache the quiet records in memory, causes a fault, changes the
// records, and waits until every node returns the new ones.
func (r *run) quietly(fault func()) {
	r.Helper()
	for _, id := range quiet {
		// Under load the store may be slower than the write timeout. Then the request is
		// repeated, and the record may exist already.
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
			for range 3 { // it is stored after the response
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
