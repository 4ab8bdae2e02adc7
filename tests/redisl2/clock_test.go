package redisl2_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/tests/testserver"
)

// Leases and fences are judged by the server's clock alone: what a client says
// about time is how long, never when, so clients whose clocks are wrong cannot
// end each other's locks. Caught: a fence that is sent with its end.
func TestNoCommandCarriesAClientsClock(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	p := newPrimary("k")
	tap := newTap(t, srv)
	n := newNode(t, p, tap.url(), func(o *options) { o.StaleFor = time.Minute })
	n.warm("k")
	n.update("k")
	_, _ = n.Get(context.Background(), "absent", p)
	if err := n.Write(context.Background(), "k", func(context.Context, *aside.WriteTx[string, rec]) error {
		return aside.Aborted(errors.New("refused"))
	}); err == nil {
		t.Error("the write succeeded")
	}
	if err := n.Invalidate(context.Background(), "k"); err != nil {
		t.Fatal(err)
	}
	tap.mu.Lock()
	defer tap.mu.Unlock()
	durations := 0
	for _, c := range tap.cmds {
		if !strings.HasPrefix(c[0], "EVAL") {
			continue
		}
		for _, arg := range c[3:] {
			ms, err := strconv.ParseInt(arg, 10, 64)
			if err != nil {
				continue // a key, a token, an entry
			}
			if durations++; ms > (24 * time.Hour).Milliseconds() {
				t.Errorf("%q: %d is a time, not a duration", c[0], ms)
			}
		}
	}
	if durations < 8 {
		t.Errorf("looked at %d durations, want those of acquire, fill, fence and release", durations)
	}
}
