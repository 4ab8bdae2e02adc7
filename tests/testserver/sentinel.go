package testserver

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// MasterSet is the name that the sentinels of a SentinelGroup know the master by.
const MasterSet = "mymaster"

// failoverTimeout is half the time after which sentinels try again that could not
// agree on one of them. It is also for how long they let a replica be that takes
// its data by another way than from the master itself, for which lagTimeout is
// put in its place.
const (
	failoverTimeout = 3 * time.Second
	lagTimeout      = 15 * time.Second
)

// SentinelGroup is a master with replicas, and sentinels that watch them.
type SentinelGroup struct {
	t testing.TB

	// Nodes are the servers; the first one begins as the master.
	Nodes []*RedisServer
	// Sentinels are servers as well: they can be killed, paused, asked.
	Sentinels []*RedisServer
}

// Sentinel starts a master, its replicas, and sentinels of which a majority
// decides, and returns when all know each other and the replicas are in step.
// The sentinels take two seconds of silence for a master's death, and promote the
// first of the replicas that they find fit. args are further arguments of
// each server.
func Sentinel(t testing.TB, replicas, sentinels int, args ...string) *SentinelGroup {
	t.Helper()
	if replicas < 0 || sentinels < 1 {
		t.Fatalf("testserver.Sentinel: %d replicas, %d sentinels", replicas, sentinels)
	}
	g := &SentinelGroup{t: t}
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	for i := range 1 + replicas {
		priority := fmt.Sprint(max(10*i, 1)) // the least goes first, 0 never
		g.Nodes = append(g.Nodes, Redis(t, append([]string{"--replica-priority", priority}, args...)...))
	}
	master := g.Nodes[0]
	for _, replica := range g.Nodes[1:] {
		replica.replicaOf(master.Addr())
	}
	for _, replica := range g.Nodes[1:] {
		replica.InStep(master)
	}
	quorum := sentinels/2 + 1
	for i := range sentinels {
		// The others have no candidate of their own yet, so they break a tie.
		down := 2 * time.Second
		if i >= quorum {
			down *= 2
		}
		g.Sentinels = append(g.Sentinels, newSentinel(t, master, quorum, down))
	}
	t.Cleanup(func() {
		for i, s := range g.Sentinels {
			if t.Failed() {
				t.Logf("sentinel %d:\n%s", i, s.logTail())
			}
		}
	})
	Eventually(t, startTimeout, "every sentinel knows the replicas and the other sentinels", func() bool {
		for _, s := range g.Sentinels {
			is, err := s.info("sentinel")
			if err != nil || !strings.Contains(is["master0"], fmt.Sprintf("status=ok,address=%s,slaves=%d,sentinels=%d", master.Addr(), replicas, sentinels)) {
				return false
			}
		}
		return true
	})
	return g
}

