package redisl2

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// compares makes a newer server of a Redis 7, as testserver.Newer does, and calls after
// when the answers to plain commands are there.
type compares struct {
	rueidis.Client
	after func()
}

func (c compares) swap(cmd rueidis.Completed) (rueidis.Completed, bool) {
	const setIf = `if redis.call('GETEX', KEYS[1]) ~= ARGV[2] then return false end
return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])`
	const delIf = `if redis.call('GETEX', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])`
	switch a := cmd.Commands(); {
	case a[0] == "SET" && slices.Contains(a, "IFEQ"):
		return c.B().Eval().Script(setIf).Numkeys(1).Key(a[1]).Arg(a[2], a[4], a[6]).Build(), true
	case a[0] == "DELIFEQ":
		return c.B().Eval().Script(delIf).Numkeys(1).Key(a[1]).Arg(a[2]).Build(), true
	}
	return cmd, false
}

func (c compares) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	cmd, plain := c.swap(cmd)
	r := c.Client.Do(ctx, cmd)
	if plain {
		c.after()
	}
	return r
}

func (c compares) DoMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	plain := false
	for i := range cmds {
		swapped := false
		cmds[i], swapped = c.swap(cmds[i])
		plain = plain || swapped
	}
	rs := c.Client.DoMulti(ctx, cmds...)
	if plain {
		c.after()
	}
	return rs
}

// plainStore is a Store on such a server, which uses plain commands on mixedKey.
func plainStore(t *testing.T) (s *Store, after *func()) {
	t.Helper()
	// No pulse, which has the self-test run again: that finds a Redis 7.
	s, err := Open(Options{URL: startRedis(t).URL(), SilenceTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c, err := s.get()
	if err != nil {
		t.Fatal(err)
	}
	f := func() {}
	c = compares{c, func() { f() }}
	s.client.Store(&c)
	s.plain.can.Store(&abilities{gen: s.conns.gen.Load(), multi: true, delIf: "DELIFEQ"})
	s.Invalidate(t.Context(), []string{mixedKey}) // a script
	if s.plainly(1, mixedKey) == nil {
		t.Fatal("plain commands are not used")
	}
	return s, &f
}

func leaseOf(t *testing.T, s *Store) driver.Token {
	t.Helper()
	lease := envelope.NewToken()
	if g := s.Acquire(t.Context(), []driver.LeaseRequest{{Key: mixedKey, Lease: lease, TTL: time.Minute}})[0]; g.State != driver.StateGranted {
		t.Fatalf("%+v", g)
	}
	return lease
}

func fenceOf(t *testing.T, s *Store) driver.Token {
	t.Helper()
	token := envelope.NewToken()
	if err := s.Fence(t.Context(), []driver.FenceRequest{{Key: mixedKey, Token: token, Life: time.Minute}})[0]; err != nil {
		t.Fatal(err)
	}
	return token
}

// An answer that may have come over another connection than that which was verified is
// not believed: the script is asked.
// Caught: the connection looked at before the command alone.
func TestPlainAnswerOfAnotherConnection(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		s, after := plainStore(t)
		value := envelope.Append(nil, envelope.Entry{Codec: 1, Payload: []byte("v")}, -1)
		use := func(f func()) {
			t.Helper()
			gen := s.conns.gen.Load()
			s.plain.can.Store(&abilities{gen: gen, multi: true, delIf: "DELIFEQ"})
			s.own(mixedKey).verified.Store(gen)
			used := false
			*after = func() {
				used = true
				if lost {
					s.conns.gen.Add(1)
				}
			}
			f()
			*after = func() {}
			if !used {
				t.Error("no plain command was sent")
			}
			s.Invalidate(t.Context(), []string{mixedKey})
		}
		lease := leaseOf(t, s)
		use(func() {
			if r := s.Fill(t.Context(), []driver.FillRequest{{Key: mixedKey, Lease: lease, Entry: value, TTL: time.Minute}})[0]; r.Err != nil || r.Stored == lost {
				t.Errorf("lost %v: fill: %+v", lost, r)
			}
		})
		for _, publish := range [][]byte{nil, value} {
			token := fenceOf(t, s)
			use(func() {
				r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: mixedKey, Token: token, Publish: publish, TTL: time.Minute}})[0]
				if r.Err != nil || r.Lost != lost || r.Published != (publish != nil && !lost) {
					t.Errorf("lost %v: release: %+v", lost, r)
				}
			})
		}
		lease = leaseOf(t, s)
		use(func() {
			if err := s.Abandon(t.Context(), []driver.AbandonRequest{{Key: mixedKey, Lease: lease}})[0]; err != nil {
				t.Error(err)
			}
		})
	}
}

// What a script says of the server is said of one connection: if there are two, as while
// a sentinel's client goes over to a new master, it is not known of which; nor if one
// was made or ended meanwhile.
// Caught: a script's answer over the old master's connection that speaks for the new one.
func TestScriptsVerifyOneConnection(t *testing.T) {
	t.Parallel()
	cs := &conns{}
	var during uint64 // the generation while it is dialed
	dial := cs.dialer(func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
		during = cs.gen.Load()
		c, _ := net.Pipe()
		return c, nil
	}, toServer)
	connect := func() net.Conn {
		c, err := dial(t.Context(), "a", &net.Dialer{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	none := cs.gen.Load()
	if cs.only(none) {
		t.Error("no connection")
	}
	first := connect()
	one := cs.gen.Load()
	if !cs.only(one) || cs.only(none) {
		t.Error("one connection")
	}
	second := connect()
	two := cs.gen.Load()
	if cs.only(two) || cs.only(one) {
		t.Error("two connections")
	}
	if two == during {
		t.Error("what was verified over the first one while the second was dialed is good for that too")
	}
	_ = first.Close()
	if !cs.only(cs.gen.Load()) || cs.only(two) || cs.sole.Load() != second {
		t.Error("the second connection")
	}
	gen := cs.gen.Load()
	_ = second.(*conn).Conn.Close()
	if _, err := second.Read(make([]byte, 1)); err == nil || cs.gen.Load() == gen {
		t.Error("a connection that fails is not noticed before the client library sees it")
	}
}
