package aside_test

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// lateNews is an L2 whose notices of others' changes are held back until deliver
// is called: nothing says that they come before an answer that shows the change.
type lateNews struct {
	*asidetest.Client

	mu   sync.Mutex
	news []func()
}

func (l *lateNews) Watch(prefix string, w driver.Watcher) (func(), error) {
	changed := w.Changed
	w.Changed = func(key string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.news = append(l.news, func() { changed(key) })
	}
	return l.Client.Watch(prefix, w)
}

func (l *lateNews) deliver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.news {
		f()
	}
	l.news = nil
}

// uninformed is a node that learns of others' writes late.
func uninformed(t *testing.T, p *primary, s *asidetest.Server) (*node, *lateNews) {
	n := &node{t: t, p: p, conn: s.NewClient()}
	l := &lateNews{Client: n.conn}
	o := options{Name: "test", Jitter: -1, DegradedL1TTL: -1, L2: l, Logger: slog.New(slog.DiscardHandler)}
	if !fakeTime() {
		o.L2Timeout = time.Minute
	}
	c, err := aside.New(o)
	if err != nil {
		t.Fatal(err)
	}
	n.Cache = c
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return n, l
}

// atAnswer calls f once, when the node's next operation of that name has been
// carried out and its answer is on its way.
func (n *node) atAnswer(op string, f func()) {
	var called atomic.Bool
	n.conn.Answer(func(o, _ string) error {
		if o == op && called.CompareAndSwap(false, true) {
			f()
		}
		return nil
	})
}

// beforeTheFill has a default read begin after the strong one was answered, and
// before what that loaded has been stored.
func beforeTheFill(t *testing.T, n *node, strong func()) {
	t.Helper()
	held := make(chan struct{})
	n.conn.Intercept(func(_ context.Context, op, _ string) error {
		if op == "Fill" {
			<-held
		}
		return nil
	})
	strong()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if v, info := n.read("k", aside.Default); v < 2 {
			t.Errorf("default read of version %d from %v after a strong one of 2", v, info.Source)
		}
	}()
	synctest.Wait()
	close(held)
	<-done
}

// P3: a node that has answered a strong read does not go back to what its L1
// still holds, whatever it learnt the newer value from. Caught: leaving L1 alone
// answers version 1 from it until the notice comes, which after an outage of L2
// is until L1 is emptied.
func TestDefaultReadsDoNotGoBackBehindStrongOnes(t *testing.T) {
	for name, strong := range map[string]func(t *testing.T, n, other *node){
		"value in L2": func(t *testing.T, n, other *node) {
			other.update("k")
			n.wantStrong("k", 2)
		},
		"load": func(t *testing.T, n, other *node) {
			_ = other.Write(t.Context(), "k", func(context.Context, *writing) error { n.p.put("k"); return nil })
			beforeTheFill(t, n, func() { n.wantStrong("k", 2) })
		},
		"load under a fence": func(t *testing.T, n, other *node) {
			_ = other.Write(t.Context(), "k", func(context.Context, *writing) error {
				n.p.put("k")
				n.wantStrong("k", 2)
				if v, info := n.read("k", aside.Default); v < 2 {
					t.Errorf("default read of version %d from %v after a strong one of 2", v, info.Source)
				}
				return nil
			})
		},
		"load while L2 is down": func(t *testing.T, n, other *node) {
			other.update("k")
			n.down()
			n.wantStrong("k", 2)
		},
		"bulk read": func(t *testing.T, n, other *node) {
			_ = other.Write(t.Context(), "k", func(context.Context, *writing) error { n.p.put("k"); return nil })
			beforeTheFill(t, n, func() {
				if r, err := n.ReadMany(t.Context(), []string{"k"}, n.p, aside.Strong); err != nil || r["k"].Value.Version != 2 {
					t.Errorf("strong bulk read: %v, %v", r, err)
				}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				p := newPrimary("k")
				n, news := uninformed(t, p, s)
				other := newNode(t, p, s)
				n.want("k", 1, aside.SourceLoad)
				synctest.Wait()
				n.want("k", 1, aside.SourceL1)
				strong(t, n, other)
				for range 2 {
					if v, info := n.read("k", aside.Default); v != 2 {
						t.Errorf("default read of version %d from %v after a strong one of 2", v, info.Source)
					}
					synctest.Wait()
				}
				news.deliver()
				if v, _ := n.read("k", aside.Default); v != 2 {
					t.Errorf("version %d after the notice", v)
				}
				n.up()
				time.Sleep(3 * time.Second)
				_, _ = n.Close(t.Context()), other.Close(t.Context())
			})
		})
	}
}

