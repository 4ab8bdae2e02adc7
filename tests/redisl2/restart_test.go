package redisl2_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// rights are the users that a server may give us. Without INFO it cannot be told
// whether a server was a replica before, or is the one that we know.
var rights = map[string][]string{
	"all rights": nil,
	"no INFO":    {"-@dangerous"},
	// Scripts come by EVAL alone then.
	"few rights": strings.Fields("-@all +hello +client|setname +client|tracking +eval +evalsha +set +getex +get +mget +exists +unlink +pexpire +pttl +time +scan"),
}

// asUser returns the URL of a user of the server.
func asUser(srv *testserver.RedisServer, user []string) string {
	if user == nil {
		return srv.URL()
	}
	srv.Do(append(strings.Fields("ACL SETUSER cache on >pw ~* &* +@all"), user...)...)
	return "redis://cache:pw@" + srv.Addr()
}

// Redis dies and comes back with its snapshot, which is older than an acknowledged
// write: nobody is answered with what came back, neither a node that was there
// before nor one that comes later, and what the node that came first has stored
// since then stays.
// Caught: scripts that are sent to a server without a look at what it has (strong
// reads of version 1).
func TestRestartFromSnapshot(t *testing.T) {
	t.Parallel()
	for name, user := range rights {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acl := t.TempDir() + "/users.acl"
			if err := os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			srv := testserver.Redis(t, "--aclfile", acl)
			url := asUser(srv, user)
			srv.Do("ACL", "SAVE")
			keys := numbered("k", 100)
			p := newPrimary(append(keys, "lease", "fence")...)
			long := func(o *options) { o.LoadTimeout, o.WriteTimeout, o.FenceTTL = minute, minute, 2*minute }
			a, b := newNode(t, p, url, closed, long), newNode(t, p, url, closed, long)
			for _, k := range keys {
				a.warm(k)
				b.warm(k)
			}
			// A load and a write that began before the snapshot, and end after it: the
			// lease that comes back is older than a write, and so is the fence.
			g := testsync.NewGate(t)
			p.afterRead = func(k string) {
				if k == "lease" {
					g.Pass(k)
				}
			}
			read := testsync.Async(func() error { _, err := a.Get(context.Background(), "lease", p); return err })
			testsync.Await(t, "the load", g.Arrived)
			write := b.Write(t.Context(), "fence", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
				mine := p.put("fence") // its commit is the first, its release the last
				srv.Do("SAVE")
				for _, k := range append(keys, "fence") {
					a.update(k)
				}
				b.update("lease")
				srv.RestartFromSnapshot()
				if n := srv.Info("persistence")["rdb_last_load_keys_loaded"]; len(n) < 3 {
					t.Errorf("the snapshot brought %s keys", n)
				}
				w.Publish("fence", mine)
				return nil
			})
			if write != nil {
				t.Logf("the write that Redis forgot: %v", write) // unknown is good too
			}
			late := newNode(t, p, url, closed)
			late.wantStrong("k0", 2)
			late.warm("k0")
			for _, n := range []*node{late, b, a} {
				for _, k := range keys {
					n.wantStrong(k, 2)
				}
				n.wantStrong("fence", 3)
				n.becomesFresh("k50", 2)
			}
			g.Open()
			if err := testsync.Await(t, "the read", read); err != nil {
				t.Error(err)
			}
			for _, n := range []*node{a, b, late} {
				n.healthy()
				n.wantStrong("lease", 2)
				n.wantStrong("fence", 3)
			}
			// It is over: nobody removes what has been stored since.
			a.warm("k1")
			for _, n := range []*node{a, b, late, newNode(t, p, url)} {
				if v, i := n.read("k1", aside.Strong); v != 2 || i.Source != aside.SourceL2 {
					t.Errorf("version %d from %v, want 2 from L2", v, i.Source)
				}
			}
		})
	}
}

// The same with many nodes under load, again and again: each restart brings back
// what the snapshot had.
func TestRestartsFromSnapshotUnderLoad(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	keys := numbered("k", 6)
	p := newPrimary(keys...)
	p.afterRead = func(string) { yield() }
	a, b := newNode(t, p, srv.URL(), impatient, closed), newNode(t, p, srv.URL(), impatient, closed)
	d := drive(t, keys, a, b)
	d.goesOn(50)
	for range 5 {
		srv.Do("SAVE")
		d.goesOn(50)
		srv.RestartFromSnapshot()
		d.goesOn(50)
	}
	d.settle()
}

