package redisl2_test

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// What would break the cache is refused by name, and no password is shown.
// Caught: with SendToReplicas a node read, and tracked, on a replica.
func TestClientOptionFaults(t *testing.T) {
	with := func(change func(*rueidis.ClientOption)) redisl2.Options {
		o := rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}, Username: "u", Password: "hunter2"}
		change(&o)
		return redisl2.Options{ClientOption: &o}
	}
	for want, o := range map[string]redisl2.Options{
		"both set":              {URL: "redis://127.0.0.1:1", ClientOption: &rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}}},
		"InitAddress is empty":  {ClientOption: &rueidis.ClientOption{}},
		"URL in it":             with(func(o *rueidis.ClientOption) { o.InitAddress = []string{"redis://:hunter2@127.0.0.1:1"} }),
		`"localhost" is no`:     with(func(o *rueidis.ClientOption) { o.InitAddress = []string{"localhost"} }),
		"SelectDB is -1":        with(func(o *rueidis.ClientOption) { o.SelectDB = -1 }),
		"AlwaysRESP2":           with(func(o *rueidis.ClientOption) { o.AlwaysRESP2 = true }),
		"DisableCache":          with(func(o *rueidis.ClientOption) { o.DisableCache = true }),
		"ClientTrackingOptions": with(func(o *rueidis.ClientOption) { o.ClientTrackingOptions = []string{"OPTIN"} }),
		"OnInvalidations":       with(func(o *rueidis.ClientOption) { o.OnInvalidations = func([]rueidis.RedisMessage) {} }),
		"NewCacheStoreFn": with(func(o *rueidis.ClientOption) {
			o.NewCacheStoreFn = func(rueidis.CacheStoreOption) rueidis.CacheStore { return nil }
		}),
		"ReplicaOnly":              with(func(o *rueidis.ClientOption) { o.ReplicaOnly = true }),
		"SendToReplicas":           with(func(o *rueidis.ClientOption) { o.SendToReplicas = func(rueidis.Completed) bool { return true } }),
		"Standalone":               with(func(o *rueidis.ClientOption) { o.Standalone.ReplicaAddress = []string{"127.0.0.1:2"} }),
		"ConnLifetime":             with(func(o *rueidis.ClientOption) { o.ConnLifetime = time.Minute }),
		"set DialCtxFn instead":    with(func(o *rueidis.ClientOption) { o.Sentinel.MasterSet, o.Dialer.Resolver = "m", &net.Resolver{} }),
		`client name "a b"`:        with(func(o *rueidis.ClientOption) { o.ClientName = "a b" }),
		"SilenceTimeout is 1ms":    {SilenceTimeout: time.Millisecond, ClientOption: &rueidis.ClientOption{InitAddress: []string{"127.0.0.1:1"}}},
		"empty, want one like red": {},
	} {
		s, err := redisl2.Open(o)
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", want)
			continue
		}
		if !errors.Is(err, redisl2.ErrOptions) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %q, want one that says %s", err, want)
		}
	}
}

// Credentials that a function gives, a dial function of the program, pipelining over
// several connections, which the Store must not do: the same cache on one connection.
// Caught: DialFn went past the Store, which then had no connection to leave; and with
// PipelineMultiplex of the program there were four connections.
func TestClientOption(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	srv.Do("ACL", "SETUSER", "todo", "on", ">s3cret", "~*", "&*", "+@all")
	var dials, asked atomic.Int64
	o := rueidis.ClientOption{
		InitAddress: []string{strings.TrimPrefix(srv.URL(), "redis://")}, ClientName: "shared", PipelineMultiplex: 2, DisableAutoPipelining: true,
		AuthCredentialsFn: func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			asked.Add(1)
			return rueidis.AuthCredentials{Username: "todo", Password: "s3cret"}, nil
		},
		DialFn: func(addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			dials.Add(1)
			return d.Dial("tcp", addr)
		},
	}
	p := newPrimary("k")
	a := newNodeOn(t, p, open(t, redisl2.Options{ClientOption: &o, ClientName: "of-the-store"}), &testsync.Buffer{})
	b := newNode(t, p, srv.URL())
	if v, _ := a.read("k", aside.Default); v != 1 {
		t.Errorf("read version %d", v)
	}
	b.update("k")
	if v, _ := a.read("k", aside.Strong); v != 2 {
		t.Errorf("strong read of version %d", v)
	}
	a.update("k")
	if v, _ := b.read("k", aside.Strong); v != 3 {
		t.Errorf("strong read of version %d on the other node", v)
	}
	if dials.Load() == 0 || asked.Load() == 0 {
		t.Errorf("%d dials, %d times asked for credentials", dials.Load(), asked.Load())
	}
	if got := srv.KillClients("of-the-store"); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	if o.DialFn == nil || o.PipelineMultiplex != 2 || o.DialCtxFn != nil || o.ClientName != "shared" {
		t.Error("the program's options were changed")
	}
}
