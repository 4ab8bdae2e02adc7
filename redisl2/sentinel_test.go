package redisl2_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/internal/gate"
	"github.com/asidecache/aside/internal/testserver"
)

// sentinel starts a Sentinel that alone decides about master.
func sentinel(t *testing.T, master *testserver.RedisServer) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	host, masterPort, _ := net.SplitHostPort(master.Addr())
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `bind 127.0.0.1
port %s
dir %s
logfile %s
sentinel monitor mymaster %s %s 1
sentinel down-after-milliseconds mymaster 500
sentinel failover-timeout mymaster 5000
`, port, dir, filepath.Join(dir, "log"), host, masterPort), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := cmp.Or(os.Getenv("ASIDE_TEST_REDIS_SERVER"), "redis-server")
	if _, err := exec.LookPath(binary); err != nil {
		binary = "valkey-server"
	}
	cmd := exec.Command(binary, conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return addr
}

// ask sends a command to a Sentinel.
func ask(addr string, args ...string) string {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true})
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	m, err := c.Do(context.Background(), c.B().Arbitrary(args...).Build()).ToMessage()
	if err != nil {
		return err.Error()
	}
	return m.String()
}

// The master dies, its replica takes over, and the nodes follow.
// Caught: watchers.invalidated ignoring nil leaves entries in L1 that the new
// master tells nobody about.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	master, replica := testserver.Redis(t), testserver.Redis(t)
	host, port, _ := net.SplitHostPort(master.Addr())
	replica.Do("REPLICAOF", host, port)
	gate.Eventually(t, "the replica is in step", func() bool {
		info, _ := replica.Do("INFO", "replication").ToString()
		return strings.Contains(info, "master_link_status:up")
	})
	addr := sentinel(t, master)
	gate.Eventually(t, "the Sentinel knows the replica", func() bool {
		return strings.Contains(ask(addr, "SENTINEL", "REPLICAS", "mymaster"), replica.Addr())
	})

	p := newPrimary("k", "l")
	url := "redis://" + addr + "?master_set=mymaster"
	a, b := newNode(t, p, url, impatient), newNode(t, p, url, impatient)
	for _, n := range []*node{a, b} {
		n.warm("k")
		n.warm("l")
	}
	master.Kill()
	r := a.update("k")
	a.wantStrong("k", r.Version)
	a.healthy()
	b.healthy()
	b.wantStrong("k", r.Version)
	v := b.update("l").Version
	a.wantStrong("l", v)
	gate.Eventually(t, "default reads are fresh", func() bool {
		x, _ := a.read("l", 0)
		y, _ := b.read("k", 0)
		return x == v && y == r.Version
	})
	if n := commandCalls(replica, "evalsha"); n == 0 {
		t.Error("the new master was not used")
	}
	if a.Stats().L1Flushes == 0 || b.Stats().L1Flushes == 0 {
		t.Error("L1 was not emptied with the loss of the master")
	}
}