// What it takes to clear a server may not be allowed. Then the server is not used,
// and the reason is told.
// Caught: a server that is trusted when it could not be cleared.
func TestRestartWithoutTheRightToScan(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	n := newNode(t, p, asUser(srv, []string{"-scan"}), impatient)
	n.wantStrong("k", 1)
	testsync.Eventually(t, "the node says why", func() bool {
		n.wantStrong("k", 1)
		return strings.Contains(n.Stats().DegradedReason, "SCAN")
	})
	if v := n.update("k").Version; v != 2 {
		t.Errorf("version %d", v)
	}
	n.wantStrong("k", 2)
}

// A server is cleared once for each cache, of its own keys alone.
// Caught: a mark that is common to all caches, and databases.
func TestOneCacheIsNotClearedForAnother(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	named := func(name string) func(*options) { return func(o *options) { o.Name = name } }
	one := newNode(t, p, srv.URL(), named("one"))
	one.warm("k")
	srv.Do("SET", "theirs", "x")
	srv.Do("SAVE")
	srv.RestartFromSnapshot()
	two := newNode(t, p, srv.URL(), named("two"))
	two.warm("k")
	elsewhere := newNode(t, p, srv.URL()+"/1", named("one"))
	elsewhere.warm("k")
	p.put("k")
	if got := must(srv.Do("GET", "theirs").ToString()); got != "x" {
		t.Errorf("a stranger's key is %q", got)
	}
	late := newNode(t, p, srv.URL(), named("one"))
	late.wantStrong("k", 2)
}

// A master that restarts in a cluster, before its replica takes over.
// Caught: as TestRestartFromSnapshot; and servers of which only one is cleared.
func TestRestartFromSnapshotInACluster(t *testing.T) {
	t.Parallel()
	c := testserver.Cluster(t, 3)
	var keys []string
	for _, n := range c.Nodes {
		keys = append(keys, c.Tags(n, 10)...)
	}
	p := newPrimary(keys...)
	a, b := newNode(t, p, c.URL(), closed), newNode(t, p, c.URL(), closed)
	for _, k := range keys {
		a.warm(k)
		b.warm(k)
	}
	for _, n := range c.Nodes {
		n.Do("SAVE")
	}
	for _, k := range keys {
		a.update(k)
	}
	for _, n := range c.Nodes[:2] {
		n.RestartFromSnapshot()
		if loaded := n.Info("persistence")["rdb_last_load_keys_loaded"]; len(loaded) < 2 {
			t.Errorf("the snapshot brought %s keys", loaded)
		}
	}
	late := newNode(t, p, c.URL(), closed)
	for _, n := range []*node{late, b, a} {
		for _, k := range keys {
			n.wantStrong(k, 2)
		}
	}
	for _, n := range []*node{a, b, late} {
		n.healthy()
		for _, k := range keys {
			testsync.Eventually(t, k+" is in L2", func() bool {
				v, i := n.read(k, aside.Strong)
				if v != 2 {
					t.Errorf("%s: version %d from %v, want 2", k, v, i.Source)
				}
				return i.Source == aside.SourceL2
			})
			n.becomesFresh(k, 2)
		}
	}
}

// Behind an address that stays, another server is the master now, and the old one,
// to which the node is connected, its replica.
// Caught: a node that stays: READONLY for ever, and with FailOpen the strong reads
// of others that never see its writes.
func TestMasterHandsOverBehindItsAddress(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "INFO tells that the server was a replica and need not be cleared")
	for _, policy := range []aside.Policy{aside.FailOpen, aside.FailClosed} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			t.Parallel()
			m, r := testserver.Redis(t, "--repl-diskless-sync-delay", "0"), testserver.Redis(t)
			r.ReplicaOf(m)
			at := testserver.AddressOf(t, m.Addr())
			o := func(o *options) { o.OnL2Down = policy }
			p := newPrimary(append(numbered("kept", 20), "k", "idle")...)
			a, idle := newNode(t, p, via(m, at.Addr()), impatient, o), newNode(t, p, via(m, at.Addr()), impatient, o)
			patient := newNode(t, p, m.URL(), func(o *options) { o.L1Size = -1 })
			for _, k := range numbered("kept", 20) {
				patient.inL2(k)
			}
			a.takes("k")
			a.warm("idle")
			idle.warm("idle")
			r.InStep(m)
			m.Do("FAILOVER")
			testsync.Eventually(t, "the replica is the master", func() bool { return r.Role() == "master" })
			made := at.Made()
			if policy == aside.FailClosed { // some seconds with nobody to write to
				pause := time.After(3 * time.Second)
				for waits := true; waits; {
					select {
					case <-pause:
						waits = false
					default:
						_, _ = a.tryUpdate("k")
						yield()
					}
				}
				if n := at.Made() - made; n > 40 {
					t.Errorf("%d connections in 3s", n)
				}
				testsync.Eventually(t, "the node says why", func() bool {
					_, _ = a.tryUpdate("k")
					return strings.Contains(a.Stats().DegradedReason, "READONLY")
				})
			}
			at.Point(r.Addr())
			b := newNode(t, p, via(m, at.Addr()), impatient, o)
			within(t, 2*slack, "the node writes to the new master", func() {
				testsync.Eventually(t, "a write that the other node sees", func() bool {
					v, err := a.tryUpdate("k")
					return err == nil && a.Stats().Pending == 0 && !a.Stats().Degraded && seen(b, "k") == v.Version
				})
			})
			a.healthy()
			// One that nobody asks for anything follows too.
			v := b.takes("idle")
			idle.becomesFresh("idle", v)
			a.becomesFresh("idle", v)
			// And what the replica had is still good: it had it from the master.
			fresh := newNode(t, p, r.URL())
			for _, k := range numbered("kept", 20) {
				if v, i := fresh.read(k, aside.Strong); v != 1 || i.Source != aside.SourceL2 {
					t.Fatalf("%s: version %d from %v, want 1 from L2", k, v, i.Source)
				}
			}
		})
	}
}

