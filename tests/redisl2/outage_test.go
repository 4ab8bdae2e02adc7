package redisl2_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// site is a server with the ways to it.
type site struct {
	t     testing.TB
	srv   *testserver.RedisServer
	proxy *testserver.Proxy
	tap   *tap
	raw   net.Conn // keeps its rights whatever happens to others
}

func newSite(t testing.TB, args ...string) *site {
	srv := testserver.Redis(t, args...)
	raw, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	return &site{t, srv, testserver.Toxiproxy(t, srv.Addr()), newTap(t, srv), raw}
}

// send sends a command and does not wait for its answer.
func (s *site) send(args ...string) {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := s.raw.Write([]byte(b.String())); err != nil {
		s.t.Fatal(err)
	}
}

func direct(s *site) string  { return s.srv.URL() }
func proxied(s *site) string { return via(s.srv, s.proxy.Addr()) }
func tapped(s *site) string  { return s.tap.url() }

func replies(msg string) func(*site) { return func(s *site) { s.tap.answer(msg) } }
func repliesNoMore(s *site)          { s.tap.replace(nil) }

// outages is every way in which Redis can be of no use.
var outages = []struct {
	name       string
	url        func(*site) string // of the node that suffers
	start, end func(*site)
	reason     string // part of Stats.DegradedReason
}{
	{"killed", direct, func(s *site) { s.srv.Kill() }, func(s *site) { s.srv.Restart() }, ""},
	{"stopped", direct, func(s *site) { s.srv.Pause() }, func(s *site) { s.srv.Resume() }, "deadline"},
	{"cut off", proxied, func(s *site) { s.proxy.Cut() }, func(s *site) { s.proxy.Restore() }, ""},
	{"silent", proxied, func(s *site) { s.proxy.Silence() }, func(s *site) { s.proxy.Restore() }, "deadline"},
	{"answers lost", proxied, func(s *site) { s.proxy.SilenceReplies() }, func(s *site) { s.proxy.Restore() }, "deadline"},
	{"slow", proxied, func(s *site) { s.proxy.Latency(time.Second) }, func(s *site) { s.proxy.Restore() }, "deadline"},
	{"replica of a dead master", direct,
		func(s *site) { s.srv.Do("REPLICAOF", "127.0.0.1", "1") },
		func(s *site) { s.srv.Do("REPLICAOF", "NO", "ONE") }, "READONLY"},
	{"password set", direct,
		func(s *site) {
			s.send("CONFIG", "SET", "requirepass", "s3cret")
			s.send("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		},
		func(s *site) { s.send("CONFIG", "SET", "requirepass", "") }, "NOAUTH"},
	{"busy with a script", direct,
		func(s *site) {
			s.srv.Do("CONFIG", "SET", "busy-reply-threshold", "20")
			s.send("EVAL", "while true do end", "0")
		},
		func(s *site) { s.srv.Do("SCRIPT", "KILL") }, ""},
	{"LOADING", tapped, replies("LOADING Redis is loading the dataset in memory"), repliesNoMore, "LOADING"},
	{"MOVED", tapped, replies("MOVED 1234 127.0.0.1:1"), repliesNoMore, "MOVED"},
	{"CLUSTERDOWN", tapped, replies("CLUSTERDOWN Hash slot not served"), repliesNoMore, "CLUSTERDOWN"},
	{"MASTERDOWN", tapped, replies("MASTERDOWN Link with MASTER is down"), repliesNoMore, "MASTERDOWN"},
	{"TRYAGAIN", tapped, replies("TRYAGAIN Multiple keys request during rehashing of slot"), repliesNoMore, "TRYAGAIN"},
	{"NOPERM", tapped, replies("NOPERM this user has no permissions"), repliesNoMore, "NOPERM"},
}

// An outage of Redis is not one of the application (P6).
// Caught: a breaker that never opens (200 reads of a stopped server take 20s,
// and 200 look-ups are tried); writes that are not remembered (the other node
// stays at the old version); recovery by PING alone, which a replica answers
// (the breaker closes and opens for ever).
func TestOutage(t *testing.T) {
	t.Parallel()
	for _, c := range outages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "password set" {
				testserver.AllRights(t, "the password is the default user's")
			}
			s := newSite(t)
			keys := numbered("k", 200)
			p := newPrimary(append(keys, "old", "quiet", "closed", "again")...)
			a := newNode(t, p, c.url(s), impatient)
			closed := newNode(t, p, c.url(s), impatient, func(o *options) { o.OnL2Down = aside.FailClosed })
			b := newNode(t, p, s.srv.URL())
			for _, n := range []*node{a, b, closed} {
				n.warm("old")
				n.warm("quiet")
				n.warm("closed")
			}

			c.start(s)
			testsync.Eventually(t, "a notices", func() bool {
				_, _ = a.Read(context.Background(), "quiet", p, aside.Strong)
				return a.Stats().Degraded
			})
			a.tried.Store(0)
			within(t, slack, "200 reads in an outage", func() {
				for _, k := range keys {
					a.read(k, aside.Default)
				}
			})
			if n := a.tried.Load(); n > 40 {
				t.Errorf("%d operations were tried for 200 reads", n)
			}
			if st := a.Stats(); !st.Degraded || st.DegradedReason == "" || !strings.Contains(st.DegradedReason, c.reason) {
				t.Errorf("degraded %v, reason %q, want one that has %q", st.Degraded, st.DegradedReason, c.reason)
			} else {
				t.Logf("%d operations tried; degraded: %s", a.tried.Load(), st.DegradedReason)
			}

			version := 1
			within(t, slack, "20 writes in an outage, read back", func() {
				for range 20 {
					version = a.update("old").Version
					if v, _ := a.read("old", aside.Default); v != version {
						t.Errorf("a node does not see its own write: version %d, want %d", v, version)
					}
					a.wantStrong("old", version)
				}
				err := a.Write(context.Background(), "quiet", func(context.Context, *aside.WriteTx[string, rec]) error {
					p.put("quiet")
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				a.wantStrong("quiet", 2)
			})
			if n := a.Stats().Pending; n == 0 {
				t.Error("no written key is remembered")
			}

			within(t, slack, "refusing 10 writes", func() {
				for range 10 {
					_, err := closed.tryUpdate("closed")
					if !errors.Is(err, aside.ErrL2Unavailable) {
						t.Errorf("FailClosed: %v, want ErrL2Unavailable", err)
					}
				}
			})
			if v, i := closed.read("closed", aside.Strong); v != 1 {
				t.Errorf("FailClosed: the write function ran: version %d from %v", v, i.Source)
			}

			pings := a.pings.Load()
			testsync.Eventually(t, "L2 is probed", func() bool { return a.pings.Load() > pings+1 })
			if strings.Contains(a.log.String(), "in use again") {
				t.Errorf("a probe was content with a server that cannot be written: %s", a.log)
			}
			c.end(s)
			a.healthy()
			closed.healthy()
			b.wantStrong("old", version)
			b.wantStrong("quiet", 2)
			testsync.Eventually(t, "default reads of the other node are fresh", func() bool {
				v, _ := b.read("old", aside.Default)
				w, _ := b.read("quiet", aside.Default)
				return v == version && w == 2
			})
			closed.update("closed")
			b.wantStrong("closed", 2)
			b.warm("again")
			if v, i := a.read("again", aside.Default); i.Source != aside.SourceL2 {
				t.Errorf("L2 is not in use again: version %d from %v", v, i.Source)
			}
			for _, n := range []*node{a, closed} {
				if strings.Contains(n.log.String(), "s3cret") {
					t.Error("the password is in the log")
				}
			}
		})
	}
}

// Redis answers, and lets nothing be written: what is stored is still used.
// Caught: wrap without the error's code opens the breaker.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		args       []string
		start, end func(*site)
	}{
		{"OOM", nil,
			func(s *site) { s.srv.Do("CONFIG", "SET", "maxmemory", "1") },
			func(s *site) { s.srv.Do("CONFIG", "SET", "maxmemory", "0") }},
		{"MISCONF", []string{"--save", "3600 1", "--enable-protected-configs", "yes"},
			func(s *site) {
				dir, err := os.MkdirTemp("", "gone")
				if err != nil {
					s.t.Fatal(err)
				}
				s.srv.Do("CONFIG", "SET", "dir", dir)
				if err := os.Remove(dir); err != nil {
					s.t.Fatal(err)
				}
				s.srv.Do("BGSAVE")
				testsync.Eventually(s.t, "a save fails", func() bool {
					info, _ := s.srv.Do("INFO", "persistence").ToString()
					return strings.Contains(info, "rdb_last_bgsave_status:err")
				})
			},
			func(s *site) { s.srv.Do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }},
		{"NOREPLICAS", nil,
			func(s *site) { s.srv.Do("CONFIG", "SET", "min-replicas-to-write", "1") },
			func(s *site) { s.srv.Do("CONFIG", "SET", "min-replicas-to-write", "0") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.args...)
			stored, fresh := numbered("stored", 50), numbered("fresh", 50)
			p := newPrimary(append(stored, fresh...)...)
			a := newNode(t, p, s.srv.URL())
			closed := newNode(t, p, s.srv.URL(), func(o *options) { o.OnL2Down = aside.FailClosed })
			b := newNode(t, p, s.srv.URL())
			if _, err := a.GetMany(context.Background(), stored, p); err != nil {
				t.Fatal(err)
			}
			a.warm(stored[49])
			c.start(s)

			for i, k := range stored {
				b.read(fresh[i], aside.Default)
				b.want(k, 1, aside.SourceL2)
			}
			if st := b.Stats(); st.L2Errors < 50 || b.log.String() != "" {
				t.Errorf("%d refusals; log: %s", st.L2Errors, b.log)
			}
			r := a.update(stored[0])
			if v, _ := a.read(stored[0], aside.Default); v != r.Version {
				t.Errorf("own write is not seen: version %d", v)
			}
			a.wantStrong(stored[0], r.Version)
			if _, err := closed.tryUpdate(stored[1]); !errors.Is(err, aside.ErrL2Unavailable) {
				t.Errorf("FailClosed: %v, want ErrL2Unavailable", err)
			}
			closed.wantStrong(stored[1], 1)

			c.end(s)
			a.healthy()
			testsync.Eventually(t, "the other node sees the write", func() bool { v, _ := b.read(stored[0], aside.Default); return v == r.Version })
			b.wantStrong(stored[0], r.Version)
			b.warm(fresh[0])
		})
	}
}

