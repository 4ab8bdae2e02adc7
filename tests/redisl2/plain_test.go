package redisl2_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// newerKinds are the servers that have plain commands in place of scripts, and what
// theirs that deletes is called.
var newerKinds = map[testserver.NewerKind]string{
	testserver.Valkey81: "",
	testserver.Valkey9:  "DELIFEQ",
	testserver.Redis84:  "DELEX",
}

// newer starts a server that has plain commands.
func newer(t testing.TB, kind testserver.NewerKind) (*testserver.RedisServer, *testserver.Newer, string) {
	t.Helper()
	srv := testserver.Redis(t)
	n := testserver.NewerThan(t, srv, kind)
	return srv, n, via(srv, n.Addr())
}

// usesPlain waits until the Store fills with plain commands: a script of the prefix has
// run, over a connection whose server was tried.
func usesPlain(t testing.TB, s driver.Tier, n *testserver.Newer, prefix string) {
	t.Helper()
	var mu sync.Mutex
	set := map[string]bool{} // keys
	n.Before(func(cmd []string) {
		if cmd[0] == "SET" && cmd[3] == "IFEQ" {
			mu.Lock()
			defer mu.Unlock()
			set[cmd[1]] = true
		}
	})
	defer n.Before(nil)
	testsync.Eventually(t, "plain commands are used", func() bool {
		k := prefix + fmt.Sprintf("uses %x", envelope.NewToken())
		s.Fill(t.Context(), []driver.FillRequest{{Key: k, Lease: granted(t, s, k), Entry: entry("x"), TTL: minute}})
		mu.Lock()
		defer mu.Unlock()
		return set[k]
	})
}

// granted leases an absent key.
func granted(t testing.TB, s driver.Tier, k string) driver.Token {
	t.Helper()
	lease := envelope.NewToken()
	if g := s.Acquire(t.Context(), []driver.LeaseRequest{{Key: k, Lease: lease, TTL: minute}})[0]; g.Err != nil || g.State != driver.StateGranted {
		t.Fatalf("%s: %+v", k, g)
	}
	return lease
}

// fenced puts a fence on a key.
func fenced(t testing.TB, s driver.Tier, k string) driver.Token {
	t.Helper()
	token := envelope.NewToken()
	if err := s.Fence(t.Context(), []driver.FenceRequest{{Key: k, Token: token, Life: minute}})[0]; err != nil {
		t.Fatal(err)
	}
	return token
}

