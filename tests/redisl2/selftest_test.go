package redisl2_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// grant makes a user of a server, or of each node of several.
func grant(name string, rights []string, servers ...*testserver.RedisServer) {
	for _, srv := range servers {
		srv.Do(slices.Concat([]string{"ACL", "SETUSER", name, "reset", "on", ">secret"}, rights)...)
	}
}

// as replaces the user of a URL.
func as(name, url string) string {
	_, rest, _ := strings.Cut(url, "://")
	if _, host, ok := strings.Cut(rest, "@"); ok {
		rest = host
	}
	return "redis://" + name + ":secret@" + rest
}

// notNeeded are rights that are harmless to lack: HELLO needs none, and what names
// the connection, or only asks whether somebody is there, is done without. Tags are not
// used here: see tags_test.go.
var notNeeded = []string{"+hello", "+client|setname", "+client|setinfo", "+ping", "+info", "+script|load", "+zadd", "+zrange", "+zremrangebyscore"}

// Each right of the lists in SECURITY.md, taken away, is told by the name of its
// command, at once and as an error that waiting does not repair; and when it is
// granted, the Store works.
// Caught: without the self-test, a user without TIME, EXISTS, GETEX, SCAN or MGET
// connects, and finds out in the middle of an operation, or never.
func TestEachRightIsMissedByName(t *testing.T) {
	t.Parallel()
	srv, cluster := testserver.Redis(t), testserver.Cluster(t, 2)
	for _, c := range []struct {
		user, url string
		servers   []*testserver.RedisServer
	}{
		{"aside", srv.URL(), []*testserver.RedisServer{srv}},
		{"aside-cluster", cluster.URL(), cluster.Nodes},
		{"aside-cluster", "redis://" + cluster.Addrs()[0], cluster.Nodes},
	} {
		all := c.servers[0].Rights(c.user)
		for i, right := range all {
			if !strings.HasPrefix(right, "+") || slices.Contains(notNeeded, right) ||
				right == "+cluster|shards" && major(c.servers[0]) < 8 || right == "+cluster|slots" && major(c.servers[0]) >= 8 {
				continue
			}
			grant("u", slices.Concat(all[:i], all[i+1:]), c.servers...)
			l := &testsync.Buffer{}
			s := open(t, redisl2.Options{URL: as("u", c.url), Logger: slog.New(slog.NewTextHandler(l, nil))})
			name := strings.ToUpper(strings.ReplaceAll(right[1:], "|", " "))
			err := s.Check(t.Context())
			if !errors.Is(err, redisl2.ErrUnusable) || !strings.Contains(err.Error(), "may not run "+name+" (NOPERM):") || !strings.Contains(err.Error(), "("+right+")") {
				t.Errorf("%s without %s: Check says %v", c.user, right, err)
			}
			if err := s.State(); !errors.Is(err, redisl2.ErrUnusable) {
				t.Errorf("%s without %s: State says %v", c.user, right, err)
			}
			if err := s.Ping(t.Context()); !errors.Is(err, redisl2.ErrUnusable) {
				t.Errorf("%s without %s: Ping says %v", c.user, right, err)
			}
			s.Close()
			if strings.Contains(l.String(), "secret") {
				t.Errorf("the password is in the log: %s", l)
			}
		}
		grant("u", all, c.servers...)
		s := open(t, redisl2.Options{URL: as("u", c.url)})
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("%s with all rights: %v", c.user, err)
		}
	}
}

func major(srv *testserver.RedisServer) (n int) {
	is := srv.Info("server")
	version := is["redis_version"]
	if v := is["valkey_version"]; v != "" {
		version = v
	}
	fmt.Sscanf(version, "%d.", &n)
	return n
}

// A node whose user lacks rights says so from the start and reads past Redis, as
// quickly as without; when the rights come it goes on by itself, and when they go
// it stops again and empties L1. One line is logged for each.
// Caught: a Store that only tests when it connects.
func TestRightsComeAndGo(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	all := srv.Rights("aside")
	lacking := slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == "+time" || r == "+getex" })
	grant("u", lacking, srv)
	p := newPrimary("k")
	n := newNode(t, p, as("u", srv.URL()))
	if s := n.Stats(); !s.Degraded || !strings.Contains(s.DegradedReason, "may not run TIME, GETEX (NOPERM): grant it (+time +getex)") {
		t.Errorf("degraded %v: %s", s.Degraded, s.DegradedReason)
	}
	for range 20 {
		if _, i := n.read("k", aside.Strong); i.Source != aside.SourceLoad || i.Miss != aside.MissDegraded {
			t.Errorf("from %v, %v", i.Source, i.Miss)
		}
	}
	testsync.Eventually(t, "it is logged", func() bool { return strings.Contains(n.log.String(), "cannot be used as it is set up") })

	grant("u", all, srv)
	testsync.Eventually(t, "the rights are noticed, with nobody reading", func() bool { return !n.Stats().Degraded })
	n.warm("k")
	flushed := n.Stats().L1Flushes
	grant("u", lacking, srv)
	testsync.Eventually(t, "the lack is noticed", func() bool {
		n.update("k")
		return strings.Contains(n.Stats().DegradedReason, "may not run TIME, GETEX") && n.Stats().L1Flushes > flushed
	})
	if c := strings.Count(n.log.String(), "cannot be used as it is set up"); c > 2 {
		t.Errorf("logged %d times: %s", c, n.log)
	}
}