// Two flights of one key: an invalidation let the second begin while the first
// had not asked yet. The first to end has read the newer value, so the other's
// may neither be stored nor be joined. Caught: overtaking only for strong reads,
// or only in the generation in which the flight began.
func TestOlderFlightDoesNotOutliveANewerAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPrimary("k")
		var reads int
		slow, fast := make(chan struct{}), make(chan struct{})
		seen := make(chan struct{}, 2)
		n := newNode(t, p, nil)
		load := aside.LoaderFunc[string, rec](func(context.Context, string) (rec, error) {
			reads++
			if reads == 1 {
				seen <- struct{}{}
				<-fast
				r, _ := p.get("k")
				return r, nil
			}
			r, _ := p.get("k")
			seen <- struct{}{}
			<-slow
			return r, nil
		})
		results := make(chan int, 2)
		read := func() {
			r, err := n.Read(t.Context(), "k", load, aside.Default)
			if err != nil {
				t.Error(err)
			}
			results <- r.Value.Version
		}
		go read()
		<-seen // the first flight is about to read the primary
		if err := n.Invalidate(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		go read()
		<-seen // the second has read version 1
		p.put("k")
		close(fast)
		if v := <-results; v != 2 {
			t.Fatalf("the first flight answered version %d", v)
		}
		third := make(chan int, 1)
		go func() {
			v, _ := n.read("k", aside.Default)
			third <- v
		}()
		synctest.Wait()
		close(slow)
		<-results
		if v := <-third; v != 2 {
			t.Errorf("version %d, from a read that began after version 2 had been answered", v)
		}
		synctest.Wait()
		if v, info := n.read("k", aside.Default); v != 2 {
			t.Errorf("version %d from %v in the end", v, info.Source)
		}
		_ = n.Close(t.Context())
	})
}

// The same with lookups: a strong read whose question was long on its way, and
// a default one, begun after an invalidation, whose answer is. Caught: a hit in
// L2 that leaves the other flight to be joined.
func TestOlderLookUpIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, news := uninformed(t, p, s)
		other := newNode(t, p, s)
		n.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		other.update("k")

		question, answer := make(chan struct{}), make(chan struct{})
		var asked atomic.Bool
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Acquire" && asked.CompareAndSwap(false, true) {
				<-question
			}
			return nil
		})
		reads := make(chan int, 3)
		read := func(l aside.Mode) { v, _ := n.read("k", l); reads <- v }
		go read(aside.Strong)
		synctest.Wait()
		news.deliver()
		n.atAnswer("Acquire", func() { <-answer })
		go read(aside.Default) // finds version 2
		synctest.Wait()
		other.update("k")
		close(question)
		if v := <-reads; v != 3 {
			t.Fatalf("the strong read returned version %d", v)
		}
		go read(aside.Default)
		synctest.Wait()
		if len(reads) == 0 {
			t.Error("a read waits for a lookup that began before what it must see was read")
		} else if v := <-reads; v != 3 {
			t.Errorf("default read of version %d after a strong one of 3", v)
		}
		close(answer)
		synctest.Wait()
		if v, info := n.read("k", aside.Default); v != 3 {
			t.Errorf("version %d from %v in the end", v, info.Source)
		}
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

