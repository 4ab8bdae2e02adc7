package redisl2_test

import (
	"context"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// What docs/guide/maintenance.md says of redis-cli: reading changes nothing, a record
// that is removed is dropped by all nodes, a lease that is removed costs one fill, and a
// fence that is removed is lost. Clear spares fences, FLUSHALL does not.
func TestWhatAnOperatorMayDo(t *testing.T) {
	srv := testserver.Redis(t)
	p := newPrimary("v", "l", "f", "g", "h")
	a, b := newNode(t, p, srv.URL()), newNode(t, p, srv.URL())
	kind := func(k string) string {
		t.Helper()
		s, err := srv.Do("GETRANGE", prefix+k, "0", "0").ToString()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	warm := func(k string) { t.Helper(); a.warm(k); b.warm(k) }
	dropped := func(what, k string) {
		t.Helper()
		for _, n := range []*node{a, b} {
			testsync.Eventually(t, what+" reaches the memory of a node", func() bool { _, i := n.read(k, aside.Default); return i.Source != aside.SourceL1 })
		}
	}

	warm("v")
	for _, read := range [][]string{
		{"GET"}, {"STRLEN"}, {"PTTL"}, {"TYPE"}, {"MEMORY", "USAGE"}, {"OBJECT", "IDLETIME"},
	} {
		if err := srv.Do(append(read, prefix+"v")...).Error(); err != nil {
			t.Error(read, err)
		}
	}
	a.want("v", 1, aside.SourceL1)
	for _, remove := range [][]string{{"UNLINK", prefix + "v"}, {"DEL", prefix + "v"}, {"EXPIRE", prefix + "v", "100"}, {"FLUSHALL"}} {
		warm("v")
		srv.Do(remove...)
		dropped(remove[0], "v")
	}

	// A lease: the load's value is not stored.
	arrived, leave := make(chan struct{}), make(chan struct{})
	p.afterRead = func(k string) {
		if k == "l" {
			arrived <- struct{}{}
			<-leave
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); a.read("l", aside.Default) }()
	<-arrived
	if k := kind("l"); k != "L" {
		t.Fatalf("kind %q", k)
	}
	srv.Do("UNLINK", prefix+"l")
	close(leave)
	<-done
	p.afterRead = nil
	testsync.Eventually(t, "the fill is refused", func() bool { return a.Stats().FillsRefused == 1 })
	if k := kind("l"); k != "" {
		t.Errorf("stored all the same: %q", k)
	}

	// Fences.
	during := func(k string, f func()) {
		t.Helper()
		if err := a.Write(context.Background(), k, func(context.Context, *aside.WriteTx[string, rec]) error {
			if kind(k) != "F" {
				t.Errorf("%s is %q", k, kind(k))
			}
			f()
			p.put(k)
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	for _, tc := range []struct {
		key  string
		f    func()
		lost uint64
	}{
		{"f", func() {
			if err := b.Clear(t.Context()); err != nil {
				t.Error(err)
			}
		}, 0},
		{"g", func() { srv.Do("UNLINK", prefix+"g") }, 1},
		{"h", func() { srv.Do("FLUSHALL") }, 2},
	} {
		during(tc.key, tc.f)
		if n := a.Stats().FencesLost; n != tc.lost {
			t.Errorf("%s: %d fences lost, want %d", tc.key, n, tc.lost)
		}
	}
}