// The suite holds with plain commands, and they are used.
// Caught: no EXISTS after the SET; a release that takes nil for "published"; an abandoned
// lease that carries an entry and stays.
func TestConformanceWithPlainCommands(t *testing.T) {
	for kind, del := range newerKinds {
		t.Run(string(kind), func(t *testing.T) {
			_, n, url := newer(t, kind)
			asidetest.TestL2(t, func(t *testing.T) (a, b driver.Tier) {
				a, b = open(t, redisl2.Options{URL: url}), open(t, redisl2.Options{URL: url})
				for _, s := range []driver.Tier{a, b} {
					if err := s.(*redisl2.Store).Check(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				return a, b
			})
			t.Logf("SET IFEQ %d, EXEC %d, %s %d, EVALSHA %d", n.Calls("SET IFEQ"), n.Calls("EXEC"), del, n.Calls(del), n.Calls("EVALSHA"))
			if n.Calls("EXEC") < 50 || del != "" && n.Calls(del) < 50 {
				t.Error("plain commands are not used")
			}
		})
	}
}

// What each operation sends, in the usual case and where the plain command tells less
// than the script.
func TestPlainCommandsOnTheWire(t *testing.T) {
	t.Parallel()
	for kind, del := range newerKinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			srv, n, url := newer(t, kind)
			s, other := open(t, redisl2.Options{URL: url}), open(t, redisl2.Options{URL: srv.URL()})
			usesPlain(t, s, n, prefix)
			var mu sync.Mutex
			var sent []string
			forget := func() { mu.Lock(); defer mu.Unlock(); sent = nil }
			n.Before(func(cmd []string) {
				mu.Lock()
				defer mu.Unlock()
				switch {
				case cmd[len(cmd)-1] == "pulse":
				case cmd[0] == "SET" && cmd[3] == "IFEQ":
					sent = append(sent, "SET IFEQ")
				default:
					sent = append(sent, cmd[0])
				}
			})
			want := func(what string, names ...string) {
				t.Helper()
				mu.Lock()
				defer mu.Unlock()
				if !slices.Equal(sent, names) {
					t.Errorf("%s: %v, want %v", what, sent, names)
				}
				sent = nil
			}
			deletes := del
			if del == "" {
				deletes = "EVALSHA"
			}
			fill := func(r driver.FillRequest) driver.FillResult {
				r.Entry, r.TTL = entry("v"), minute
				forget()
				return s.Fill(t.Context(), []driver.FillRequest{r})[0]
			}
			set := []string{"MULTI", "SET IFEQ", "EXISTS", "EXEC"}

			k := prefix + "k"
			if r := fill(driver.FillRequest{Key: k, Lease: granted(t, s, k)}); !r.Stored || r.Err != nil {
				t.Errorf("fill: %+v", r)
			}
			want("fill", set...)
			if r := fill(driver.FillRequest{Key: k, Lease: envelope.NewToken()}); r.Stored || r.Err != nil {
				t.Errorf("fill under another lease: %+v", r)
			}
			want("fill under another lease", append(slices.Clone(set), "EVALSHA")...)

			// A lease that carries an entry is another's bytes to the plain command. The caller
			// may know that, or not.
			for _, carrying := range []bool{true, false} {
				k, token := prefix+fmt.Sprint("over", carrying), envelope.NewToken()
				old := envelope.Append(nil, envelope.Entry{Codec: 1, Token: token, Payload: []byte("old")}, -1)
				s.Fill(t.Context(), []driver.FillRequest{{Key: k, Lease: granted(t, s, k), Entry: old, TTL: minute}})
				over := driver.LeaseRequest{Key: k, Lease: envelope.NewToken(), TTL: minute, Over: token}
				if g := s.Acquire(t.Context(), []driver.LeaseRequest{over})[0]; g.State != driver.StateGranted || len(g.Entry) == 0 {
					t.Fatalf("%+v", g)
				}
				if r := fill(driver.FillRequest{Key: k, Lease: over.Lease, Carrying: carrying}); !r.Stored || r.Err != nil {
					t.Errorf("fill over an entry: %+v", r)
				}
				if names := []string{"EVALSHA"}; carrying {
					want("fill over an entry", names...)
				} else {
					want("fill over an entry", append(slices.Clone(set), names...)...)
				}
			}

			for _, restore := range []bool{false, true} {
				k := prefix + fmt.Sprint("abandon", restore)
				r := driver.AbandonRequest{Key: k, Lease: granted(t, s, k), TTL: minute}
				name := deletes
				if restore {
					r.Restore = entry("before")
					if name = "SET IFEQ"; del == "" {
						name = "EVALSHA"
					}
				}
				forget()
				if err := s.Abandon(t.Context(), []driver.AbandonRequest{r})[0]; err != nil {
					t.Error(err)
				}
				want("abandon", name)
				if v := raw(srv, k); len(v) > 0 != restore {
					t.Errorf("abandoned: %q", v)
				}
			}

			evicted := []driver.EvictRequest{{Key: prefix + "abandontrue", Entry: entry("before")}}
			forget()
			s.Evict(t.Context(), evicted)
			want("evict", deletes)
			if v := raw(srv, prefix+"abandontrue"); len(v) > 0 {
				t.Errorf("evicted: %q", v)
			}
			s.Evict(t.Context(), evicted)
			want("evict what is not there", deletes)

			for _, publish := range []bool{false, true} {
				for _, alone := range []bool{true, false} {
					k := prefix + fmt.Sprint("release", publish, alone)
					r := driver.ReleaseRequest{Key: k, Token: fenced(t, s, k), TTL: minute}
					names := []string{deletes}
					if publish {
						r.Publish, names = entry("published"), set
					}
					if !alone {
						fenced(t, other, k)
						if !slices.Equal(names, []string{"EVALSHA"}) {
							names = append(slices.Clone(names), "EVALSHA")
						}
					}
					forget()
					if got := s.Release(t.Context(), []driver.ReleaseRequest{r})[0]; got.Err != nil || got.Lost || got.Published != (publish && alone) {
						t.Errorf("publish %v, alone %v: %+v", publish, alone, got)
					}
					want(fmt.Sprint("release, publish ", publish, ", alone ", alone), names...)
				}
			}

			// Many at once are one script.
			var fills []driver.FillRequest
			for _, k := range numbered(prefix+"many", 20) {
				fills = append(fills, driver.FillRequest{Key: k, Lease: granted(t, s, k), Entry: entry("v"), TTL: minute})
			}
			forget()
			for _, r := range s.Fill(t.Context(), fills) {
				if !r.Stored {
					t.Errorf("many: %+v", r)
				}
			}
			want("many", "EVALSHA")
		})
	}
}