// Other keys than the user's are told of too, but only once it is known which those
// are to be: a user may have the keys of his cache alone.
func TestKeysOfAnother(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	rights := srv.Rights("aside")
	for keys, good := range map[string]bool{"~aside:t:*": true, "~aside:other:*": false} {
		mine := slices.Clone(rights)
		mine[slices.Index(mine, "~aside:*")] = keys
		grant("u", mine, srv)
		n := newNode(t, newPrimary("k"), as("u", srv.URL()))
		err := n.store.Check(t.Context())
		if good && err != nil {
			t.Errorf("%s: %v", keys, err)
		}
		if !good {
			if !errors.Is(err, redisl2.ErrUnusable) || !strings.Contains(err.Error(), "grant it (~aside:t:*)") {
				t.Errorf("%s: %v", keys, err)
			}
			testsync.Eventually(t, "the node says so", func() bool { return strings.Contains(n.Stats().DegradedReason, "~aside:t:*") })
		}
		_ = n.Close(t.Context())
		n.store.Close()
	}
}

// What waiting does not repair is told in words, by kind, and without what is secret.
// Caught: the client library's "ClientOption.DisableCache must be true", and a node
// of a cluster that was taken for a single server.
func TestPermanentFaultsAtOpen(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t, "--requirepass", "hunter2")
	plain := testserver.Redis(t)
	cluster := testserver.Cluster(t, 2)
	grant("tracking", []string{"+@all", "~*", "&*", "-client|tracking"}, srv)
	grant("client", []string{"+@all", "~*", "&*", "-client"}, srv)
	grant("cluster", []string{"+@all", "~*", "&*", "-cluster"}, cluster.Nodes...)
	renamed := func(command string) string {
		return testserver.Redis(t, "--rename-command", command, "").URL()
	}
	for _, c := range []struct{ name, url, want string }{
		{"wrong password", "redis://:wrong@" + srv.Addr(), "refuses the user name or the password"},
		{"no such user", "redis://nobody:wrong@" + srv.Addr(), "refuses the user name or the password"},
		{"no password", "redis://" + srv.Addr(), "asks for a password (NOAUTH)"},
		{"no CLIENT TRACKING", as("tracking", "redis://"+srv.Addr()), "may not run CLIENT TRACKING (NOPERM): grant it (+client|tracking)"},
		{"no CLIENT", as("client", "redis://"+srv.Addr()), "may not run CLIENT TRACKING"},
		{"no CLUSTER", as("cluster", "redis://"+cluster.Addrs()[0]), "may not run CLUSTER SLOTS"},
		{"no CLUSTER, several addresses", as("cluster", cluster.URL()), "may not run CLUSTER SLOTS"},
		{"no such database", "redis://" + plain.Addr() + "/99", "no database of this number"},
		{"a database of a cluster", "redis://" + cluster.Addrs()[0] + "/1", "a cluster has database 0 alone"},
		{"several that are no cluster", "redis://" + plain.Addr() + "?addr=" + plain.Addr(), "not a cluster"},
		{"TLS to a server without", "rediss://" + plain.Addr(), "no TLS is spoken there"},
		{"HELLO renamed", renamed("HELLO"), "no RESP3"},
		{"CLIENT renamed", renamed("CLIENT"), "does not know CLIENT"},
		{"EVALSHA renamed", renamed("EVALSHA"), "does not know EVALSHA"},
		{"EVAL renamed", renamed("EVAL"), "does not know EVAL"},
		{"GETEX renamed", renamed("GETEX"), "does not know GETEX"},
		{"not a sentinel", plain.URL() + "?master_set=mymaster", "not a sentinel"},
		{"HTTP", "redis://" + speaks(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), "not a Redis"},
		{"TLS alert", "redis://" + speaks(t, "\x15\x03\x01\x00\x02\x02\x46"), "not a Redis"},
		{"protected mode", "redis://" + speaks(t, "-DENIED Redis is running in protected mode because ...\r\n"), "protected mode"},
		{"no tracking", "redis://" + speaks(t, helloOf("7.0.0"), "-ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.\r\n", "+OK\r\n", "+OK\r\n"), "does not know CLIENT TRACKING"},
		{"Redis 6.2, KeyDB", "redis://" + speaks(t, helloOf("6.3.4"), "+OK\r\n", "+OK\r\n", "+OK\r\n", "-ERR This instance has cluster support disabled\r\n", helloOf("6.3.4")), "version is 6.3.4, want 7.0 or later"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := &testsync.Buffer{}
			s := open(t, redisl2.Options{URL: c.url, DialTimeout: 3 * time.Second, Logger: slog.New(slog.NewTextHandler(l, nil))})
			err := s.Check(t.Context())
			if !errors.Is(err, redisl2.ErrUnusable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Check says: %v", err)
				return
			}
			s.Close()
			for _, never := range []string{"DisableCache", "wrong", "secret", "hunter2", "\n", "LD"} {
				if strings.Contains(err.Error(), never) || never != "\n" && strings.Contains(l.String(), never) {
					t.Errorf("%q is told: %v\n%s", never, err, l)
				}
			}
		})
	}
}

