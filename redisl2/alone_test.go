package redisl2

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// counting counts what goes through rueidis.
type counting struct {
	rueidis.Client
	n *int
}

func (c counting) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	*c.n++
	return c.Client.Do(ctx, cmd)
}

func (c counting) DoMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	*c.n++
	return c.Client.DoMulti(ctx, cmds...)
}

// aloneStore is a Store over whose connection a script has run, and how often rueidis is
// used from now on.
func aloneStore(t *testing.T) (s *Store, srv *redisServer, used *int) {
	t.Helper()
	srv = startRedis(t)
	s, err := Open(Options{URL: srv.URL(), SilenceTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Invalidate(t.Context(), []string{mixedKey})
	if !s.verified(s.own(mixedKey), s.conns.gen.Load()) {
		t.Fatal("the connection is not the only one")
	}
	c, used := *s.client.Load(), new(int)
	c = counting{c, used}
	s.client.Store(&c)
	return s, srv, used
}

var (
	leaseA = driver.LeaseRequest{Key: mixedKey, Lease: driver.Token{1}, TTL: time.Minute}
	leaseB = driver.LeaseRequest{Key: mixedKey, Lease: driver.Token{2}, TTL: time.Minute}
	valueA = envelope.Append(nil, envelope.Entry{Token: driver.Token{1}, Payload: []byte("v")}, 0)
)

// A caller who is alone runs each script without rueidis, and gets the same answers.
// Caught: an answer that is read as another; a script that goes through rueidis.
func TestAlone(t *testing.T) {
	s, _, used := aloneStore(t)
	ctx := t.Context()
	acquire := func(r driver.LeaseRequest, want driver.State) {
		t.Helper()
		if g := s.Acquire(ctx, []driver.LeaseRequest{r})[0]; g.Err != nil || g.State != want {
			t.Errorf("acquired %v, %v, want %v", g.State, g.Err, want)
		}
	}
	fenced := func(token driver.Token) {
		t.Helper()
		if err := s.Fence(ctx, []driver.FenceRequest{{Key: mixedKey, Token: token, Life: time.Minute}})[0]; err != nil {
			t.Error(err)
		}
	}
	expecting := leaseA
	expecting.Expect = driver.ExpectNothing
	acquire(expecting, driver.StateGranted)
	acquire(leaseA, driver.StateGranted) // a retry
	acquire(leaseB, driver.StateLeased)
	if r := s.Fill(ctx, []driver.FillRequest{{Key: mixedKey, Lease: driver.Token{2}, Entry: valueA, TTL: time.Minute}})[0]; r.Stored || r.Err != nil {
		t.Errorf("filled under another's lease: %+v", r)
	}
	if r := s.Fill(ctx, []driver.FillRequest{{Key: mixedKey, Lease: driver.Token{1}, Entry: valueA, TTL: time.Minute}})[0]; !r.Stored || r.Err != nil {
		t.Errorf("filled: %+v", r)
	}
	acquire(leaseB, driver.StateFound)
	fenced(driver.Token{3})
	acquire(leaseB, driver.StateFenced)
	release := func(token driver.Token, publish []byte) driver.ReleaseResult {
		return s.Release(ctx, []driver.ReleaseRequest{{Key: mixedKey, Token: token, Publish: publish, TTL: time.Minute}})[0]
	}
	if r := release(driver.Token{3}, valueA); !r.Published || r.Lost || r.Err != nil {
		t.Errorf("published: %+v", r)
	}
	if r := release(driver.Token{3}, nil); !r.Lost || r.Err != nil {
		t.Errorf("released what is not there: %+v", r)
	}
	fenced(driver.Token{4})
	if r := s.DropOlder(ctx, []driver.ChangeRequest{{Key: mixedKey, Writer: driver.Token{4}}})[0]; !r.Left || r.Err != nil {
		t.Errorf("told of the write under way: %+v", r)
	}
	if r := release(driver.Token{4}, nil); r.Published || r.Lost || r.Err != nil {
		t.Errorf("released: %+v", r)
	}
	acquire(leaseA, driver.StateGranted)
	if err := s.Abandon(ctx, []driver.AbandonRequest{{Key: mixedKey, Lease: driver.Token{1}}})[0]; err != nil {
		t.Error(err)
	}
	if err := s.Evict(ctx, []driver.EvictRequest{{Key: mixedKey, Entry: valueA}})[0]; err != nil {
		t.Error(err)
	}
	acquire(leaseB, driver.StateGranted)
	if *used != 0 {
		t.Errorf("rueidis was used %d times", *used)
	}
}

// What a caller does not understand is done by rueidis, and has its effect once.
// Caught: an error that is taken for an answer; a script that the server has forgotten and
// that is not sent again; a command that is too long to be written at once.
func TestAloneLeavesTheRest(t *testing.T) {
	s, srv, used := aloneStore(t)
	ctx := t.Context()
	wantUsed := func(what string) {
		t.Helper()
		if *used == 0 {
			t.Errorf("%s: rueidis was not used", what)
		}
		*used = 0
	}

	srv.Do("SCRIPT", "FLUSH")
	if g := s.Acquire(ctx, []driver.LeaseRequest{leaseA})[0]; g.Err != nil || g.State != driver.StateGranted {
		t.Errorf("after SCRIPT FLUSH: %v, %v", g.State, g.Err)
	}
	wantUsed("SCRIPT FLUSH")

	long := envelope.Append(nil, envelope.Entry{Token: driver.Token{1}, Payload: []byte(strings.Repeat("v", aloneSize))}, 1<<30)
	if r := s.Fill(ctx, []driver.FillRequest{{Key: mixedKey, Lease: driver.Token{1}, Entry: long, TTL: time.Minute}})[0]; !r.Stored || r.Err != nil {
		t.Errorf("a long entry: %+v", r)
	}
	wantUsed("a long entry")
	if g := s.Acquire(ctx, []driver.LeaseRequest{leaseB})[0]; g.State != driver.StateFound || string(g.Entry) != string(long) {
		t.Errorf("a long answer: %v, %d bytes, %v", g.State, len(g.Entry), g.Err)
	}

	// A lease that carries an entry: the answer is an array.
	over := driver.LeaseRequest{Key: mixedKey, Lease: driver.Token{5}, TTL: time.Minute, Over: driver.Token{1}}
	for range 2 { // the first asks twice
		if g := s.Acquire(ctx, []driver.LeaseRequest{over})[0]; g.State != driver.StateGranted || string(g.Entry) != string(long) {
			t.Errorf("leased over an entry: %v, %d bytes, %v", g.State, len(g.Entry), g.Err)
		}
	}
	wantUsed("a lease over an entry")

	srv.Do("CONFIG", "SET", "maxmemory", "1")
	if err := s.Fence(ctx, []driver.FenceRequest{{Key: mixedKey, Token: driver.Token{6}, Life: time.Minute}})[0]; !errors.Is(err, driver.ErrRefused) {
		t.Errorf("memory is full: %v", err)
	}
	wantUsed("an error")
}

// Caught: a read of an answer that is cut, or that is not alone.
func TestReadAnswer(t *testing.T) {
	for in, want := range map[string]answer{
		":12\r\n": {kind: ':', n: 12}, "$2\r\nab\r\n": {kind: '$', s: []byte("ab")}, "_\r\n": {kind: '_'}, "$-1\r\n": {kind: '_'},
	} {
		if a, ok := readAnswer([]byte(in)); !ok || a.kind != want.kind || a.n != want.n || string(a.s) != string(want.s) {
			t.Errorf("%q is %+v, %v", in, a, ok)
		}
	}
	for _, in := range []string{"", ":\r\n", ":x\r\n", "$2\r\nab\r\n:1\r\n", "_\r\n_\r\n", "-ERR no\r\n", "*1\r\n:1\r\n", "$9\r\nab\r\n"} {
		if a, ok := readAnswer([]byte(in)); ok {
			t.Errorf("%q is %+v", in, a)
		}
	}
}