// A change by somebody else that comes while a node fills is either before the fill,
// which it refuses, or after it, and told.
// Caught: SET and EXISTS without MULTI and EXEC: the value is gone and watched from then
// on, and L1 keeps it.
func TestNothingComesBetweenAPlainFillAndItsTracking(t *testing.T) {
	t.Parallel()
	for _, publish := range []bool{false, true} {
		srv, n, url := newer(t, testserver.Valkey9)
		s, other := open(t, redisl2.Options{URL: url}), open(t, redisl2.Options{URL: srv.URL()})
		usesPlain(t, s, n, prefix)
		changed := make(chan string, 100)
		if _, err := s.Watch(prefix, driver.Watcher{Changed: func(k string) { changed <- k }, Lost: func() {}}); err != nil {
			t.Fatal(err)
		}
		k := prefix + "k"
		var lease, token driver.Token
		if publish {
			token = fenced(t, s, k)
		} else {
			lease = granted(t, s, k)
		}
		was := string(raw(srv, k))
		n.Before(func(cmd []string) {
			if cmd[0] != "EXISTS" {
				return
			}
			testsync.Eventually(t, "the server has the SET", func() bool {
				list, err := srv.Do("CLIENT", "LIST").ToString()
				return err == nil && strings.Contains(list, " multi=1 ") || string(raw(srv, k)) != was
			})
			if err := other.Invalidate(t.Context(), []string{k})[0]; err != nil {
				t.Error(err)
			}
			fenced(t, other, k)
		})
		stored := false
		if publish {
			stored = s.Release(t.Context(), []driver.ReleaseRequest{{Key: k, Token: token, Publish: entry("v"), TTL: minute}})[0].Published
		} else {
			stored = s.Fill(t.Context(), []driver.FillRequest{{Key: k, Lease: lease, Entry: entry("v"), TTL: minute}})[0].Stored
		}
		select {
		case got := <-changed:
			t.Logf("told of %s", got)
		default:
			if stored {
				t.Errorf("publish %v: stored, and another's change is not told", publish)
			}
		}
	}
}

// After a restart from a snapshot an old lease and an old fence are there again, byte by
// byte. Nothing is filled or published under them.
// Caught: plain commands sent over any connection; and over one whose server was tried,
// but not cleared.
func TestPlainCommandsAfterARestartFromASnapshot(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		publish, tried := i%2 == 1, i/2 == 1
		srv, n, url := newer(t, testserver.Redis84)
		s, other := open(t, redisl2.Options{URL: url}), open(t, redisl2.Options{URL: srv.URL()})
		usesPlain(t, s, n, prefix)
		k := prefix + "k"
		var lease, token driver.Token
		if publish {
			token = fenced(t, s, k)
		} else {
			lease = granted(t, s, k)
		}
		srv.Do("SAVE")
		theirs := fenced(t, other, k) // another writes, and is acknowledged
		other.Release(t.Context(), []driver.ReleaseRequest{{Key: k, Token: theirs}})
		srv.RestartFromSnapshot()
		if v := raw(srv, k); len(v) == 0 {
			t.Fatal("the snapshot has nothing")
		}
		if tried {
			testsync.Eventually(t, "the new process is tried", func() bool { return s.Check(t.Context()) == nil })
		}
		var stored bool
		testsync.Eventually(t, "the server answers", func() bool {
			if publish {
				r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: k, Token: token, Publish: entry("old"), TTL: minute}})[0]
				stored = stored || r.Published
				return r.Err == nil
			}
			r := s.Fill(t.Context(), []driver.FillRequest{{Key: k, Lease: lease, Entry: entry("old"), TTL: minute}})[0]
			stored = stored || r.Stored
			return r.Err == nil
		})
		if stored {
			t.Errorf("publish %v, tried %v: stored under what a snapshot has brought back", publish, tried)
		}
		usesPlain(t, s, n, prefix) // again
	}
}