func newSentinel(t testing.TB, master *RedisServer, quorum int, down time.Duration) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, binary: redisBinary(t), isSentinel: true}
	s.launch(func() {
		s.sentinel = filepath.Join(s.dir, "sentinel.conf")
		host, port := hostPort(master.Addr())
		conf := fmt.Sprintf(`sentinel monitor %[1]s %[2]s %[3]s %[4]d
sentinel down-after-milliseconds %[1]s %[5]d
sentinel failover-timeout %[1]s %[6]d
`, MasterSet, host, port, quorum, down.Milliseconds(), failoverTimeout.Milliseconds())
		if master.password != "" {
			conf += fmt.Sprintf("sentinel auth-pass %s %s\n", MasterSet, master.password)
		}
		// The sentinel keeps its state there.
		if err := os.WriteFile(s.sentinel, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	// By default a sentinel asks the servers for their state every ten seconds, and
	// promotes none that it asked more than five seconds ago: it would try again
	// much later. The second makes a master that comes back a replica soon. And one
	// that finds itself held up for two seconds does nothing for thirty.
	s.Do("SENTINEL", "DEBUG", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500",
		"TILT-TRIGGER", "20000", "TILT-PERIOD", "1000")
	return s
}

// URL is a URL for redisl2 that names every sentinel.
func (g *SentinelGroup) URL() string {
	addrs := make([]string, len(g.Sentinels))
	for i, s := range g.Sentinels {
		addrs[i] = "addr=" + s.Addr()
	}
	return address(g.t, g.Sentinels[0].Addr()) + "?" + strings.Join(append(addrs[1:], "master_set="+MasterSet), "&")
}

// Master is the node that all sentinels take for the master, once they agree
// and it is one.
func (g *SentinelGroup) Master() *RedisServer {
	g.t.Helper()
	return g.master("the sentinels agree on the master", func(*RedisServer) bool { return true })
}

func (g *SentinelGroup) master(what string, ok func(*RedisServer) bool) (master *RedisServer) {
	g.t.Helper()
	Eventually(g.t, startTimeout, what, func() bool {
		master = nil
		for _, s := range g.Sentinels {
			if !s.up() {
				continue
			}
			res, err := s.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterSet)
			if err != nil {
				return false
			}
			addr, err := res.AsStrSlice()
			if err != nil || len(addr) != 2 {
				return false
			}
			i := slices.IndexFunc(g.Nodes, func(n *RedisServer) bool { return n.Addr() == addr[0]+":"+addr[1] })
			if i < 0 || master != nil && master != g.Nodes[i] {
				return false
			}
			master = g.Nodes[i]
		}
		return master != nil && master.up() && ok(master) && master.isMaster()
	})
	return master
}

// FailOver kills the master and returns the node that has taken its place.
func (g *SentinelGroup) FailOver() *RedisServer {
	g.t.Helper()
	old := g.Master()
	old.Kill()
	return g.Promoted(old)
}

// Promoted waits until another node than old is the master.
func (g *SentinelGroup) Promoted(old *RedisServer) *RedisServer {
	g.t.Helper()
	return g.master("another node is the master", func(m *RedisServer) bool { return m != old })
}

// Rejoin starts a node that was killed as a replica of the master, and returns
// when it is in step.
func (g *SentinelGroup) Rejoin(node *RedisServer) {
	g.t.Helper()
	master := g.Master()
	host, port := hostPort(master.Addr())
	node.Kill()
	if err := node.start("--replicaof", host+" "+port); err != nil {
		g.t.Fatal(err)
	}
	node.InStep(master)
}

// Lag has replica take its data from the master by way of the proxy that is
// returned, which can then be slowed or silenced: the master goes on
// acknowledging writes that the replica does not have. The sentinels see none
// of it, and a failover promotes this replica before the others, if it comes
// within fifteen seconds; after that they lead the replica back to the master.
func (g *SentinelGroup) Lag(replica *RedisServer) *Proxy {
	g.t.Helper()
	master := g.Master()
	replica.Do("CONFIG", "SET", "replica-priority", "1")
	if len(g.Nodes) > 2 {
		g.knowPriority(replica, "1")
	}
	for _, s := range g.Sentinels {
		s.Do("SENTINEL", "SET", MasterSet, "failover-timeout", fmt.Sprint(lagTimeout.Milliseconds()))
	}
	p := Toxiproxy(g.t, master.Addr())
	replica.replicaOf(p.Addr())
	replica.InStep(master)
	return p
}

// knowPriority waits until the sentinels have asked the replica for its priority.
func (g *SentinelGroup) knowPriority(replica *RedisServer, priority string) {
	g.t.Helper()
	Eventually(g.t, startTimeout, "the sentinels know the replica's priority", func() bool {
		for _, s := range g.Sentinels {
			res, err := s.do("SENTINEL", "REPLICAS", MasterSet)
			if err != nil {
				return false
			}
			list, err := res.ToArray()
			if err != nil {
				return false
			}
			for _, r := range list {
				is, err := r.AsStrMap()
				if err != nil || is["name"] == replica.Addr() && is["slave-priority"] != priority {
					return false
				}
			}
		}
		return true
	})
}
