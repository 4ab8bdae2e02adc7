package aside_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/envelope"
)

// A lease shows what it carries, as long as that lives: who stored it, how long it lives
// and whether it is stale.
// Caught: the life of the lease taken for that of the value; a value that had ended.
func TestInspectTellsWhatALeaseCarries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		a := newNode(t, p, s, nodeName("a"), func(o *options) { o.TTL, o.L1TTL, o.StaleFor = 10*time.Second, time.Second, time.Minute })
		b := newNode(t, p, s, nodeName("b"), func(o *options) { o.LoadTimeout, o.StaleFor = 55*time.Second, time.Minute })
		a.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		stored := *a.inspect("k").L2
		time.Sleep(20 * time.Second)
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open()
		p.beforeRead = func(string) { <-gate }
		go b.read("k", aside.Default)
		synctest.Wait()
		stored.Age, stored.Left, stored.Stale = 20*time.Second, 50*time.Second, true
		e := a.inspect("k").L2
		if e == nil || e.Kind != aside.EntryLease || e.Err != nil || e.Node != aside.NodeIDOf("b") || e.Left < 55*time.Second || e.Carried == nil {
			t.Fatalf("a lease over a stale value: %+v", e)
		}
		if got := fmt.Sprintf("%+v", *e.Carried); got != fmt.Sprintf("%+v", stored) {
			t.Errorf("it carries\n%s, want\n%+v", got, stored)
		}
		if want := len(s.Entry(testPrefix + "k")); e.Size != want || e.Carried.Size >= want {
			t.Errorf("%d bytes, of which %d are carried; there are %d", e.Size, e.Carried.Size, want)
		}
		time.Sleep(51 * time.Second)
		if e := a.inspect("k").L2; e == nil || e.Kind != aside.EntryLease || e.Carried != nil {
			t.Errorf("after the value's life: %+v", e)
		}
		open()
		synctest.Wait()
		_ = errors.Join(a.Close(t.Context()), b.Close(t.Context()))
	})
}

// Whatever a lease carries, and however long, the look is the same as at the entry itself.
func TestInspectOfAnythingThatALeaseCarries(t *testing.T) {
	s := &asidetest.Server{}
	n := newNode(t, newPrimary("k"), s, func(o *options) { o.MaxEntrySize = 2 << 20 })
	large := envelope.Append(nil, envelope.Entry{Token: envelope.NewToken(), Stored: time.Now(), Codec: 1, Payload: []byte(`"` + strings.Repeat("x", 2<<20) + `"`)}, -1)
	for name, entry := range map[string][]byte{
		"V": {'V'}, "N": {'N', 2}, "cut": large[:40], "too large": large,
		"negative": envelope.Append(nil, envelope.Entry{Negative: true, Token: envelope.NewToken(), Stored: time.Now()}, -1),
	} {
		s.SetEntry(testPrefix+"k", entry, time.Minute)
		alone := n.inspect("k").L2
		s.SetEntry(testPrefix+"k", envelope.Lease{Token: envelope.NewToken(), Carried: entry, Ends: time.Now().Add(time.Minute)}.Append(nil), 30*time.Second)
		e := n.inspect("k").L2
		if e == nil || e.Kind != aside.EntryLease || e.Carried == nil {
			t.Fatalf("%s: %+v", name, e)
		}
		c := *e.Carried
		if c.Kind != alone.Kind || fmt.Sprint(c.Err) != fmt.Sprint(alone.Err) || c.Size != len(entry) || c.Format != alone.Format || c.Node != alone.Node || c.Value != alone.Value {
			t.Errorf("%s: carried %+v, alone %+v", name, c, alone)
		}
		if c.Left <= 30*time.Second || c.Left > time.Minute {
			t.Errorf("%s: %v left", name, c.Left)
		}
	}
	for _, b := range []string{"", "X", "F0", "L1"} { // no entry of a kind that a lease carries
		lease := append(envelope.Lease{Token: envelope.NewToken(), Carried: []byte("V"), Ends: time.Now().Add(time.Minute)}.Append(nil), b...)
		lease = bytes.Replace(lease, []byte("V"+b), []byte(b), 1)
		s.SetEntry(testPrefix+"k", lease, time.Minute)
		if e := n.inspect("k").L2; e == nil || e.Kind != aside.EntryLease || e.Carried != nil || e.Err != nil {
			t.Errorf("carrying %q: %+v", b, e)
		}
	}
}