// The user's rights to MULTI, EXEC and to the command that deletes are optional: without
// them there is no error, and what they are for is done by scripts.
func TestPlainCommandsNeedRightsThatAreOptional(t *testing.T) {
	t.Parallel()
	srv, n, url := newer(t, testserver.Valkey9)
	rights := srv.Rights("aside")
	set := func(more ...string) *redisl2.Store {
		grant("u", slices.Concat(rights, more), srv)
		l := &testsync.Buffer{}
		s := open(t, redisl2.Options{URL: as("u", url), Logger: slog.New(slog.NewTextHandler(l, nil))})
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("with %v: %v", more, err)
		}
		if l.String() != "" {
			t.Errorf("with %v: %s", more, l)
		}
		return s
	}
	// The self-test may run again meanwhile, and is not counted: its keys are others.
	var mu sync.Mutex
	var execs, deletes int
	n.Before(func(cmd []string) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case cmd[0] == "SET" && strings.HasPrefix(cmd[1], prefix+"r"):
			execs++
		case cmd[0] == "DELIFEQ" && strings.HasPrefix(cmd[1], prefix+"r"):
			deletes++
		}
	})
	run := func(s *redisl2.Store) (int, int) {
		t.Helper()
		mu.Lock()
		execs, deletes = 0, 0
		mu.Unlock()
		for range 5 {
			k := prefix + fmt.Sprintf("r %x", envelope.NewToken())
			r := s.Fill(t.Context(), []driver.FillRequest{{Key: k, Lease: granted(t, s, k), Entry: entry("v"), TTL: minute}})[0]
			if !r.Stored && len(raw(srv, k)) == 0 || r.Err != nil {
				t.Errorf("%+v", r)
			}
			k += "+"
			if err := s.Abandon(t.Context(), []driver.AbandonRequest{{Key: k, Lease: granted(t, s, k)}})[0]; err != nil {
				t.Error(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		return execs, deletes
	}
	n.Refuse("DELIFEQ")
	if execs, deletes := run(set()); execs != 0 || deletes != 0 {
		t.Errorf("without rights: %d transactions, %d deletes", execs, deletes)
	}
	if execs, deletes := run(set("+multi")); execs != 0 || deletes != 0 {
		t.Errorf("without EXEC: %d transactions, %d deletes", execs, deletes)
	}
	n.Refuse()
	if execs, deletes := run(set()); execs != 0 || deletes != 5 {
		t.Errorf("without MULTI: %d transactions, %d deletes", execs, deletes)
	}
	s := set("+multi", "+exec")
	if execs, deletes := run(s); execs != 5 || deletes != 5 {
		t.Errorf("with all rights: %d transactions, %d deletes", execs, deletes)
	}
	// They go while they are in use.
	grant("u", rights, srv)
	n.Refuse("DELIFEQ")
	run(s)
	if err := s.State(); err != nil {
		t.Errorf("rights that are gone: %v", err)
	}
	testsync.Eventually(t, "they are not used any more", func() bool { execs, deletes := run(s); return execs == 0 && deletes == 0 })
}

// A failover to a server that does not know the commands, and back to one that does.
// Caught: what a server can do, remembered for its address.
func TestPlainCommandsAndAFailoverToAnOlderServer(t *testing.T) {
	t.Parallel()
	_, n, url := newer(t, testserver.Redis84)
	older := testserver.Redis(t)
	at := testserver.AddressOf(t, n.Addr())
	p := newPrimary(numbered("k", 8)...)
	node := newNode(t, p, strings.Replace(url, n.Addr(), at.Addr(), 1))
	use := func(on string) {
		t.Helper()
		node.healthy()
		for i := range 8 {
			k := fmt.Sprint("k", i)
			if err := node.Invalidate(t.Context(), k); err != nil {
				t.Errorf("%s: %v", on, err)
			}
			node.warm(k)
			node.wantStrong(k, node.update(k).Version)
		}
	}
	plain := func() {
		t.Helper()
		testsync.Eventually(t, "plain commands are used", func() bool {
			before := n.Calls("EXEC")
			use("newer")
			return n.Calls("EXEC") >= before+8
		})
	}
	plain()
	at.Point(older.Addr())
	n.Down()
	testsync.Eventually(t, "the other server is used", func() bool { node.update("k0"); return commandCalls(older, "evalsha") > 0 })
	errors := node.Stats().L2Errors
	use("older")
	if s := node.Stats(); s.L2Errors != errors || s.Degraded {
		t.Errorf("on the older server: %d errors, %s", s.L2Errors-errors, s.DegradedReason)
	}
	if c := commandCalls(older, "exec"); c > 0 {
		t.Errorf("%d transactions on the older server", c)
	}
	if err := n.Up(); err != nil {
		t.Fatal(err)
	}
	at.Point(n.Addr())
	older.KillClients("aside")
	plain()
}

// The servers behind sentinels are asked plainly too, before a failover and after it.
func TestPlainCommandsWithSentinels(t *testing.T) {
	t.Setenv(testserver.NewerVariable, string(testserver.Redis84))
	g := testserver.Sentinel(t, 1, 1)
	p := newPrimary("k")
	n := newNode(t, p, g.URL(), impatient, closed)
	n.warm("k")
	usesPlain(t, n.store, g.Nodes[0].Newer(), prefix)
	g.Nodes[1].InStep(g.Nodes[0])
	g.FailOver()
	n.healthy()
	n.warm("k")
	usesPlain(t, n.store, g.Nodes[1].Newer(), prefix)
	n.wantStrong("k", n.update("k").Version)
	if n.Stats().L1Flushes == 0 {
		t.Error("L1 was not emptied with the loss of the master")
	}
}

// With memory full, the plain command is refused where the script is not: a release
// publishes all the same. Once in a second it is tried again.
// Caught: each operation sent twice as long as memory is full.
func TestPlainCommandsWithMemoryFull(t *testing.T) {
	t.Parallel()
	srv, n, url := newer(t, testserver.Redis84)
	s := open(t, redisl2.Options{URL: url})
	usesPlain(t, s, n, prefix)
	published, removed, filled, given := prefix+"published", prefix+"removed", prefix+"filled", prefix+"given"
	t1, t2, l1, l2 := fenced(t, s, published), fenced(t, s, removed), granted(t, s, filled), granted(t, s, given)
	srv.Do("CONFIG", "SET", "maxmemory", "1")
	if r := s.Fill(t.Context(), []driver.FillRequest{{Key: filled, Lease: l1, Entry: entry("v"), TTL: minute}})[0]; r.Stored || !errors.Is(r.Err, aside.ErrL2Refused) {
		t.Errorf("fill: %+v", r)
	}
	if r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: published, Token: t1, Publish: entry("v"), TTL: minute}})[0]; !r.Published || r.Err != nil {
		t.Errorf("publish: %+v", r)
	}
	if r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: removed, Token: t2}})[0]; r.Lost || r.Err != nil {
		t.Errorf("release: %+v", r)
	}
	if err := s.Abandon(t.Context(), []driver.AbandonRequest{{Key: given, Lease: l2}})[0]; err != nil {
		t.Errorf("abandon: %v", err)
	}
	start, sent := time.Now(), n.Calls("EXEC")
	for range 50 {
		s.Fill(t.Context(), []driver.FillRequest{{Key: filled, Lease: l1, Entry: entry("v"), TTL: minute}})
	}
	if sent, most := n.Calls("EXEC")-sent, 2+int(time.Since(start)/time.Second); sent > most {
		t.Errorf("%d transactions for 50 fills in %v", sent, time.Since(start))
	}
	srv.Do("CONFIG", "SET", "maxmemory", "0")
	usesPlain(t, s, n, prefix)
}

