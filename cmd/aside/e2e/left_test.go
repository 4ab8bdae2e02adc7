package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/mongostore"
)

// P5: a write that ends abnormally leaves no old record in any tier and no lasting lock.
// There is no load, so that no later write of the record repairs it. Caught: a missing
// fence; a fence that was removed although the outcome was unknown; a fence that was not
// released after an unknown outcome.
func TestNothingStaleIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *struck)
	}{
		{"killed before the commit", func(w *struck) {
			w.begin("write.before", `"action":"kill"`)
			w.writer.AwaitDeath()
			w.awaitEndOfFence()
			w.writer.Restart()
		}},
		{"killed after the commit", func(w *struck) {
			w.begin("write.after", `"action":"kill"`)
			w.writer.AwaitDeath()
			w.awaitEndOfFence()
			w.writer.Restart()
		}},
		{"paused before the commit", func(w *struck) {
			written := w.begin("write.before", `"action":"stop"`)
			w.writer.AwaitStop()
			w.awaitEndOfFence()
			w.writer.Continue()
			w.await(written)
		}},
		{"paused after the commit", func(w *struck) {
			written := w.begin("write.after", `"action":"stop"`)
			w.writer.AwaitStop()
			w.awaitEndOfFence()
			w.writer.Continue()
			w.await(written)
		}},
		{"outcome unknown", func(w *struck) {
			w.await(w.begin("write.after", `"action":"unknown"`))
			w.awaitEndOfFence()
		}},
		{"outcome unknown, and the commit comes later", func(w *struck) {
			w.await(w.begin("write.before", `"action":"late"`))
			w.readAtOthers()
			w.writer.Disarm("write.before")
			w.awaitEndOfFence()
		}},
		{"outcome unknown, and the commit came when the fence had ended", func(w *struck) {
			w.writer.Arm("write.after", `{"id":"1","action":"unknown"}`)
			written := w.begin("write.before", `"action":"wait","ignore_context":true`)
			w.writer.AwaitHits("write.before", 1)
			w.awaitEndOfFence()
			w.writer.Disarm("write.before")
			w.await(written)
			// The release comes after the response.
			testsync.Poll(patience, func() bool { return w.agree() == nil })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := startStruck(t)
			tt.do(w)
			if err := w.agree(); err != nil {
				t.Error(err)
			}
			w.CheckLeftovers(formOf(t).timing)
		})
	}
}

// P5 and P1: if a node never fills a key that it has leased, others wait only until the
// lease expires. A late fill is refused. Caught: a lease that never expires; a fill that
// does not check the lease.
func TestLoaderThatStops(t *testing.T) {
	for _, action := range []string{"kill", "stop"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := startStruck(t)
			w.writer.Arm("load.after", `{"id":"1","action":"`+action+`"}`)
			w.Nodes[0].Flush()
			loaded := testsync.Async(func() string { return w.writer.Get("1", "no-cache") }) // its memory may not have the invalidation yet
			if action == "kill" {
				w.writer.AwaitDeath()
				if got := w.Nodes[0].Get("1", "max-age=60"); got != "old" { // in time for a request
					t.Errorf("another node answers %q", got)
				}
				w.writer.Restart()
			} else {
				w.writer.AwaitStop()
				testsync.Eventually(t, "another node changes it", func() bool {
					return w.Nodes[0].Do(http.MethodPut, "/todos/1", `{"name":"new"}`) == http.StatusOK
				})
				w.writer.Continue()
			}
			testsync.Await(t, "the load", loaded)
			if err := w.agree(); err != nil {
				t.Error(err)
			}
			w.CheckLeftovers(formOf(t).timing)
		})
	}
}

// struck is a system in which one node has a failpoint in its reads or writes of record 1.
// All nodes have this record in memory.
type struck struct {
	*testing.T
	*system
	writer *node
	db     *mongostore.Store
}

func startStruck(t *testing.T) *struck {
	t.Helper()
	w := &struck{T: t, system: startSystem(t, formOf(t).timing, closed)}
	w.writer = w.Nodes[1]
	var err error
	if w.db, err = mongostore.Open(t.Context(), w.Mongo.URI(), mongostore.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.Nodes[0].Create("1", "old")
	testsync.Eventually(t, "all nodes have it", func() bool { return w.agree() == nil })
	return w
}

// begin starts a write. Its status comes on the channel.
func (w *struck) begin(point, spec string) <-chan int {
	w.Helper()
	w.writer.Arm(point, `{"id":"1",`+spec+`}`)
	return testsync.Async(func() int { return w.writer.Do(http.MethodPut, "/todos/1", `{"name":"new"}`) })
}

func (w *struck) await(written <-chan int) {
	w.Helper()
	w.Logf("the write was answered with status %d", testsync.Await(w.T, "the write", written))
}

// awaitEndOfFence waits until the fence has expired, and lets the other nodes cache the
// record.
func (w *struck) awaitEndOfFence() {
	w.Helper()
	testsync.Eventually(w.T, "the fence has ended", func() bool {
		kind, err := w.Redis.Do("GETRANGE", "aside:e2e:1:1", "0", "0").ToString()
		return err == nil && kind != "F"
	})
	w.readAtOthers()
}

func (w *struck) readAtOthers() {
	for _, n := range w.Nodes {
		if n != w.writer {
			n.Get("1", "max-age=60")
		}
	}
}

// agree returns nil if all nodes return the record of the database.
func (w *struck) agree() error {
	want, err := w.db.Get(w.Context(), "1")
	if err != nil {
		return err
	}
	for _, n := range w.Nodes {
		for _, control := range []string{"max-age=60", "no-cache"} {
			if got := n.Get("1", control); got != want.Name {
				return fmt.Errorf("%s answers %q with Cache-Control: %s, and the database has %q", n.name, got, control, want.Name)
			}
		}
	}
	return nil
}
