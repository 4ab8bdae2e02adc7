package aside_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// What nobody can tell any more is a miss on every node: the table is lost, or it is full.
// Caught: an epoch that entries are not judged by; a floor that is not looked at.
func TestTableOfTagsIsLost(t *testing.T) {
	for name, lose := range map[string]func(s *asidetest.Server, n tagNode){
		"lost":  func(s *asidetest.Server, _ tagNode) { s.SetEntry(testTable, nil, 0) },
		"other": func(s *asidetest.Server, _ tagNode) { s.SetEntry(testTable, []byte("x"), time.Hour) },
		"full":  func(_ *asidetest.Server, n tagNode) { n.invalidates("1", "2", "3", "4") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &asidetest.Server{}, newPrimary("k")
				few := func(o *options) { o.MaxTags = 3 }
				a, b := newTagNode(t, p, s, few), newTagNode(t, p, s, few)
				a.wants("k", 1, aside.SourceLoad, aside.Default)
				b.wants("k", 1, aside.SourceL2, aside.Default)
				lose(s, a)
				synctest.Wait()
				b.wants("k", 1, aside.SourceLoad, aside.Default)
				a.wants("k", 1, aside.SourceL2, aside.Strong)
				a.wants("k", 1, aside.SourceL1, aside.Default)
			})
		})
	}
}

// A failover loses the latest invalidation, and every node hears of that as a lost
// connection. A node that knew of it has every entry with tags loaded again.
// Caught: the whole table not asked for, or not compared with what the node knew.
func TestFailoverLosesAnInvalidation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.wants("k", 1, aside.SourceL2, aside.Default)
		old, entry := s.Entry(testTable), s.Entry(testPrefix+"k")
		p.put("k")
		a.invalidates("t")
		s.Restore(testTable, old, time.Hour)
		s.Restore(testPrefix+"k", entry, time.Hour)
		c := newTagNode(t, p, s) // knows of nothing
		c.invalidates("x")       // and hides it
		a.conn.Disconnect()
		synctest.Wait()
		b.conn.Disconnect()
		synctest.Wait()
		for _, n := range []tagNode{b, c, a} {
			if r, _ := n.Read(t.Context(), "k", n, aside.Default); r.Value.Version != 2 {
				t.Errorf("version %d", r.Value.Version)
			}
			synctest.Wait()
		}
	})
}

// A node that was cut off does not trust what it knows. Caught: L1 that keeps entries with
// tags; an entry of L2 that is judged by what the node knew before.
func TestNodeThatWasCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k", "l")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		for _, k := range []string{"k", "l"} {
			a.wants(k, 1, aside.SourceLoad, aside.Default)
		}
		b.wants("k", 1, aside.SourceL2, aside.Default)
		cut := func(context.Context, string, string) error { return context.DeadlineExceeded }
		b.conn.Intercept(cut)
		b.conn.Disconnect()
		p.put("k")
		p.put("l")
		a.invalidates("t")
		b.wants("k", 2, aside.SourceLoad, aside.Default) // L2 cannot be asked
		b.conn.Intercept(nil)
		time.Sleep(5 * time.Second)
		b.wants("l", 2, aside.SourceLoad, aside.Default)
		// And is told again.
		p.put("l")
		a.invalidates("t")
		synctest.Wait()
		b.wants("l", 3, aside.SourceLoad, aside.Default)
	})
}

// The table cannot be read although a change of it was told: L1 is emptied. Caught: a
// node that goes on with what it knows.
func TestTableOfTagsCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k", "l")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.wants("k", 1, aside.SourceL2, aside.Default)
		b.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Tags" {
				return fmt.Errorf("%w: no", driver.ErrKeyFailed)
			}
			return nil
		})
		p.put("k")
		a.invalidates("t")
		synctest.Wait()
		b.wants("k", 2, aside.SourceLoad, aside.Default)
		// What it loads is kept for DegradedL1TTL: nobody tells of its tags.
		b.wants("l", 1, aside.SourceLoad, aside.Default)
		for _, k := range []string{"k", "l"} {
			version := p.m[k].Version
			b.wants(k, version, aside.SourceL1, aside.Default)
			p.put(k)
		}
		time.Sleep(1100 * time.Millisecond)
		a.invalidates("t")
		b.wants("k", 3, aside.SourceLoad, aside.Default)
		b.wants("l", 2, aside.SourceLoad, aside.Default)
	})
}

// While L2 is away: the node that invalidates serves nothing from before, and tells the
// others when L2 is back. FailClosed says so. Caught: a tag that is told to nobody; what
// was loaded since, taken for what was loaded before.
func TestInvalidateTagWhileL2IsAway(t *testing.T) {
	for _, policy := range []aside.Policy{aside.FailOpen, aside.FailClosed} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &asidetest.Server{}, newPrimary("k", "l")
				closed := func(o *options) { o.OnL2Down, o.DegradedL1TTL = policy, time.Minute }
				a, b := newTagNode(t, p, s, closed), newTagNode(t, p, s, closed)
				for _, k := range []string{"k", "l"} {
					a.wants(k, 1, aside.SourceLoad, aside.Default)
					b.wants(k, 1, aside.SourceL2, aside.Default)
					p.put(k)
				}
				a.conn.Intercept(func(context.Context, string, string) error { return context.DeadlineExceeded })
				err := a.InvalidateTag(t.Context(), "t")
				if (policy == aside.FailClosed) != errors.Is(err, aside.ErrL2Unavailable) || policy == aside.FailOpen && err != nil {
					t.Errorf("InvalidateTag: %v", err)
				}
				a.wants("k", 2, aside.SourceLoad, aside.Default)
				a.wants("k", 2, aside.SourceL1, aside.Default)
				if s := a.Stats(); s.Pending != 1 || !s.Degraded {
					t.Errorf("pending %d, degraded %v", s.Pending, s.Degraded)
				}
				b.wants("k", 1, aside.SourceL1, aside.Default)
				a.conn.Intercept(nil)
				time.Sleep(5 * time.Second)
				if s := a.Stats(); s.Pending != 0 || s.Degraded {
					t.Errorf("pending %d, degraded %v: %s", s.Pending, s.Degraded, s.DegradedReason)
				}
				for _, n := range []tagNode{b, a} {
					for _, k := range []string{"k", "l"} {
						if r, _ := n.Read(t.Context(), k, n, aside.Default); r.Value.Version != 2 {
							t.Errorf("%s: version %d", k, r.Value.Version)
						}
						synctest.Wait()
					}
				}
			})
		})
	}
}