// A node publishes its write, and before it has put the record into its L1
// another node writes again and this one reads that. Caught: an insert that
// replaces; answers from the primary that leave the insert on its way.
func TestPublishedRecordDoesNotReplaceANewerOne(t *testing.T) {
	for name, meanwhile := range map[string]func(t *testing.T, n, other *node) (version int){
		"stored": func(t *testing.T, n, other *node) int {
			other.update("k")
			n.want("k", 3, aside.SourceL2)
			return 3
		},
		"under a fence": func(t *testing.T, n, other *node) int {
			_ = other.Write(t.Context(), "k", func(context.Context, *writing) error {
				n.p.put("k")
				n.want("k", 3, aside.SourceLoad)
				return nil
			})
			return 3
		},
		"while L2 is down": func(t *testing.T, n, other *node) int {
			other.update("k")
			n.down()
			n.want("k", 3, aside.SourceLoad)
			return 3
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &asidetest.Server{}
				p := newPrimary("k")
				n, _ := uninformed(t, p, s)
				other := newNode(t, p, s)
				var seen int
				n.atAnswer("Release", func() { seen = meanwhile(t, n, other) })
				n.update("k")
				if v, info := n.read("k", aside.Default); v != seen {
					t.Errorf("default read of version %d from %v after one of %d", v, info.Source, seen)
				}
				n.up()
				time.Sleep(3 * time.Second)
				_, _ = n.Close(t.Context()), other.Close(t.Context())
			})
		})
	}
}

// A flight that waits for another node's lease asks again after a write of its
// own node, when a second flight has taken its place: both are of one generation
// then. Its answer is still on its way when the second has got a newer value.
// Caught: both inserting.
func TestReplacedFlightDoesNotInsert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, _ := uninformed(t, p, s)
		other := newNode(t, p, s)
		load := make(chan struct{})
		p.afterRead = func(string) { <-load }
		reads := make(chan int, 3)
		read := func(n *node) {
			v, _ := n.read("k", aside.Default)
			reads <- v
		}
		go read(other) // has the lease
		synctest.Wait()
		go read(n) // waits for it
		synctest.Wait()
		_ = n.Write(t.Context(), "k", func(context.Context, *writing) error { p.put("k"); return nil })
		close(load)
		<-reads
		other.want("k", 2, aside.SourceLoad)
		synctest.Wait()

		second, answer := make(chan struct{}), make(chan struct{})
		var asked atomic.Bool
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Acquire" && asked.CompareAndSwap(false, true) {
				<-second
			}
			return nil
		})
		n.atAnswer("Acquire", func() { <-answer })
		go read(n)
		synctest.Wait()
		time.Sleep(50 * time.Millisecond) // the waiting flight asks again and finds version 2
		synctest.Wait()
		other.update("k")
		close(second)
		if v := <-reads; v != 3 {
			t.Errorf("the second flight answered version %d", v)
		}
		close(answer)
		<-reads
		synctest.Wait()
		if v, info := n.read("k", aside.Default); v != 3 {
			t.Errorf("version %d from %v, after version 3 had been answered", v, info.Source)
		}
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}

// L2 fails a fence for a moment only. With FailOpen the write goes on, and L2 is
// told before it is acknowledged, so other nodes see it all the same. Caught:
// telling L2 in the background alone answers a strong read with version 1.
func TestFailOpenDeliversBeforeTheAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n, other := newNode(t, p, s), newNode(t, p, s)
		other.want("k", 1, aside.SourceLoad)
		synctest.Wait()
		n.conn.Intercept(func(_ context.Context, op, _ string) error {
			if op == "Fence" {
				return errDown
			}
			return nil
		})
		n.update("k")
		other.wantStrong("k", 2)
		n.wantStrong("k", 2)
		if st := n.Stats(); st.Pending != 0 {
			t.Errorf("%d keys pending", st.Pending)
		}
		_, _ = n.Close(t.Context()), other.Close(t.Context())
	})
}
