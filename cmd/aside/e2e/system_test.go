package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/check"
	"github.com/asidecache/aside/tests/testserver"
)

// timing has the timeouts of the nodes.
type timing struct {
	Load, Write, Fence    time.Duration
	L2, Silence, Degraded time.Duration
}

func (c timing) args() []string {
	return []string{
		"--load-timeout", c.Load.String(), "--write-timeout", c.Write.String(), "--fence-ttl", c.Fence.String(),
		"--redis-timeout", c.L2.String(), "--redis-silence", c.Silence.String(), "--degraded-l1-ttl", c.Degraded.String(),
	}
}

// system is several nodes with one database and one Redis. Each node has its own
// connection to Redis.
type system struct {
	t     *testing.T
	Redis *testserver.RedisServer // nil if Redis is more than one server
	Mongo *testserver.MongoServer
	Nodes []*node

	// Instead of Mongo, and who changes records there.
	Postgres *testserver.PostgresServer
	Outside  *check.Outside
}

const nodeCount = 3

// policy is the value of --on-redis-down.
type policy string

const (
	closed policy = "closed"
	open   policy = "open"
)

// startSystem starts a system. redisArgs are further arguments of redis-server.
func startSystem(t *testing.T, c timing, p policy, redisArgs ...string) *system {
	t.Helper()
	redis := testserver.Redis(t, redisArgs...)
	s := &system{t: t, Redis: redis}
	proxies := make([]*testserver.Proxy, nodeCount)
	for i := range proxies {
		proxies[i] = testserver.Toxiproxy(t, redis.Addr())
	}
	s.startNodes(c, p, func(i int) string { return strings.Replace(s.Redis.URL(), s.Redis.Addr(), proxies[i].Addr(), 1) })
	for i, n := range s.Nodes {
		n.Proxy = proxies[i]
	}
	return s
}

// startNodes starts the nodes, in front of s.Postgres, or of a MongoDB that it starts.
// redisURL returns the URL of Redis for the i-th node.
func (s *system) startNodes(c timing, p policy, redisURL func(i int) string, args ...string) {
	s.t.Helper()
	var store []string
	if s.Postgres != nil {
		store = []string{"--postgres", s.Postgres.URL()}
	} else {
		s.Mongo = testserver.Mongo(s.t)
		store = []string{"--mongo", s.Mongo.URI()}
	}
	for i := range nodeCount {
		s.Nodes = append(s.Nodes, startNode(s.t, fmt.Sprintf("node %d", i), slices.Concat(store, []string{
			"--redis", redisURL(i), "--cache-name", "e2e", "--on-redis-down", string(p),
		}, c.args(), args)...))
	}
}

// Targets returns the URLs of the nodes.
func (s *system) Targets() []string {
	targets := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		targets[i] = n.URL()
	}
	return targets
}

// AwaitWork waits until each node accepts a write and the other nodes can read it.
func (s *system) AwaitWork() {
	s.t.Helper()
	for i, writer := range s.Nodes {
		id := fmt.Sprintf("after-%d", i)
		writer.Create(id, "after")
		for _, reader := range s.Nodes {
			if status := reader.Do(http.MethodGet, "/todos/"+id, "", "Cache-Control", "no-cache"); status != http.StatusOK {
				s.t.Errorf("%s answers %d to a strong read of what %s has written", reader.name, status, writer.name)
			}
		}
	}
}

// leftovers returns the keys in Redis with too long a TTL: fences and leases with more than
// their time, and keys without a TTL.
const leftovers = `
local found = {}
for _, key in ipairs(redis.call('KEYS', 'aside:*')) do
  local left, kind = redis.call('PTTL', key), redis.call('GETRANGE', key, 0, 0)
  if left == -1 or kind == 'F' and left > tonumber(ARGV[1]) or kind == 'L' and left > tonumber(ARGV[2]) then
    table.insert(found, key .. ' ' .. kind .. ' ' .. left .. ' ms')
  end
end
return found`

// CheckLeftovers asserts P5: fences and leases expire on their own.
func (s *system) CheckLeftovers(c timing) {
	s.t.Helper()
	found, err := s.Redis.Do("EVAL", leftovers, "0", fmt.Sprint(c.Fence.Milliseconds()), fmt.Sprint(c.lease().Milliseconds())).AsStrSlice()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range found {
		s.t.Error("P5: left in Redis: " + f)
	}
}