// More callers than rueidis has places for commands in flight.
// Caught: without the SilenceTimeout's pings, those beyond the 4,096th wait
// until the server is back.
func TestBurstWhileSilent(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	n := newNode(t, p, srv.URL(), impatient, func(o *options) { o.MaxQueuedLoads = 10_000; o.BreakerFailures = 100_000 })
	n.warm("k")
	srv.Pause()
	within(t, 5*time.Second+slack, "6,000 reads at once while the server is stopped", func() {
		var callers sync.WaitGroup
		for i := range 6000 {
			callers.Go(func() {
				if _, err := n.Get(context.Background(), fmt.Sprint(i), p); !errors.Is(err, aside.ErrNotFound) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
	})
	srv.Resume()
}

// Keys written in an outage are invalidated in the order in which their writes
// ended. Caught: take without the sort by sequence.
func TestPendingKeysAreInvalidatedInOrder(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	keys := numbered("k", 300) // more than one batch
	p := newPrimary(keys...)
	n := newNode(t, p, s.tap.url())
	n.warm("k0")
	s.tap.answer("LOADING Redis is loading")
	for _, k := range keys {
		n.update(k)
	}
	n.update("k7") // the last write counts
	order := append(append(append([]string{}, keys[:7]...), keys[8:]...), "k7")
	s.tap.forget()
	s.tap.replace(nil)
	n.healthy()
	s.tap.mu.Lock()
	defer s.tap.mu.Unlock()
	var got []string
	for _, c := range s.tap.cmds {
		if c[0] != "EVALSHA" && c[0] != "EVAL" {
			continue
		}
		// Release, as other scripts, has three arguments for each key; the last probe
		// has no keys.
		if n, _ := strconv.Atoi(c[2]); n > 0 && len(c) == 3+4*n {
			for _, k := range c[3 : 3+n] {
				if k = strings.TrimPrefix(k, prefix); len(got) == 0 || got[len(got)-1] != k {
					got = append(got, k)
				}
			}
		}
	}
	// Scripts that the server did not know are sent again, behind their batch.
	if len(got) < len(order) {
		t.Fatalf("%d keys invalidated, want %d", len(got), len(order))
	}
	at := 0
	for _, k := range got {
		if at < len(order) && k == order[at] {
			at++
		}
	}
	if at != len(order) {
		t.Errorf("the keys were not invalidated in the order of their writes: %q is missing or out of order", order[at])
	}
}

// Beyond MaxPending keys are not remembered one by one any more.
func TestManyPendingKeysClearTheCache(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	keys := numbered("k", 100)
	p := newPrimary(append(keys, "other")...)
	a := newNode(t, p, proxied(s), impatient, func(o *options) { o.MaxPending = 10 })
	b := newNode(t, p, s.srv.URL())
	for _, k := range keys {
		b.warm(k)
	}
	a.warm("k0")
	s.proxy.Cut()
	for _, k := range keys {
		a.update(k)
		a.wantStrong(k, 2)
	}
	if n := a.Stats().Pending; n > 11 {
		t.Errorf("%d keys are remembered", n)
	}
	s.proxy.Restore()
	a.healthy()
	for _, k := range keys {
		b.wantStrong(k, 2)
	}
	testsync.Eventually(t, "default reads of the other node are fresh", func() bool {
		for _, k := range keys {
			if v, _ := b.read(k, aside.Default); v != 2 {
				return false
			}
		}
		return true
	})
}

// Caught: Open that fails where it cannot connect.
func TestRedisDownAtOpen(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	srv.Kill()
	p := newPrimary("k")
	n := newNode(t, p, srv.URL())
	n.want("k", 1, aside.SourceLoad)
	for range 10 {
		n.wantStrong("k", 1)
	}
	if v := n.update("k").Version; v != 2 {
		t.Errorf("version %d", v)
	}
	n.wantStrong("k", 2)
	if st := n.Stats(); !st.Degraded || !strings.Contains(st.DegradedReason, "not connected") {
		t.Errorf("degraded %v: %s", st.Degraded, st.DegradedReason)
	}
	testsync.Eventually(t, "the log says it", func() bool { return strings.Contains(n.log.String(), "redis cannot be reached") })
	srv.Restart()
	n.healthy()
	other := newNode(t, p, srv.URL())
	n.warm("k")
	other.want("k", 2, aside.SourceL2)
	other.update("k")
	testsync.Eventually(t, "pushes arrive", func() bool { v, _ := n.read("k", aside.Default); return v == 3 })
}

// Caught: a log line with the URL. See TestOptions for URLs that are at fault.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t, "--requirepass", "right")
	p := newPrimary("k")
	url := strings.Replace(srv.URL(), "right", "wr0ng", 1)
	n := newNode(t, p, url)
	n.want("k", 1, aside.SourceLoad)
	for range 10 {
		n.wantStrong("k", 1)
	}
	reason := n.Stats().DegradedReason
	if !strings.Contains(reason, "WRONGPASS") {
		t.Errorf("reason: %s", reason)
	}
	if s := reason + n.log.String(); strings.Contains(s, "wr0ng") || strings.Contains(s, "right") {
		t.Errorf("the password is shown: %s", s)
	}
	right := newNode(t, p, srv.URL())
	right.warm("k")
}

// Whatever else is found under a key of ours is replaced.
// Caught: GET without pcall fails with WRONGTYPE for ever; lookUp without evict
// reads the primary each time.
func TestForeignEntries(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	for _, c := range []struct {
		name string
		put  []string // the key is inserted behind the command
		bad  bool     // looks like an entry, so it is counted and logged
	}{
		{"hash", []string{"HSET", "f", "v"}, false},
		{"list", []string{"RPUSH", "v"}, false},
		{"text", []string{"SET", "hello"}, false},
		{"empty", []string{"SET", ""}, false},
		{"value", []string{"SET", "V\x01garbage"}, true},
		{"absence", []string{"SET", "N"}, true},
		{"fence without writers", []string{"SET", "F0"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys := numbered("k", 20)
			p := newPrimary(keys...)
			name := strings.ReplaceAll(c.name, " ", "-")
			named := func(o *options) { o.Name = name }
			a, b := newNode(t, p, srv.URL(), named), newNode(t, p, srv.URL(), named)
			put := func(k string) {
				srv.Do("DEL", "aside:"+name+":0:"+k)
				srv.Do(append([]string{c.put[0], "aside:" + name + ":0:" + k}, c.put[1:]...)...)
			}
			fence := c.name == "fence without writers"
			a.wantStrong("k19", 1) // the server is in use
			for _, k := range keys {
				put(k)
				a.wantStrong(k, 1)
				if !fence {
					a.warm(k)
					b.want(k, 1, aside.SourceL2)
				}
			}
			undecodable, logged := uint64(0), 0
			if c.bad {
				undecodable, logged = 20, 1
			}
			if st := a.Stats(); st.Undecodable != undecodable || st.L2Errors != 0 {
				t.Errorf("%d undecodable, %d L2 errors", st.Undecodable, st.L2Errors)
			}
			if n := strings.Count(a.log.String(), "is of no use and is replaced"); n != logged {
				t.Errorf("logged %d times, want %d: %s", n, logged, a.log)
			}
			// Writers and invalidations get past it as well.
			put("k0")
			a.update("k0")
			b.wantStrong("k0", 2)
			put("k0")
			if err := a.Invalidate(context.Background(), "k0"); err != nil {
				t.Error(err)
			}
			put("k1")
			if err := a.Clear(context.Background()); err != nil {
				t.Error(err)
			}
			b.wantStrong("k1", 1)
		})
	}
}

// A Store that is closed, or not yet connected, says so.
func TestErrorsOfAStoreWithoutConnection(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s, err := redisl2.Open(redisl2.Options{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	for what, err := range map[string]error{
		"ping":    s.Ping(t.Context()),
		"clear":   s.Clear(t.Context(), prefix),
		"acquire": s.Acquire(t.Context(), make([]driver.LeaseRequest, 1))[0].Err,
		"fence":   s.Fence(t.Context(), []driver.FenceRequest{{Key: "k", Life: minute}})[0],
	} {
		if err == nil || !strings.Contains(err.Error(), "redisl2: closed") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
