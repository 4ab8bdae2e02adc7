package redisl2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// leaderKey is where a follower of cache t keeps its leadership.
const leaderKey = "aside:t:feed:leader"

func versioned(version uint64) string {
	return string(envelope.Append(nil, envelope.Entry{Version: version, Token: numberedToken(9)}, -1))
}

func dropOlder(t testing.TB, s *redisl2.Store, reqs ...driver.ChangeRequest) {
	t.Helper()
	for i, r := range s.DropOlder(t.Context(), reqs) {
		if r.Err != nil {
			t.Fatalf("%s: %v", reqs[i].Key, r.Err)
		}
	}
}

func lead(t testing.TB, s *redisl2.Store, req driver.LeadRequest) driver.Leadership {
	t.Helper()
	l, err := s.Lead(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What is not a string is not ours, and goes, as with Invalidate. A fence lives as long
// as before, and one without an end gets a minute.
// Caught: a script that fails for a list, or for a fence whose only record has ended; a
// SET without KEEPTTL, which is a fence for ever.
func TestDropOlderOfForeignKeysAndFences(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	key := prefix + "k"
	for _, cmd := range []string{"LPUSH", "SADD"} {
		srv.Do(cmd, key, "x")
		dropOlder(t, s, driver.ChangeRequest{Key: key, Version: 5})
		if n, _ := srv.Do("EXISTS", key).AsInt64(); n != 0 {
			t.Errorf("what %s made is there still", cmd)
		}
	}
	for what, change := range map[string]driver.ChangeRequest{
		"noted": {Key: key, Version: 5}, "marked": {Key: key, Deleted: true},
	} {
		one := numberedToken(1)
		alone, ended := "F0"+string(one[:])+strings.Repeat("0", 13), "F0"+string(one[:])+"0000000000001"
		for _, b := range append([]string{alone, ended}, opaque...) {
			srv.Do("SET", key, b, "PX", "30000")
			dropOlder(t, s, change)
			if left := pttl(srv, key); left < 20*time.Second || left > 30*time.Second {
				t.Errorf("%q, %s: it lives for %v, want 30s", b, what, left)
			}
			srv.Do("SET", key, b)
			dropOlder(t, s, change)
			marked := string(envelope.MarkFence([]byte(b))) == b // nothing to do, so it stays as it is
			if left := pttl(srv, key); !marked && (left < 50*time.Second || left > minute) {
				t.Errorf("%q, %s: it lives for %v, want a minute", b, what, left)
			}
			if got := raw(srv, key); len(got) == 0 || got[0] != 'F' {
				t.Errorf("%q, %s: it is %q", b, what, got)
			}
		}
	}
}

// The server does not begin to track a key for who drops it: a follower is told of every
// change of the primary, and would have the server remember every key of it.
// Caught: with a PTTL in drop.lua Redis 7.0 tracks all keys of the script.
func TestDropOlderIsNotTracked(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	fence := "F0" + strings.Repeat("x", 16) + strings.Repeat("0", 13)
	var reqs []driver.ChangeRequest
	for i, b := range []string{versioned(4), versioned(6), "F8later", fence, fence, "L1" + strings.Repeat("x", 16), "?", ""} {
		key := fmt.Sprint(prefix, i)
		if b != "" {
			srv.Do("SET", key, b, "PX", "60000")
		}
		reqs = append(reqs, driver.ChangeRequest{Key: key, Version: 5})
	}
	tracked := func() string { return srv.Info("stats")["tracking_total_items"] }
	before := tracked()
	dropOlder(t, s, reqs...)
	for _, r := range reqs {
		dropOlder(t, s, r)
	}
	lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: numberedToken(1), TTL: minute})
	if n := tracked(); n != before {
		t.Errorf("%s keys are tracked, before %s", n, before)
	}
}

// A node drops what others and it itself have in L1, without a word of its own to L1.
// Caught: NOLOOP, with which the node that follows the feed keeps the old record.
func TestDropOlderReachesEveryL1(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k", "written", "absent")
	a, b := steadfast(t, p, srv.URL()), steadfast(t, p, srv.URL())
	a.update("written") // in a's L1 by Publish
	for _, by := range []*node{a, b} {
		var reqs []driver.ChangeRequest
		for _, k := range []string{"k", "written"} {
			a.warm(k)
			b.warm(k)
			p.put(k)
			reqs = append(reqs, driver.ChangeRequest{Key: prefix + k})
		}
		dropOlder(t, by.store, reqs...)
		for _, n := range []*node{a, b} {
			for _, r := range reqs {
				k := strings.TrimPrefix(r.Key, prefix)
				want, _ := p.get(k)
				n.becomesFresh(k, want.Version)
			}
		}
	}
}