// Close tells L2 what it was not told, or says what it could not.
func TestCloseTellsTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		a, b := newTagNode(t, p, s), newTagNode(t, p, s)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		p.put("k")
		for _, n := range []tagNode{newTagNode(t, p, s), a} {
			n.conn.Intercept(func(_ context.Context, op, _ string) error {
				if op == "Tags" {
					return context.DeadlineExceeded
				}
				return nil
			})
			n.invalidates("t")
			if n.node == a.node {
				a.conn.Intercept(nil)
			}
			if err := n.Close(t.Context()); (err == nil) != (n.node == a.node) {
				t.Errorf("Close: %v", err)
			}
		}
		b.wants("k", 2, aside.SourceLoad, aside.Default)
	})
}

// busyL2 is an L2 that tells of a change of the table while its watch is ended: that waits
// for the function that is told, as it does in redisl2.
type busyL2 struct{ *asidetest.Client }

func (b busyL2) Watch(prefix string, w driver.Watcher) (func(), error) {
	stop, err := b.Client.Watch(prefix, w)
	return func() {
		if strings.HasSuffix(prefix, ":tags:") {
			told := make(chan struct{})
			go func() {
				defer close(told)
				w.Changed("table")
			}()
			<-told
		}
		stop()
	}, err
}

// Close does not wait for a notice that waits for Close.
// Caught: a lock that was held while the watch was ended.
func TestCloseWhileANoticeOfTagsComes(t *testing.T) {
	s, p := &asidetest.Server{}, newPrimary("k")
	n := newTagNode(t, p, s, func(o *options) { o.L2 = busyL2{s.NewClient()} })
	n.invalidates("t")
	closed := make(chan error, 1)
	go func() { closed <- n.Close(context.Background()) }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not closed")
	}
}

// A load that waits for the table of tags ends at LoadTimeout, and gives its slot back.
// Caught: it went on for L2Timeout, and its caller with it.
func TestLoadThatWaitsForTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		n := newTagNode(t, p, &asidetest.Server{}, func(o *options) {
			o.L2Timeout, o.LoadTimeout, o.MaxLoads = time.Minute, 2*time.Second, 1
		})
		n.conn.Intercept(func(ctx context.Context, op, _ string) error {
			if op == "Tags" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		start := time.Now()
		_, err := n.Read(t.Context(), "k", n, aside.Default)
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, aside.ErrOverloaded) || took != 2*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		if p.reads.Load() != 0 {
			t.Error("the loader ran, with nothing left of its time")
		}
		n.conn.Intercept(nil)
		time.Sleep(3 * time.Minute) // until the question is given up
		n.wants("k", 1, aside.SourceLoad, aside.Default)
	})
}

// Reads and writes end with their contexts while the table of tags is asked for, which goes
// on for others. Caught: they waited for the answer.
func TestContextWhileTagsAreAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := &asidetest.Server{}, newPrimary("k")
		slow := func(o *options) {
			o.L2Timeout = 3 * time.Second
			o.Tags = func(rec) []string { return []string{"t"} }
		}
		a, b := newTagNode(t, p, s), newTagNode(t, p, s, slow)
		defer closeAll(a.node, b.node)
		a.wants("k", 1, aside.SourceLoad, aside.Default)
		b.conn.Intercept(func(ctx context.Context, op, _ string) error {
			if op == "Tags" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		for _, call := range []struct {
			name string
			do   func(ctx context.Context) error
		}{ // in this order: a write drops the entry
			{"Get", func(ctx context.Context) error { _, err := b.Read(ctx, "k", b, aside.Default); return err }},
			{"Strong", func(ctx context.Context) error { _, err := b.Read(ctx, "k", b, aside.Strong); return err }},
			{"Peek", func(ctx context.Context) error { b.Peek(ctx, "k", aside.Strong); return ctx.Err() }},
			{"Write", func(ctx context.Context) error {
				return b.Write(ctx, "k", func(context.Context, *aside.WriteTx[string, rec]) error { t.Error("written"); return nil })
			}},
			{"SetEntry", func(ctx context.Context) error {
				return b.SetEntry(ctx, "k", aside.Loaded[rec]{Value: rec{"k", 1}, Tags: []string{"t"}})
			}},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			start := time.Now()
			if err := call.do(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 10*time.Millisecond {
				t.Errorf("%s: %v after %v", call.name, err, time.Since(start))
			}
			cancel()
		}
		b.conn.Intercept(nil)
		time.Sleep(time.Minute) // until the questions are given up
		b.wants("k", 1, aside.SourceLoad, aside.Strong)
	})
}