// A server that gives another version, or none, is tried all the same: the version says
// nothing. And one of Redis 7 gets one command that it refuses.
func TestAnOldServerIsTriedWithOneCommand(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	if setIf, _ := srv.Plain(); setIf {
		t.Skip("this server has plain commands")
	}
	tap := newTap(t, srv)
	s := open(t, redisl2.Options{URL: tap.url()})
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	tap.mu.Lock()
	defer tap.mu.Unlock()
	tried := 0
	for _, c := range tap.cmds {
		switch {
		case slices.Contains(c, "IFEQ"):
			tried++
		case c[0] == "MULTI" || c[0] == "DELIFEQ" || c[0] == "DELEX":
			t.Errorf("sent: %q", c)
		}
	}
	if tried != 2 {
		t.Errorf("%d of two self-tests", tried)
	}
}

// Writers, readers and refreshes through plain commands: see TestSoak.
func TestSoakWithPlainCommands(t *testing.T) {
	for kind, del := range newerKinds {
		t.Run(string(kind), func(t *testing.T) {
			srv, n, url := newer(t, kind)
			soakOn(t, srv, url, 40_000)
			t.Logf("SET IFEQ %d, EXEC %d, %s %d, EVALSHA %d", n.Calls("SET IFEQ"), n.Calls("EXEC"), del, n.Calls(del), n.Calls("EVALSHA"))
			if n.Calls("EXEC") < 20 || del != "" && n.Calls(del) < 20 {
				t.Error("plain commands are not used")
			}
		})
	}
}