// A batch is one script for many keys, all of them on their way before the first answer.
func TestDropOlderIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	tap := newTap(t, srv)
	s := open(t, redisl2.Options{URL: tap.url(), SilenceTimeout: forever})
	admitted(t, s)
	reqs := make([]driver.ChangeRequest, 100)
	for i := range reqs {
		reqs[i] = driver.ChangeRequest{Key: fmt.Sprint(prefix, i), Version: 1}
		srv.Do("SET", reqs[i].Key, "?")
	}
	dropOlder(t, s, driver.ChangeRequest{Key: prefix + "first"})
	tap.forget()
	tap.hold()
	done := testsync.Async(func() (err error) {
		for _, r := range s.DropOlder(t.Context(), reqs) {
			err = errors.Join(err, r.Err)
		}
		return err
	})
	testsync.Eventually(t, "100 keys in one go", func() bool { return len(tap.commands()) == 4 })
	tap.release()
	if err := testsync.Await(t, "the batch", done); err != nil {
		t.Error(err)
	}
	tap.want("EVALSHA", "EVALSHA", "EVALSHA", "EVALSHA")
	if left := must(srv.Do("KEYS", prefix+"*").AsStrSlice()); len(left) > 1 { // admitted's lease may be there
		t.Errorf("left: %q", left)
	}
}

// While the server's memory is full the feed is followed all the same: what goes needs
// no room, and who leads has to be known.
// Caught: "#!lua" at the head of drop.lua, or of lead.lua.
func TestFeedIsFollowedWhileMemoryIsFull(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	me := numberedToken(1)
	lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me, TTL: minute})
	fence := "F0" + strings.Repeat("x", 16) + strings.Repeat("0", 13)
	srv.Do("SET", prefix+"v", versioned(4))
	srv.Do("SET", prefix+"f", fence, "PX", "60000")
	srv.Do("CONFIG", "SET", "maxmemory", "1")
	dropOlder(t, s, driver.ChangeRequest{Key: prefix + "v", Version: 5}, driver.ChangeRequest{Key: prefix + "f", Version: 5})
	l := lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me, TTL: minute, State: []byte("x")})
	srv.Do("CONFIG", "SET", "maxmemory", "0")
	if !l.Leads {
		t.Errorf("%+v", l)
	}
	if got := raw(srv, prefix+"v"); got != nil {
		t.Errorf("an older value is there still: %q", got)
	}
	if f, _ := envelope.ParseFence(raw(srv, prefix+"f")); f.Since != 5 {
		t.Errorf("nothing is noted: %q", raw(srv, prefix+"f"))
	}
	if l, _ := envelope.ParseLeader(raw(srv, leaderKey)); string(l.State) != "x" {
		t.Errorf("nothing is stored: %q", raw(srv, leaderKey))
	}
}

// A master that has become a replica changes nothing, and has no leader any more.
func TestFeedOnADemotedMaster(t *testing.T) {
	t.Parallel()
	srv, next := testserver.Redis(t), testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	admitted(t, s)
	key := prefix + "k"
	srv.Do("SET", key, versioned(4))
	req := driver.LeadRequest{Key: leaderKey, Leader: numberedToken(1), TTL: minute}
	lead(t, s, req)
	next.ReplicaOf(srv)
	next.InStep(srv)
	next.Do("REPLICAOF", "NO", "ONE")
	srv.ReplicaOf(next)
	ctx, cancel := context.WithTimeout(t.Context(), slack)
	defer cancel()
	if err := s.DropOlder(ctx, []driver.ChangeRequest{{Key: key, Version: 5}})[0].Err; err == nil {
		t.Error("a replica drops")
	}
	if l, err := s.Lead(ctx, req); err == nil {
		t.Errorf("a replica has a leader: %+v", l)
	}
	if got := raw(srv, key); string(got) != versioned(4) {
		t.Errorf("there is %q", got)
	}
}

// What a leader leaves stays for a week after its last word, whatever was under the key
// before.
// Caught: a state that ends with the leadership; a script that fails for a list.
func TestLeaderIsKept(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	me, other := numberedToken(1), numberedToken(2)
	lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me, TTL: minute})
	srv.Do("DEL", leaderKey)
	srv.Do("LPUSH", leaderKey, "x")
	if l := lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me}); l.Leads || l.Led || l.State != nil {
		t.Errorf("nothing to give up: %+v", l)
	}
	if l := lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me, TTL: minute, State: []byte("s")}); !l.Leads || l.State != nil {
		t.Errorf("over a list: %+v", l)
	}
	const week = 7 * 24 * time.Hour
	kept := func(what string) {
		t.Helper()
		if left := pttl(srv, leaderKey); left > week || left < week-time.Hour {
			t.Errorf("%s: it is kept for %v, want a week", what, left)
		}
		if l, ok := envelope.ParseLeader(raw(srv, leaderKey)); !ok || string(l.State) != "s" {
			t.Errorf("%s: there is %q", what, raw(srv, leaderKey))
		}
	}
	kept("with a state")
	srv.Do("PEXPIRE", leaderKey, "100000")
	lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me, TTL: minute})
	kept("renewed")
	srv.Do("PEXPIRE", leaderKey, "100000")
	if l := lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: other, TTL: minute, State: []byte("o")}); !l.Led || l.Leads {
		t.Errorf("while one leads: %+v", l)
	}
	if left := pttl(srv, leaderKey); left > 100*time.Second {
		t.Errorf("who does not lead has it kept for %v", left)
	}
	lead(t, s, driver.LeadRequest{Key: leaderKey, Leader: me})
	kept("given up")
}

