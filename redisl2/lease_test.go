package redisl2

import (
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// over puts a value under the key and leases it, as a node of this release does.
func (x *mixed) over() (lease driver.Token) {
	x.Helper()
	lease = envelope.NewToken()
	token := envelope.NewToken()
	if err := x.s.Invalidate(x.Context(), []string{mixedKey})[0]; err != nil { // the server is in use from now on
		x.Fatal(err)
	}
	c := x.client()
	if err := c.Do(x.Context(), c.B().Set().Key(mixedKey).Value(versioned(5, token)).PxMilliseconds(60000).Build()).Error(); err != nil {
		x.Fatal(err)
	}
	g := x.s.Acquire(x.Context(), []driver.LeaseRequest{{Key: mixedKey, Lease: lease, TTL: time.Minute, Over: token}})[0]
	if g.Err != nil || g.State != driver.StateGranted || string(g.Entry) != versioned(5, token) {
		x.Fatalf("%+v", g)
	}
	return lease
}

// Nodes of releases that know nothing of leases over entries take one for a lease: they
// wait, and neither fill nor give back under it. Their writes and invalidations remove
// it, with what it carries.
// Caught: a lease whose first byte was that of the entry.
func TestLeasesOverEntriesBesideTheReleasesBefore(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	for by := 1; by < 3; by++ {
		held, theirs := x.over(), envelope.NewToken()
		if a := x.run(x.acquire[by], x.lease(by, theirs), "60000"); a != "L" {
			t.Errorf("release %d asks: %q", by, a)
		}
		for _, l := range []string{x.lease(by, theirs), lease(held)} {
			if a := x.run(x.fill[by], l, "V", "60000"); a != "0" {
				t.Errorf("release %d fills: %q", by, a)
			}
			if a := x.run(x.abandon_[by], l, "", "1"); a != "0" {
				t.Errorf("release %d gives back: %q", by, a)
			}
		}
		if a := x.run(x.fill[0], lease(held), "V", "60000"); a != "1" || x.get() != "V" {
			t.Errorf("beside release %d its holder fills: %q, and there is %q", by, a, x.get())
		}
		for what, remove := range map[string]func(){
			"fence":      func() { x.run(x.fence[by], string(theirs[:]), "60000") },
			"invalidate": func() { x.run(x.invalidate[by]) },
			"release":    func() { x.run(x.release[by], string(theirs[:]), "V", "60000") },
		} {
			x.run(x.invalidate[0])
			x.run(x.release[0], string(theirs[:]), "", "1")
			held := x.over()
			remove()
			x.run(x.abandon_[0], lease(held), "", "1")
			if a := x.run(x.fill[0], lease(held), "V", "60000"); a != "0" {
				t.Errorf("after %s of release %d: filled: %q", what, by, a)
			}
			if v := x.get(); v != "" && v[0] != 'F' {
				t.Errorf("after %s of release %d there is %q", what, by, v)
			}
		}
		x.run(x.release[0], string(theirs[:]), "", "1")
	}
}

// A lease that is carried on while memory is full can be given back: what it carries is
// there again, and nothing is answered with an error. Nothing new is leased.
// Caught: a put back that the server refuses, with which the entry is lost.
func TestLeaseOverAnEntryWhileMemoryIsFull(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s, err := Open(Options{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	x := &mixed{T: t, s: s}
	held := x.over()
	x.get()
	full := func(on bool) { srv.Do("CONFIG", "SET", "maxmemory", map[bool]string{true: "1", false: "0"}[on]) }
	full(true)
	req := driver.LeaseRequest{Key: mixedKey, Lease: envelope.NewToken(), TTL: time.Minute, Carried: true}
	if g := s.Acquire(t.Context(), []driver.LeaseRequest{req})[0]; g.Err != nil || g.State != driver.StateLeased {
		t.Errorf("a reader: %+v", g)
	}
	if err := s.Abandon(t.Context(), []driver.AbandonRequest{{Key: mixedKey, Lease: held}})[0]; err != nil {
		t.Error(err)
	}
	g := s.Acquire(t.Context(), []driver.LeaseRequest{req})[0]
	if g.Err != nil || g.State != driver.StateFound {
		t.Fatalf("after it was given back: %+v", g)
	}
	_, token, _ := envelope.Head(g.Entry)
	req.Over = token
	if g := s.Acquire(t.Context(), []driver.LeaseRequest{req})[0]; g.Err != nil || g.State != driver.StateFound {
		t.Errorf("a lease over it: %+v", g)
	}
	full(false)
	if g := s.Acquire(t.Context(), []driver.LeaseRequest{req})[0]; g.Err != nil || g.State != driver.StateGranted {
		t.Errorf("later: %+v", g)
	}
}

// The life of what a lease carries is by the server's clock, and what is put back lives
// as long as it would have.
// Caught: an entry that was put back without an end.
func TestLifeOfWhatALeaseCarries(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	held := x.over()
	l, ok := envelope.ParseLease([]byte(x.get()))
	c := x.client()
	now, err := c.Do(t.Context(), c.B().Time().Build()).AsIntSlice()
	if err != nil {
		t.Fatal(err)
	}
	if left := l.Ends.Sub(time.Unix(now[0], now[1]*1000)); !ok || left <= 50*time.Second || left > time.Minute {
		t.Errorf("it has %v left: %+v", left, l)
	}
	ends := func() int64 {
		n, err := c.Do(t.Context(), c.B().Arbitrary("PEXPIRETIME").Keys(mixedKey).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	x.run(x.abandon_[0], lease(held), "", "1")
	if d := ends() - l.Ends.UnixMilli(); d < -1000 || d > 1000 {
		t.Errorf("put back, it ends %d ms later than before", d)
	}
}
