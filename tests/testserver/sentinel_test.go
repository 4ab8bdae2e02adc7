package testserver

import (
	"fmt"
	"testing"

	"github.com/redis/rueidis"
)

func TestSentinel(t *testing.T) {
	t.Parallel()
	g := Sentinel(t, 2, 3)
	first := g.Master()
	if first != g.Nodes[0] {
		t.Fatalf("%s is the master", first.Addr())
	}
	opt, err := rueidis.ParseURL(g.URL())
	if err != nil || len(opt.InitAddress) != 3 || opt.Sentinel.MasterSet != MasterSet {
		t.Errorf("%s: %v, %+v", g.URL(), err, opt)
	}
	first.Do("SET", "k", "1")
	g.Nodes[1].InStep(first)

	second := g.FailOver()
	if second != g.Nodes[1] {
		t.Errorf("%s was promoted, not the first replica", second.Addr())
	}
	if v, err := second.Do("GET", "k").ToString(); v != "1" {
		t.Errorf("on the promoted replica, which was in step: %q, %v", v, err)
	}
	second.Do("SET", "k", "2")
	g.Rejoin(first)
	if v, err := first.Do("GET", "k").ToString(); v != "2" {
		t.Errorf("on the old master, now a replica: %q, %v", v, err)
	}
	if _, err := first.do("SET", "k", "3"); err == nil {
		t.Error("the old master can be written")
	}
}

func TestSentinelLag(t *testing.T) {
	t.Parallel()
	g := Sentinel(t, 1, 1)
	master, replica := g.Nodes[0], g.Nodes[1]
	master.Do("SET", "before", "1")
	proxy := g.Lag(replica)
	proxy.Silence()
	for i := range 100 {
		master.Do("SET", fmt.Sprint(i), "acknowledged")
	}
	if got := g.FailOver(); got != replica {
		t.Fatalf("%s was promoted", got.Addr())
	}
	if n, err := replica.Do("DBSIZE").AsInt64(); n != 1 {
		t.Errorf("the replica that lagged has %d keys, want the one from before; %v", n, err)
	}
}

func TestReplicaDetached(t *testing.T) {
	t.Parallel()
	master, replica := Redis(t, "--repl-diskless-sync-delay", "0"), Redis(t)
	replica.ReplicaOf(master)
	replica.Detach()
	master.Do("SET", "k", "v")
	if v, err := replica.Do("GET", "k").ToString(); !rueidis.IsRedisNil(err) {
		t.Errorf("a detached replica has %q, %v", v, err)
	}
	replica.Attach()
	replica.InStep(master)
	if v, err := replica.Do("GET", "k").ToString(); v != "v" {
		t.Errorf("attached again: %q, %v", v, err)
	}
}
