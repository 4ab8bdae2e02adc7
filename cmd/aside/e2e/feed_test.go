package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/check"
	"github.com/asidecache/aside/cmd/aside/internal/pgstore"
	"github.com/asidecache/aside/tests/testserver"
)

// goBack is --feed-go-back. It is longer than a replica lags, and than it takes to notice
// that and to promote it.
const goBack = 10 * time.Second

// fed completes a fault of nodes in front of PostgreSQL that follow its feed. Outside
// writers change the records too, and reads are held to the bound.
func fed(f fault, bound time.Duration, redis func(t *testing.T) (url string, one *testserver.RedisServer)) fault {
	f.group = feed
	f.start = func(t *testing.T, size form, p policy) *system {
		url, one := redis(t)
		s := &system{t: t, Redis: one, Postgres: testserver.OwnPostgres(t)}
		store, err := pgstore.Open(t.Context(), s.Postgres.URL(), pgstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		s.Outside = &check.Outside{Store: store, Name: "PostgreSQL", Raises: true, Bound: bound}
		s.startNodes(size.timing, p, func(int) string { return url }, "--feed", "on", "--feed-go-back", goBack.String())
		s.AwaitFeed()
		return s
	}
	return f
}

func oneRedis(t *testing.T) (string, *testserver.RedisServer) {
	r := testserver.Redis(t)
	return r.URL(), r
}

// AwaitFeed waits until each node that answers is fed, and returns the one that follows.
func (s *system) AwaitFeed() (follows int) {
	s.t.Helper()
	testsync.Eventually(s.t, "the nodes are fed", func() bool {
		follows = -1
		for i, n := range s.Nodes {
			feed, err := n.feed()
			if err != nil || !feed.Fed {
				return false
			}
			if feed.Follows {
				follows = i
			}
		}
		return follows >= 0
	})
	return follows
}

type feedState struct{ Fed, Follows bool }

// feed asks the node for the state of its feed.
func (n *node) feed() (feedState, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), 2*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+"/readyz", nil)
	if err != nil {
		return feedState{}, err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return feedState{}, err
	}
	defer a.Body.Close()
	var body struct{ Feed feedState }
	err = json.NewDecoder(a.Body).Decode(&body)
	return body.Feed, err
}

// takeover is how long it may take until another node follows, and has told what was
// changed meanwhile.
const takeover = 5 * time.Second

// Records are changed in PostgreSQL, past all nodes, while a part of the feed fails.
// Caught: a follower that does not go back, or does not clear after a gap; a new leader
// that begins at now.
func TestFeed(t *testing.T) {
	var struck int
	atStruck := func(e check.Error) bool { return e.Target == struck }
	for _, f := range []fault{
		fed(fault{name: "changes past all nodes, and no fault", do: func(r *run) { r.hold(r.Fault) }}, time.Second, oneRedis),
		fed(fault{
			name: "the node that follows the feed is killed", errors: atStruck,
			do: func(r *run) {
				struck = r.AwaitFeed()
				r.Nodes[struck].Kill()
				r.hold(r.Fault + r.lease() + takeover)
				r.Nodes[struck].Restart()
				r.AwaitFeed()
			},
		}, takeover, oneRedis),
		fed(fault{
			name: "the node that follows the feed is stopped, and goes on", errors: atStruck, resumes: true, struck: []int{0, 1, 2},
			do: func(r *run) {
				struck = r.AwaitFeed()
				r.Nodes[struck].Stop()
				r.hold(r.Fault + r.lease() + takeover)
				r.Nodes[struck].Continue()
				r.AwaitFeed()
			},
		}, 2*takeover+5*time.Second, oneRedis),
		fed(fault{
			name: "the feed's connection is cut, again and again",
			do: func(r *run) {
				r.every(r.Fault/5, func() {
					r.Postgres.Exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
				})
				r.AwaitFeed()
			},
		}, takeover, oneRedis),
		fed(fault{
			name: "PostgreSQL is killed and restarted", errors: anything, struck: []int{0, 1, 2},
			do: func(r *run) {
				r.Postgres.Kill()
				r.hold(r.Fault)
				r.Postgres.Start()
				r.AwaitFeed()
			},
		}, 2*takeover, oneRedis),
		fed(fault{
			name: "the feed's slots are dropped",
			do: func(r *run) {
				testsync.Eventually(r, "the slots are dropped", func() bool {
					r.Postgres.Exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
					r.Postgres.Exec(`DO $$ BEGIN PERFORM pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active;
						EXCEPTION WHEN object_in_use THEN NULL; END $$`)
					return r.Postgres.Value("SELECT count(*) FROM pg_replication_slots") == "0"
				})
				r.AwaitFeed()
			},
		}, takeover, oneRedis),
		fed(fault{
			name: "FLUSHALL, again and again, with changes past all nodes", lossy: true,
			do: func(r *run) { r.every(r.Fault/10, func() { r.Redis.Do("FLUSHALL") }) },
		}, takeover, oneRedis),
		fed(fault{
			name: "Redis killed, restarted empty, with changes past all nodes", lossy: true, outage: true, errors: writesRefused,
			do: func(r *run) {
				r.Redis.Kill()
				r.hold(r.Fault)
				r.Redis.Restart()
				r.AwaitFeed()
			},
		}, takeover, oneRedis),
	} {
		t.Run(f.name, func(t *testing.T) { try(t, f) })
	}
}

// A failover of Redis to a replica that lags brings old records back. With a feed they are
// gone soon, and not for the rest of their TTL, which is five minutes here. Caught: a
// leader that does not go back.
func TestFeedAfterALaggingReplica(t *testing.T) {
	// The master is found dead, another one elected, the feed opened again.
	const bound = failover + takeover
	// The short form has the same in tests/fed.
	loses := fault{long: true, outage: true, lossy: true, errors: writesRefused, stale: lagTime + bound, promises: []history.Promise{history.Bounded, history.Intact}}

	f := loses
	f.name = "Sentinel failover, the replica lags, with a feed"
	var g *testserver.SentinelGroup
	f.do = func(r *run) {
		r.hold(goBack) // it must have followed for longer
		proxy := g.Lag(g.Nodes[1])
		proxy.Silence()
		r.hold(lagTime)
		g.FailOver()
		r.AwaitFeed()
		r.hold(takeover)
		r.Redis = g.Master()
	}
	f = fed(f, lagTime+bound, func(t *testing.T) (string, *testserver.RedisServer) {
		g = testserver.Sentinel(t, 1, 3)
		return g.URL(), nil
	})
	t.Run(f.name, func(t *testing.T) { try(t, f) })

	h := loses
	h.name = "Cluster master killed, its replica lags, with a feed"
	var c *testserver.RedisCluster
	h.do = func(r *run) {
		r.hold(goBack)
		master := c.Nodes[0]
		c.Replicas(master)[0].Detach()
		r.hold(lagTime)
		c.FailOver(master)
		r.AwaitFeed()
		r.hold(takeover)
	}
	h = fed(h, lagTime+bound, func(t *testing.T) (string, *testserver.RedisServer) {
		c = testserver.ClusterWithReplicas(t, 3, 1)
		return c.URL(), nil
	})
	t.Run(h.name, func(t *testing.T) { try(t, h) })
}