// What may pass is none of that. Caught: LOADING taken for what an operator must repair.
func TestTemporaryFaultsAtOpen(t *testing.T) {
	t.Parallel()
	full := testserver.Redis(t, "--maxclients", "1")
	hold, err := net.Dial("tcp", full.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	for name, url := range map[string]string{
		"nobody there": "redis://127.0.0.1:1",
		"max clients":  full.URL(),
		"loading":      "redis://" + speaks(t, helloOf("7.0.0"), "-LOADING Redis is loading the dataset in memory\r\n"),
		"ends":         "redis://" + speaks(t),
	} {
		s := open(t, redisl2.Options{URL: url, DialTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
		if err := s.Check(t.Context()); err == nil || errors.Is(err, redisl2.ErrUnusable) {
			t.Errorf("%s: Check says %v", name, err)
		}
		if err := s.State(); err == nil {
			t.Errorf("%s: State says that all is well", name)
		}
		s.Close()
	}
}

// speaks is a server that gives each connection one line for each command, then
// closes it.
func speaks(t *testing.T, lines ...string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for _, line := range lines {
					if strings.HasPrefix(line, "-DENIED") { // which a server says to whoever connects
						_, _ = c.Write([]byte(line))
						return
					}
					if head, err := r.ReadString('\n'); err == nil { // *2, and then twice $3 and three bytes
						var parts, size int
						fmt.Sscanf(head, "*%d", &parts)
						for range parts {
							head, _ = r.ReadString('\n')
							fmt.Sscanf(head, "$%d", &size)
							_, _ = r.Discard(size + 2)
						}
					}
					_, _ = c.Write([]byte(line))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func helloOf(version string) string {
	return "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n" + version + "\r\n$5\r\nproto\r\n:3\r\n"
}

// With nobody reading, a node tells the truth: nobody there yet, there, gone, back.
// It says since when, too. Caught: a Store that finds out only when it is used says that all
// is well.
func TestStateWithoutTraffic(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	srv.Kill()
	since := func(n *node, from time.Time) {
		t.Helper()
		if at := n.Stats().DegradedSince; at.Before(from) || at.After(time.Now()) {
			t.Errorf("degraded since %v, want since %v or later", at, from)
		}
	}
	before := time.Now()
	n := newNode(t, newPrimary("k"), srv.URL())
	if s := n.Stats(); !s.Degraded || !strings.Contains(s.DegradedReason, "not connected") {
		t.Errorf("nobody is there: degraded %v: %s", s.Degraded, s.DegradedReason)
	}
	since(n, before)
	srv.Restart()
	testsync.Eventually(t, "it is there", func() bool { return !n.Stats().Degraded })
	if s := n.Stats(); !s.DegradedSince.IsZero() {
		t.Errorf("all is well since %v", s.DegradedSince)
	}
	before = time.Now()
	srv.Kill()
	testsync.Eventually(t, "it is gone", func() bool { return strings.Contains(n.Stats().DegradedReason, "does not answer") })
	since(n, before)
	srv.Restart()
	testsync.Eventually(t, "it is back", func() bool { return !n.Stats().Degraded })
	if c := strings.Count(n.log.String(), "cannot be reached"); c != 2 {
		t.Errorf("%d lines of two outages: %s", c, n.log)
	}
	if n.tried.Load() != 0 {
		t.Errorf("%d operations", n.tried.Load())
	}
}
