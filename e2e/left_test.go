package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/asidecache/aside/internal/gate"
	"github.com/asidecache/aside/internal/mongostore"
)

// P5: what a write leaves behind that came to no proper end is neither an old
// record in any tier nor a lock that stays. Without load, so that no later write
// of the record clears up. Caught: a fence that was not put; one that was lifted
// although the outcome was unknown; no release after an unknown outcome.
func TestNothingStaleIsLeft(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *struckWrite)
	}{
		{"killed before the commit", func(w *struckWrite) {
			w.begin("write.before", `"action":"kill"`)
			w.writer.AwaitDeath()
			w.awaitEndOfFence()
			w.writer.Restart()
		}},
		{"killed after the commit", func(w *struckWrite) {
			w.begin("write.after", `"action":"kill"`)
			w.writer.AwaitDeath()
			w.awaitEndOfFence()
			w.writer.Restart()
		}},
		{"paused before the commit", func(w *struckWrite) {
			written := w.begin("write.before", `"action":"stop"`)
			w.writer.AwaitStop()
			w.awaitEndOfFence()
			w.writer.Continue()
			w.await(written)
		}},
		{"paused after the commit", func(w *struckWrite) {
			written := w.begin("write.after", `"action":"stop"`)
			w.writer.AwaitStop()
			w.awaitEndOfFence()
			w.writer.Continue()
			w.await(written)
		}},
		{"outcome unknown", func(w *struckWrite) {
			w.await(w.begin("write.after", `"action":"unknown"`))
			w.awaitEndOfFence()
		}},
		{"outcome unknown, and the commit comes later", func(w *struckWrite) {
			w.await(w.begin("write.before", `"action":"late"`))
			w.readAtOthers()
			w.writer.Disarm("write.before")
			w.awaitEndOfFence()
		}},
		{"outcome unknown, and the commit came when the fence had ended", func(w *struckWrite) {
			w.writer.Arm("write.after", `{"id":"1","action":"unknown"}`)
			written := w.begin("write.before", `"action":"wait","ignore_context":true`)
			w.writer.AwaitHits("write.before", 1)
			w.awaitEndOfFence()
			w.writer.Disarm("write.before")
			w.await(written)
			// The release comes behind the answer.
			gate.Poll(patience, func() bool { return w.agree() == nil })
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			size := formOf(t)
			w := &struckWrite{T: t, system: startSystem(t, size.timing, closed)}
			w.writer = w.Nodes[1]
			var err error
			if w.db, err = mongostore.Open(t.Context(), w.Mongo.URI(), mongostore.Options{}); err != nil {
				t.Fatal(err)
			}
			defer w.db.Close()
			if status := w.Nodes[0].Do(http.MethodPost, "/todos", `{"id":"1","name":"old"}`); status != http.StatusCreated {
				t.Fatal(status)
			}
			if err := w.agree(); err != nil { // and have it in memory
				t.Fatal(err)
			}
			tt.do(w)
			if err := w.agree(); err != nil {
				t.Error(err)
			}
			w.CheckLeftovers(size.timing)
		})
	}
}

// struckWrite is a write of record 1 through one node that meets a failpoint.
type struckWrite struct {
	*testing.T
	*system
	writer *node
	db     *mongostore.Store
}

// begin begins the write, whose status comes on the channel.
func (w *struckWrite) begin(point, spec string) <-chan int {
	w.Helper()
	w.writer.Arm(point, `{"id":"1",`+spec+`}`)
	return gate.Async(func() int { return w.writer.Do(http.MethodPut, "/todos/1", `{"name":"new"}`) })
}

func (w *struckWrite) await(written <-chan int) {
	w.Helper()
	w.Logf("the write was answered with status %d", gate.Await(w.T, "the write", written))
}

// awaitEndOfFence waits for it, and has the other nodes store what they then find.
func (w *struckWrite) awaitEndOfFence() {
	w.Helper()
	gate.Eventually(w.T, "the fence has ended", func() bool {
		kind, err := w.Redis.Do("GETRANGE", "aside:e2e:1:1", "0", "0").ToString()
		return err == nil && kind != "F"
	})
	w.readAtOthers()
}

func (w *struckWrite) readAtOthers() {
	for _, n := range w.Nodes {
		if n != w.writer {
			n.Get("1", "max-age=60")
		}
	}
}

// agree returns nil if all nodes answer what the database has.
func (w *struckWrite) agree() error {
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
