package redisl2

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/deadline"
	"github.com/asidecache/aside/internal/envelope"
)

// counting counts the commands that go through rueidis.
type counting struct {
	rueidis.Client
	n *int
}

func (c counting) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	*c.n++
	return c.Client.Do(ctx, cmd)
}

func (c counting) DoMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	*c.n += len(cmds)
	return c.Client.DoMulti(ctx, cmds...)
}

// directStore is a Store over whose connection a script has run, and how often rueidis is
// used from now on.
func directStore(t *testing.T) (s *Store, srv *redisServer, used *int) {
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
	idle(s)
	return s, srv, used
}

// idle waits until rueidis has written: it may still be about to return when the server has
// answered.
func idle(s *Store) {
	sending := &s.conns.sole.Load().shared.sending
	sending.Lock()
	defer sending.Unlock()
}

var (
	leaseA = driver.LeaseRequest{Key: mixedKey, Lease: driver.Token{1}, TTL: time.Minute}
	leaseB = driver.LeaseRequest{Key: mixedKey, Lease: driver.Token{2}, TTL: time.Minute}
	valueA = envelope.Append(nil, envelope.Entry{Token: driver.Token{1}, Payload: []byte("v")}, 0)
)

// Scripts run without rueidis, and their answers are the same.
// Caught: an answer that is read as another; a script that goes through rueidis.
func TestDirect(t *testing.T) {
	s, _, used := directStore(t)
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
func TestDirectLeavesTheRest(t *testing.T) {
	s, srv, used := directStore(t)
	ctx := t.Context()
	wantUsed := func(what string) {
		t.Helper()
		if *used == 0 {
			t.Errorf("%s: rueidis was not used", what)
		}
		*used = 0
		idle(s)
	}

	srv.Do("SCRIPT", "FLUSH")
	if g := s.Acquire(ctx, []driver.LeaseRequest{leaseA})[0]; g.Err != nil || g.State != driver.StateGranted {
		t.Errorf("after SCRIPT FLUSH: %v, %v", g.State, g.Err)
	}
	wantUsed("SCRIPT FLUSH")

	long := envelope.Append(nil, envelope.Entry{Token: driver.Token{1}, Payload: []byte(strings.Repeat("v", directSize))}, 1<<30)
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
	if *used != 0 {
		t.Errorf("a lease over an entry: rueidis was used %d times", *used)
	}

	srv.Do("CONFIG", "SET", "maxmemory", "1")
	if err := s.Fence(ctx, []driver.FenceRequest{{Key: mixedKey, Token: driver.Token{6}, Life: time.Minute}})[0]; !errors.Is(err, driver.ErrRefused) {
		t.Errorf("memory is full: %v", err)
	}
	wantUsed("an error")
}

// Those of many keys too: what fails for one of them is left to rueidis, and no other.
// Caught: answers that go to other keys; keys that are forgotten at the end of a script.
func TestDirectForMany(t *testing.T) {
	s, srv, used := directStore(t)
	ctx := t.Context()
	const n = 2*perScript + 3
	acquires, fills := make([]driver.LeaseRequest, n), make([]driver.FillRequest, n)
	for i := range n {
		key, token := fmt.Sprint(mixedKey, i), driver.Token{1, byte(i)}
		entry := envelope.Append(nil, envelope.Entry{Token: token, Payload: []byte(key)}, 0)
		acquires[i] = driver.LeaseRequest{Key: key, Lease: token, TTL: time.Minute}
		fills[i] = driver.FillRequest{Key: key, Lease: token, Entry: entry, TTL: time.Minute}
	}
	for i, g := range s.Acquire(ctx, acquires) {
		if g.Err != nil || g.State != driver.StateGranted {
			t.Errorf("key %d: acquired %v, %v", i, g.State, g.Err)
		}
	}
	fills[n-2].Lease = driver.Token{2}
	for i, r := range s.Fill(ctx, fills) {
		if r.Err != nil || r.Stored != (i != n-2) {
			t.Errorf("key %d: filled %+v", i, r)
		}
	}
	for _, expect := range []driver.Expectation{driver.ExpectAnything, driver.ExpectValue, driver.ExpectNothing} {
		for i := range acquires {
			acquires[i].Expect, acquires[i].Lease = expect, driver.Token{3}
		}
		for i, g := range s.Acquire(ctx, acquires) {
			switch {
			case i == n-2 && g.State != driver.StateLeased, i != n-2 && string(g.Entry) != string(fills[i].Entry):
				t.Errorf("expecting %v: key %d: %v, %q", expect, i, g.State, g.Entry)
			}
		}
	}
	if *used != 0 {
		t.Errorf("rueidis was used %d times", *used)
	}

	echo := newScript("local function one(key, text) if text == 'broken' then error('broken') end return text end")
	teach(s, mixedKey, echo)
	srv.Do("SCRIPT", "LOAD", echo.src)
	s.Invalidate(ctx, []string{mixedKey}) // which verifies the connection for these scripts
	*used = 0
	idle(s)
	got := make([]string, n)
	echo.run(ctx, s, n,
		func(i int) string { return acquires[i].Key },
		func(i int) args {
			if i == 5 {
				return args{[3]string{"broken"}, 1}
			}
			return args{[3]string{fmt.Sprint("text ", i)}, 1}
		},
		func(i int, a answer, err error) {
			if got[i] = string(a.s); err != nil {
				got[i] = err.Error()
			}
		})
	for i, g := range got {
		if want := fmt.Sprint("text ", i); i == 5 && !strings.Contains(g, "broken") || i != 5 && g != want {
			t.Errorf("key %d: %q", i, g)
		}
	}
	if *used != 1 {
		t.Errorf("rueidis was used %d times for one key", *used)
	}
}

// soleAnswer reads what is one answer and nothing else.
func soleAnswer(b []byte) (a answer, ok bool) {
	a, rest, err := nextAnswer(b)
	return a, err == nil && len(rest) == 0
}

// Caught: a read of an answer that is cut, or that has something behind it.
func TestSoleAnswer(t *testing.T) {
	for in, want := range map[string]answer{
		":12\r\n": {kind: ':', n: 12}, "$2\r\nab\r\n": {kind: '$', s: []byte("ab")}, "_\r\n": {kind: '_'}, "$-1\r\n": {kind: '_'},
		"-ERR no\r\n":             {kind: '-', s: []byte("ERR no")},
		"*0\r\n":                  {kind: '*', of: []answer{}},
		"*2\r\n:1\r\n*1\r\n_\r\n": {kind: '*', of: []answer{{kind: ':', n: 1}, {kind: '*', of: []answer{{kind: '_'}}}}},
	} {
		if a, ok := soleAnswer([]byte(in)); !ok || !reflect.DeepEqual(a, want) {
			t.Errorf("%q is %+v, %v", in, a, ok)
		}
	}
	for _, in := range []string{"", ":\r\n", ":x\r\n", "$2\r\nab\r\n:1\r\n", "_\r\n_\r\n", "-ERR no", "*2\r\n:1\r\n", "*-1\r\n", "*9999999999\r\n:1\r\n", "$9\r\nab\r\n", "+OK\r\n"} {
		if a, ok := soleAnswer([]byte(in)); ok {
			t.Errorf("%q is %+v", in, a)
		}
	}
}

// A GET that the server refuses is no entry, and a read is answered by the script, which needs
// no such right. Caught: the text of the error, which begins with N as an absence does.
func TestReadsWithoutTheRightToGet(t *testing.T) {
	s, srv, _ := directStore(t)
	srv.Do("SET", mixedKey, string(valueA), "PX", "60000")
	srv.Do("ACL", "SETUSER", "default", "-get", "-mget")
	idle(s)
	reqs := []driver.LeaseRequest{leaseB, leaseB}
	for i := range reqs {
		reqs[i].Expect = driver.ExpectValue
	}
	reqs[1].Key += "2"
	for n := range 2 {
		g := s.Acquire(t.Context(), reqs[:n+1])
		if g[0].State != driver.StateFound || string(g[0].Entry) != string(valueA) {
			t.Errorf("of %d: %+v", n+1, g[0])
		}
		idle(s)
	}
}

// What a caller asks for whose time is over is not sent: nobody waits for the lease.
// Caught: commands that are written whatever the context says.
func TestNothingIsSentAfterTheEnd(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, e := range []driver.Expectation{driver.ExpectAnything, driver.ExpectNothing, driver.ExpectValue} {
		s, srv, _ := directStore(t)
		reqs := []driver.LeaseRequest{leaseA, leaseA}
		reqs[1].Key += "2"
		for i := range reqs {
			reqs[i].Expect = e
		}
		for _, g := range s.Acquire(gone, reqs) {
			if !errors.Is(g.Err, context.Canceled) {
				t.Errorf("expecting %v: %+v", e, g)
			}
		}
		// The next answer comes after all that was sent before.
		if err := s.Evict(t.Context(), []driver.EvictRequest{{Key: mixedKey + "3", Entry: valueA}})[0]; err != nil {
			t.Fatal(err)
		}
		if n, _ := srv.do("EXISTS", reqs[0].Key, reqs[1].Key).AsInt64(); n != 0 {
			t.Errorf("expecting %v: %d keys were leased", e, n)
		}
	}
}

// stand has the direct commands of s go to the test in place of its server.
func stand(t *testing.T, s *Store) *line {
	l := newLine(t)
	s.conns.sole.Store(l.c)
	return l
}

// sending waits until who writes has written.
func (l *line) sending() {
	l.c.shared.sending.Lock()
	defer l.c.shared.sending.Unlock()
}

// A lookup of several keys whose time is over ends. Caught: one that asks again, by a script
// that leases.
func TestLateLookupAsksOnce(t *testing.T) {
	s, _, _ := directStore(t)
	l := stand(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	reqs := []driver.LeaseRequest{leaseA, leaseA}
	reqs[1].Key += "2"
	for i := range reqs {
		reqs[i].Expect = driver.ExpectValue
	}
	done := testsync.Async(func() []driver.Grant { return s.Acquire(ctx, reqs) })
	asks := appendCommand(nil, []string{"MGET", reqs[0].Key, reqs[1].Key})
	l.gets(string(appendCommand(asks, []string{"UNLINK", s.own(reqs[0].Key).nobodys})))
	l.sending()
	cancel() // the server is slow, and L2Timeout is over
	for _, g := range testsync.Await(t, "the lookup", done) {
		if !errors.Is(g.Err, context.Canceled) {
			t.Errorf("%+v", g)
		}
	}
}

// A script that has run is not run again when the one before it was refused. Caught: a release
// that finds its own work, takes the fence for lost, and removes what it has published.
func TestReleaseRunsOnce(t *testing.T) {
	s, srv, _ := directStore(t)
	ctx := t.Context()
	const n = perScript + 8
	fences, releases := make([]driver.FenceRequest, n), make([]driver.ReleaseRequest, n)
	for i := range n {
		key, token := fmt.Sprint(mixedKey, i), driver.Token{1, byte(i)}
		entry := envelope.Append(nil, envelope.Entry{Token: token, Payload: []byte("v")}, 0)
		fences[i] = driver.FenceRequest{Key: key, Token: token, Life: time.Minute}
		releases[i] = driver.ReleaseRequest{Key: key, Token: token, Publish: entry, TTL: time.Minute}
	}
	for _, err := range s.Fence(ctx, fences) {
		if err != nil {
			t.Fatal(err)
		}
	}
	words := func(from, to int) []string {
		return s.own(mixedKey).script(release).words(from, to, func(i int) string { return releases[i].Key }, func(i int) args {
			r := &releases[i]
			return args{[3]string{rueidis.BinaryString(r.Token[:]), rueidis.BinaryString(r.Publish), ms(r.TTL)}, 3}
		})
	}
	l := stand(t, s)
	done := testsync.Async(func() []driver.ReleaseResult { return s.Release(ctx, releases) })
	l.gets(string(appendCommand(appendCommand(nil, words(0, perScript)), words(perScript, n))))
	l.sending()
	// Another client's script runs when the first command comes, and has ended when the
	// second one does.
	ran, err := srv.do(words(perScript, n)...).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	answers := fmt.Sprintf("-BUSY Redis is busy running a script.\r\n*%d\r\n", len(ran))
	for _, a := range ran {
		answers += fmt.Sprintf("$%d\r\n%s\r\n", len(a), a)
	}
	l.says(answers)
	for i, r := range testsync.Await(t, "the release", done) {
		if r.Err != nil || !r.Published || r.Lost {
			t.Errorf("key %d: %+v", i, r)
		}
		if there, _ := srv.do("EXISTS", releases[i].Key).AsInt64(); there != 1 {
			t.Errorf("key %d: what was published is gone", i)
		}
	}
}

// A Store may be used in a bubble of package synctest, and another one outside of it.
// Caught: exchanges and timers that all Stores share.
func TestBubbles(t *testing.T) {
	use := func(t *testing.T) {
		l := newLine(t)
		ctx := deadline.With(t.Context(), time.Now().Add(time.Hour), nil)
		defer ctx.Stop()
		s := &Store{}
		s.conns.sole.Store(l.c)
		l.c.of = &s.conns
		done := testsync.Async(func() string {
			answers, err, sent := s.direct(ctx, 1, []string{"PING"})
			return fmt.Sprintf("%q %v %v", answers, err, sent)
		})
		l.gets("*1\r\n$4\r\nPING\r\n")
		l.sending()
		l.says("+PONG\r\n")
		if got := testsync.Await(t, "the answer", done); got != `"+PONG\r\n" <nil> true` {
			t.Error(got)
		}
		_, _ = l.c.Close(), l.server.Close()
		for range l.heard {
		}
	}
	for range 20 {
		synctest.Test(t, use)
		use(t)
	}
}

// The room for answers follows what comes. Caught: one large entry, after which each operation
// takes as much for each of its keys, for ever.
func TestRoomForAnswers(t *testing.T) {
	s, srv, _ := directStore(t)
	large := envelope.Append(nil, envelope.Entry{Token: driver.Token{1}, Payload: noise(3000)}, 0)
	look := func(key string, value []byte) {
		srv.Do("SET", key, string(value), "PX", "60000")
		idle(s)
		r := leaseB
		r.Key, r.Expect = key, driver.ExpectValue
		if g := s.Acquire(t.Context(), []driver.LeaseRequest{r})[0]; g.State != driver.StateFound {
			t.Fatalf("%+v", g)
		}
	}
	if look(mixedKey, large); s.room.Load() < 3000 {
		t.Errorf("room for %d bytes after an answer of 3000", s.room.Load())
	}
	for range 100 {
		look(mixedKey+"2", valueA)
	}
	if s.room.Load() > 200 {
		t.Errorf("room for %d bytes after a hundred short answers", s.room.Load())
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
