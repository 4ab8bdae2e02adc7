package redisl2_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// clearing is a server with entries behind a tap that spoils pages of a Clear.
type clearing struct {
	*tap
	scans []string // the cursors that were asked for
}

// newClearing calls spoil with each SCAN, counted from 1; it holds the tap's lock.
func newClearing(t *testing.T, keys int, spoil func(p *tap, scan int, cmd []string) []string) *clearing {
	t.Helper()
	srv := testserver.Redis(t)
	admitted(t, open(t, redisl2.Options{URL: srv.URL()}))
	fill := []string{"EVAL", "for i = 1, ARGV[2] do redis.call('SET', ARGV[1] .. i, 'V') end", "0", prefix, fmt.Sprint(keys)}
	if err := srv.Do(fill...).Error(); err != nil && !strings.Contains(err.Error(), "nil") {
		t.Fatal(err)
	}
	c := &clearing{tap: newTap(t, srv)}
	c.replace(func(cmd []string) []string {
		if strings.Contains(strings.Join(cmd, " "), "selftest-") { // which a new connection begins with
			return cmd
		}
		if cmd[0] == "SCAN" {
			c.scans = append(c.scans, cmd[1])
		}
		return spoil(c.tap, len(c.scans), cmd)
	})
	return c
}

// clear runs Clear without a deadline.
func (c *clearing) clear(url string) error {
	c.t.Helper()
	s := open(c.t, redisl2.Options{URL: url, SilenceTimeout: time.Second})
	testsync.Eventually(c.t, "the server answers", func() bool { return s.Ping(context.Background()) == nil })
	return testsync.Await(c.t, "Clear", testsync.Async(func() error { return s.Clear(context.Background(), prefix) }))
}

// wantCleared says how often the scan was to begin at the first key.
func (c *clearing) wantCleared(starts int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, cursor := range c.scans {
		if cursor == "0" {
			n++
		}
	}
	if n != starts {
		c.t.Errorf("the scan began %d times, want %d; its cursors: %v", n, starts, c.scans)
	}
	wantEmpty(c.t, []*testserver.RedisServer{c.srv})
}

// hangUp closes all connections; the tap's lock is held.
func (p *tap) hangUp() {
	for c := range p.conns {
		_ = c.Close()
	}
}

// A lost connection costs the page that was asked for.
// Caught: a Clear that ended with it, and so had to begin again.
func TestClearGoesOnAfterALostConnection(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "INFO tells that the server is the same")
	c := newClearing(t, 8000, func(p *tap, scan int, cmd []string) []string {
		if cmd[0] == "SCAN" && scan%3 == 0 {
			p.hangUp()
		}
		return cmd
	})
	if err := c.clear(c.url()); err != nil {
		t.Error(err)
	}
	c.wantCleared(1)
}

// The same while keys are removed.
func TestClearRemovesAgainAfterALostConnection(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "INFO tells that the server is the same")
	removals := 0
	c := newClearing(t, 4000, func(p *tap, _ int, cmd []string) []string {
		if strings.HasPrefix(cmd[0], "EVAL") && cmd[2] != "0" {
			if removals++; removals == 40 || removals == 120 {
				p.hangUp()
			}
		}
		return cmd
	})
	if err := c.clear(c.url()); err != nil {
		t.Error(err)
	}
	c.wantCleared(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if removals < 120 {
		t.Errorf("%d removals", removals)
	}
}

// A page that hangs ends, and the next try asks for less.
// Caught: a Clear that ended with it.
func TestClearDoesNotWaitForAPageThatHangs(t *testing.T) {
	t.Parallel()
	var counts []string
	c := newClearing(t, 3000, func(_ *tap, scan int, cmd []string) []string {
		if cmd[0] != "SCAN" {
			return cmd
		}
		counts = append(counts, cmd[len(cmd)-1])
		if scan == 2 {
			return []string{"BLPOP", "nothing", "0"}
		}
		return cmd
	})
	if err := c.clear(c.url()); err != nil {
		t.Error(err)
	}
	c.wantCleared(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(counts[:3], " "); got != "1000 1000 100" {
		t.Errorf("asked for pages of %s", got)
	}
}

// Another run of the server has its keys in other places.
// Caught: going on with the cursor of the run before.
func TestClearStartsOverOnAnotherServer(t *testing.T) {
	t.Parallel()
	testserver.AllRights(t, "INFO tells that the server is another")
	c := newClearing(t, 5000, func(_ *tap, scan int, cmd []string) []string {
		if cmd[0] == "INFO" && scan > 3 {
			return []string{"EVAL", "return '# Server\\r\\nrun_id:other\\r\\n'", "0"}
		}
		return cmd
	})
	if err := c.clear(c.url()); err != nil {
		t.Error(err)
	}
	c.wantCleared(2)
}

// Who may not ask for the run cannot know it again after a lost connection.
func TestClearStartsOverWithoutInfo(t *testing.T) {
	t.Parallel()
	c := newClearing(t, 5000, func(p *tap, scan int, cmd []string) []string {
		if cmd[0] == "SCAN" && scan == 3 {
			p.hangUp()
		}
		return cmd
	})
	url := strings.Replace(restricted(c.srv), c.srv.Addr(), c.l.Addr().String(), 1)
	if err := c.clear(url); err != nil {
		t.Error(err)
	}
	c.wantCleared(2)
}

// A server that never answers a page ends it, with the caller's context still open.
func TestClearGivesUp(t *testing.T) {
	t.Parallel()
	c := newClearing(t, 1, func(p *tap, _ int, cmd []string) []string {
		if cmd[0] == "SCAN" {
			p.hangUp()
		}
		return cmd
	})
	err := c.clear(c.url())
	if err == nil || !strings.Contains(err.Error(), "after 5 tries") {
		t.Errorf("Clear: %v", err)
	}
}