// A server that begins anew from its snapshot has no leader and no state: what it had is
// from before, as its entries are, which nobody reads either.
// Caught: a leader's key under the prefix of the entries, which are cleared by the first
// who comes, and it not.
func TestLeaderAfterARestartFromSnapshot(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	req := driver.LeadRequest{Key: leaderKey, Leader: numberedToken(1), TTL: minute, State: []byte("old")}
	lead(t, s, req)
	srv.Do("SAVE")
	srv.RestartFromSnapshot()
	if got := raw(srv, leaderKey); !bytes.HasSuffix(got, []byte("=old")) {
		t.Fatalf("the snapshot brought %q", got)
	}
	testsync.Eventually(t, "the server is there again", func() bool { return s.Ping(t.Context()) == nil })
	req.Leader, req.State = numberedToken(2), nil
	var l driver.Leadership
	testsync.Eventually(t, "somebody leads", func() bool {
		var err error
		l, err = s.Lead(t.Context(), req)
		return err == nil
	})
	if !l.Leads || l.State != nil {
		t.Errorf("%+v, want the leadership and no state", l)
	}
}

// On a cluster the leader's key is where its slot is, and its state goes with the slot to
// a server that was new.
// Caught: a new master that is cleared of what the slot brought with it.
func TestFeedOnACluster(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "SCRIPT LOAD tells that a server has been admitted")
	c := testserver.Cluster(t, 3)
	s := open(t, redisl2.Options{URL: c.URL(), SilenceTimeout: time.Second})
	admitted(t, s)
	// Keys of all servers in one batch, values and fences.
	var reqs []driver.ChangeRequest
	for i := range 300 {
		key := fmt.Sprint(prefix, i)
		reqs = append(reqs, driver.ChangeRequest{Key: key, Version: 5})
		f := s.Fence(t.Context(), []driver.FenceRequest{{Key: key, Token: numberedToken(1), Life: minute}})
		if f[0] != nil {
			t.Fatal(f[0])
		}
		if i%2 == 0 {
			r := s.Release(t.Context(), []driver.ReleaseRequest{{Key: key, Token: numberedToken(1), Publish: []byte(versioned(uint64(4 + i%4/2))), TTL: minute}})
			if !r[0].Published {
				t.Fatalf("%+v", r[0])
			}
		}
	}
	dropOlder(t, s, reqs...)
	for i, r := range reqs {
		b := raw(c.Owner(c.Slot(r.Key)), r.Key)
		f, _ := envelope.ParseFence(b)
		if i%4 == 0 && b != nil || i%4 == 2 && string(b) != versioned(5) || i%2 == 1 && f.Since != 5 {
			t.Errorf("key %d: %q", i, b)
		}
	}

	req := driver.LeadRequest{Key: leaderKey, Leader: numberedToken(1), TTL: minute, State: []byte("s")}
	if l := lead(t, s, req); !l.Leads {
		t.Errorf("%+v", l)
	}
	slot := c.Slot(leaderKey)
	if got := raw(c.Owner(slot), leaderKey); got == nil {
		t.Error("its slot's server does not have the key")
	}
	fresh := c.AddMaster()
	testsync.Eventually(t, "the new server has the scripts", func() bool { return commandCalls(fresh, "script|load") > 10 })
	m := c.Migrate(slot, fresh)
	m.Move(1)
	l := lead(t, s, req)
	m.Finish()
	if after := lead(t, s, req); !l.Leads || string(l.State) != "s" || !after.Leads || string(after.State) != "s" {
		t.Errorf("while the slot moves %+v, then %+v", l, after)
	}
}

// A node's own write is told again by a feed while it is under way, or afterwards: it is
// published and stays. Somebody else's change in between is not covered up by it.
func TestOwnWritesToldAgain(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	withVersion := func(o *options) { o.Version = func(r rec) uint64 { return uint64(r.Version) } }
	a, b := steadfast(t, p, srv.URL(), withVersion), steadfast(t, p, srv.URL(), withVersion)
	told := func(version int) {
		t.Helper()
		dropOlder(t, b.store, driver.ChangeRequest{Key: prefix + "k", Version: uint64(version)})
	}
	write := func(in func(r rec)) {
		t.Helper()
		if err := a.Write(t.Context(), "k", func(_ context.Context, w *aside.WriteTx[string, rec]) error {
			r := p.put("k")
			w.Publish("k", r)
			in(r)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(func(r rec) { told(r.Version) })
	b.want("k", 2, aside.SourceL2)
	told(2)
	if setIf, _ := srv.Plain(); setIf {
		a.read("k", aside.Default) // the plain command that failed had the key tracked
	}
	a.want("k", 2, aside.SourceL1)
	b.want("k", 2, aside.SourceL1)
	write(func(rec) { told(p.put("k").Version) }) // somebody else's is the last
	for _, n := range []*node{a, b} {
		n.becomesFresh("k", 4)
	}
}
