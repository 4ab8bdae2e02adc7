package fed_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// manyRows is ASIDE_TEST_ROWS, 0 if it is not set.
func manyRows() int {
	n, _ := strconv.Atoi(os.Getenv("ASIDE_TEST_ROWS"))
	return n
}

// A failover to a replica that lags brings back what was before the latest changes, of
// writes through the cache too. The feed tells of them again. Caught: a cache that shows
// it until its TTL, an hour.
func TestFailoverToAReplicaThatLags(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"Sentinel", "Cluster"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var url string
			var lag func() (promoted func())
			if kind == "Sentinel" {
				g := testserver.Sentinel(t, 1, 3)
				url = g.URL()
				lag = func() func() {
					g.Lag(g.Nodes[1]).Silence()
					return func() { g.FailOver() }
				}
			} else {
				c := testserver.ClusterWithReplicas(t, 3, 1)
				url = c.URL()
				lag = func() func() {
					for _, m := range c.Nodes[:3] {
						c.Replicas(m)[0].Detach()
					}
					return func() { c.FailOver(c.Nodes[0]) }
				}
			}
			w := newWorld(t, testserver.Postgres(t), url)
			const n = 60
			ids := make([]string, n)
			for i := range ids {
				ids[i] = fmt.Sprint("k", i)
				w.put(ids[i], "old")
			}
			// It must have followed for longer than it goes back.
			nodes := w.nodes(2, func(o *options) { o.FeedGoBack = 3 * time.Second })
			time.Sleep(5 * time.Second)
			for _, n := range nodes {
				for _, id := range ids {
					n.inL1(id)
				}
			}
			promote := lag()
			for i, id := range ids {
				if i%2 == 0 {
					w.put(id, "new")
				} else if err := nodes[0].write(id, "new"); err != nil {
					t.Fatal(err)
				}
			}
			for _, id := range ids {
				nodes[1].becomes(id, "new")
			}
			promote()
			promoted := time.Now()
			older := 0
			var last time.Time
			for time.Since(promoted) < 4*time.Second {
				for _, n := range nodes {
					for _, id := range ids {
						if n.name(id, aside.Strong) == "old" {
							older++
							last = time.Now()
						}
					}
				}
			}
			if older > 0 {
				t.Logf("%d reads of older records, the last %v after the promotion", older, last.Sub(promoted).Round(time.Millisecond))
			}
			for _, n := range nodes {
				for _, id := range ids {
					if got := n.name(id, aside.Strong); got != "new" {
						t.Errorf("%s is %s after the failover", id, got)
					}
				}
			}
		})
	}
}

// The cache follows again after each part was gone, and misses nothing of what was
// changed meanwhile.
func TestPartsComeAndGo(t *testing.T) {
	t.Parallel()
	pg := testserver.OwnPostgres(t)
	redis := testserver.Redis(t)
	w := newWorld(t, pg, redis.URL())
	w.put("k", "0")
	nodes := w.nodes(3)
	leader := func() *node {
		var found *node
		testsync.Eventually(t, "a node leads", func() bool {
			for _, n := range nodes {
				if s := n.Stats().Feed; s.Leads && s.Fed {
					found = n
				}
			}
			return found != nil
		})
		return found
	}
	for i, c := range []struct {
		what string
		do   func(change func())
	}{
		{"the feed's connection is cut", func(change func()) {
			w.outside("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
			change()
		}},
		{"PostgreSQL is killed and restarted", func(change func()) {
			change()
			pg.Kill()
			pg.Start()
			w.pool.Reset()
		}},
		{"the slots are dropped", func(change func()) {
			w.outside("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
			testsync.Eventually(t, "the slots are dropped", func() bool {
				_, err := w.pool.Exec(t.Context(), "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
				return err == nil && pg.Value("SELECT count(*) FROM pg_replication_slots WHERE slot_name NOT LIKE '%back'") == "0"
			})
			change()
		}},
		{"Redis is flushed", func(change func()) {
			redis.Do("FLUSHALL")
			change()
		}},
		{"Redis is restarted empty", func(change func()) {
			redis.Kill()
			change()
			redis.Restart()
		}},
		{"the leader closes", func(change func()) {
			l := leader()
			_ = l.Close(t.Context())
			change()
			for i, n := range nodes {
				if n == l {
					nodes = append(nodes[:i], nodes[i+1:]...)
					break
				}
			}
		}},
	} {
		leader()
		for _, n := range nodes {
			n.inL1("k")
		}
		name := fmt.Sprint(i + 1)
		c.do(func() { w.put("k", name) })
		for _, n := range nodes {
			n.becomes("k", name)
			n.fed()
		}
		if t.Failed() {
			t.Fatal(c.what)
		}
	}
}