func seen(n *node, k string) int {
	v, _ := n.read(k, aside.Strong)
	return v
}

// A connection on which answers never stop, and come later and later. What L1 has
// is not trusted for longer than SilenceTimeout.
// Caught: a connection that is trusted as long as anything comes by it.
func TestConnectionThatIsSlowAndNeverSilent(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	tap := newTap(t, srv)
	p := newPrimary("k")
	n := newNode(t, p, tap.url(), func(o *options) { o.MaxQueuedLoads, o.BreakerFailures = 10_000, 100_000 })
	other := newNode(t, p, srv.URL())
	n.warm("k")
	srv.Do("SET", prefix+"asked", string(entry(strings.Repeat("x", 500))))
	tap.trickle(64, 20*time.Millisecond) // a minute's worth of answers, one each 0.2s
	store := n.store
	var asks sync.WaitGroup
	defer asks.Wait()
	for range 400 {
		asks.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), minute)
			defer cancel()
			store.Acquire(ctx, expected("asked"))
		})
	}
	testsync.Eventually(t, "the server has been asked", func() bool { return len(tap.commands()) > 300 })
	other.update("k")
	within(t, 2*time.Second+slack, "the node's default reads are fresh", func() {
		testsync.Eventually(t, "a fresh read", func() bool { v, _ := n.read("k", aside.Default); return v == 2 })
	})
	tap.trickle(0, 0)
}

// trickle lets n bytes of answers through at a time.
func (p *tap) trickle(n int, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes, p.pause = n, pause
}

// slowly is a writer as trickle has set it.
type slowly struct {
	p  *tap
	to io.Writer
}

func (s slowly) Write(b []byte) (done int, err error) {
	for done < len(b) {
		s.p.mu.Lock()
		n, pause := s.p.bytes, s.p.pause
		s.p.mu.Unlock()
		if n == 0 {
			n = len(b) - done
		}
		time.Sleep(pause)
		m, err := s.to.Write(b[done:min(len(b), done+n)])
		if done += m; err != nil {
			return done, err
		}
	}
	return done, nil
}

// A sentinel is asked where the master is. When it restarts, nothing about the
// master's keys has been missed.
// Caught: sentinels' connections told as lost like those of servers (a flush for
// each).
func TestRestartOfASentinelKeepsL1(t *testing.T) {
	t.Parallel()
	g := testserver.Sentinel(t, 0, 3)
	p := newPrimary("k")
	n, other := newNode(t, p, g.URL()), newNode(t, p, g.URL())
	n.warm("k")
	for range 2 {
		for _, s := range g.Sentinels {
			if s.KillClients("") == 0 {
				t.Error("nobody is connected to the sentinel")
			}
		}
		for _, s := range g.Sentinels {
			s.Restart()
		}
	}
	testsync.Eventually(t, "a sentinel is asked again", func() bool { return listening.MatchString(clients(g.Sentinels)) })
	if s := n.Stats(); s.L1Flushes != 0 {
		t.Errorf("L1 was emptied %d times", s.L1Flushes)
	}
	n.want("k", 1, aside.SourceL1)
	other.update("k")
	n.becomesFresh("k", 2)
	n.warm("k")
	g.Nodes[0].KillClients("aside")
	testsync.Eventually(t, "the loss of the master's connection is told", func() bool { return n.Stats().L1Flushes > 0 })
}

var listening = regexp.MustCompile(` sub=[1-9]`)

func clients(servers []*testserver.RedisServer) (all string) {
	for _, s := range servers {
		list, _ := s.Do("CLIENT", "LIST").ToString()
		all += list
	}
	return all
}
