package follower

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/asidecache/aside/driver"
)

// Status is what a follower knows of the feed.
type Status struct {
	Fed    bool      // this node follows, or stands by while another one follows
	Reason string    // why it is not fed
	Leads  bool      // this node follows
	Since  time.Time // when Fed changed last; before, when the follower was made

	// Since this follower began.
	Changes, Batches, Clears, Gaps, WentBack uint64
	// Lag is how long before it was handled the last change was committed, by the clocks
	// of the primary and of this node; LastChange is when it was handled.
	Lag        time.Duration
	LastChange time.Time

	logged logged
	// loggedLeads: and that this node follows.
	loggedLeads bool
}

// logged is what the log says last.
type logged uint8

const (
	loggedNothing logged = iota
	loggedFed
	loggedNotFed
)

// Status returns what is known now.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.status
}

func (s *Status) handled(b driver.Batch, now time.Time) {
	if len(b.Changes) == 0 && !b.All {
		return
	}
	s.Batches++
	s.Changes += uint64(len(b.Changes))
	s.LastChange = now
	if !b.Committed.IsZero() {
		s.Lag = max(0, now.Sub(b.Committed))
	}
}

// fed notes that this node follows.
func (f *Follower) fed() { f.set(true, true, "") }

const justBegun = "the node that follows the feed has just begun"

// standsBy notes what the leader says.
func (f *Follower) standsBy(l driver.Leadership) {
	var s state
	switch {
	case !l.Led:
		s.Reason = "no node follows the feed"
	case json.Unmarshal(l.State, &s) != nil, !s.Fed && s.Reason == "":
		s = state{Reason: justBegun}
	}
	f.set(s.Fed, false, s.Reason)
}

// notFed notes why changes are not seen. The end of ctx is no reason.
func (f *Follower) notFed(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	f.mu.Lock()
	leads := f.status.Leads
	f.mu.Unlock()
	f.set(false, leads, err.Error())
}

// set changes the status, and logs whether this node is fed if that is new.
func (f *Follower) set(fed, leads bool, reason string) {
	now := loggedFed
	if !fed {
		now = loggedNotFed
	}
	f.mu.Lock()
	if fed != f.status.Fed {
		f.status.Since = time.Now()
	}
	f.status.Fed, f.status.Leads, f.status.Reason = fed, leads, reason
	changed := f.status.logged != now
	f.status.logged = now
	moved := fed && leads != f.status.loggedLeads
	if fed {
		f.status.loggedLeads = leads
	}
	f.mu.Unlock()
	switch {
	case changed && reason == justBegun: // it will be known in a moment
		f.mu.Lock()
		f.status.logged = loggedNothing
		f.mu.Unlock()
	case changed && fed:
		f.Log.Info("changes made past the cache are seen", "this_node_follows", leads)
	case changed:
		f.Log.Warn("changes made past the cache are not seen until their TTL", "reason", reason)
	case moved && leads:
		f.Log.Info("this node follows the feed now")
	case moved:
		f.Log.Info("another node follows the feed now")
	}
}
