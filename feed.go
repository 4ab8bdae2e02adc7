package aside

import (
	"context"
	"fmt"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/follower"
	"github.com/asidecache/aside/internal/outbox"
)

// Feed is the log of changes of a primary: see [driver.Feed]. Packages mongofeed and
// pgfeed make one of MongoDB and of PostgreSQL.
type Feed = driver.Feed

// FeedStats is what is known of the feed. The counters are of this process, and count
// only while this node follows.
type FeedStats struct {
	Attached bool   // Options.Feed is set
	Fed      bool   // changes made past the cache are seen
	Reason   string // why not
	Leads    bool   // this node follows the feed, for all nodes of the cache
	// Since is when Fed last changed; before, when the cache was made.
	Since time.Time

	Changes  uint64 // changes handled
	OwnLeft  uint64 // of these: the entry was left, since it was as new as the change
	Batches  uint64 // batches of changes
	Clears   uint64 // how often the cache was cleared: see Gaps, and what may have changed everything
	Gaps     uint64 // how often changes were missing
	WentBack uint64 // how often changes were told again, since L2 may have lost its latest commands

	// Lag is the time from the commit of the last change to the moment it had been
	// handled, by the clocks of the primary and of this node. LastChange is that moment.
	Lag        time.Duration
	LastChange time.Time
}

// makeFollower makes the follower of Options.Feed.
func (c *Cache[K, V]) makeFollower() {
	if c.opts.Feed == nil {
		return
	}
	f := follower.Config{
		Feed: c.opts.Feed, Key: "aside:" + c.opts.Name + ":feed:leader",
		Handle: c.handleChanges, Clear: c.clear,
		GoBack: c.opts.FeedGoBack, Silence: c.opts.FeedSilence, Log: c.log,
	}
	if c.l2 != nil {
		f.Lead, f.Whole = c.l2.lead, func() bool { return c.l2.degraded() == "" }
	}
	c.feed = follower.New(f, envelope.NewTokenOf(c.node))
}

func (c *Cache[K, V]) follow() {
	if c.feed == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.feedEnds, c.feedEnded = cancel, make(chan struct{})
	go func() {
		defer close(c.feedEnded)
		c.feed.Run(ctx)
	}()
}

// unfollow ends the follower, and lets another node lead.
func (c *Cache[K, V]) unfollow(ctx context.Context) error {
	if c.feed == nil {
		return nil
	}
	c.feedEnds()
	select {
	case <-c.feedEnded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("aside: closed before the feed was: %w", ctx.Err())
	}
}

func (c *Cache[K, V]) feedStats() (s FeedStats) {
	if c.feed == nil {
		return s
	}
	f := c.feed.Status()
	return FeedStats{
		Attached: true, Fed: f.Fed, Reason: f.Reason, Leads: f.Leads, Since: f.Since,
		Changes: f.Changes, OwnLeft: c.n.ownLeft.Load(), Batches: f.Batches, Clears: f.Clears, Gaps: f.Gaps, WentBack: f.WentBack,
		Lag: f.Lag, LastChange: f.LastChange,
	}
}

// changeBatch is how many changes L2 is told of at once.
const changeBatch = 256

// handleChanges drops what changes of the primary made old. told is false while L2
// could not be told of all of them.
func (c *Cache[K, V]) handleChanges(_ context.Context, changes []driver.Change) (told bool) {
	changes = lastOfEach(changes)
	for len(changes) > 0 {
		n := min(len(changes), changeBatch)
		if c.l2 == nil {
			c.dropOlderL1(changes[:n])
		} else {
			c.dropOlder(changes[:n])
		}
		changes = changes[n:]
	}
	return c.l2 == nil || c.outbox.Len(outbox.Write) == 0 && !c.outbox.Overflowed()
}

// dropOlder tells L2 of changes. Redis tells the nodes, this one too.
func (c *Cache[K, V]) dropOlder(changes []driver.Change) {
	reqs := make([]driver.ChangeRequest, len(changes))
	for i, ch := range changes {
		reqs[i] = driver.ChangeRequest{Key: c.prefix + ch.Key, Version: ch.Version, Deleted: ch.Deleted, Writer: ch.Writer}
	}
	failed := false
	for i, r := range c.l2.dropOlder(reqs) {
		c.sawFeed(changes[i], r.Left)
		switch {
		case r.Left:
			c.n.ownLeft.Add(1)
		case r.Err != nil:
			failed = true
			if k, err := c.keyOfChange(changes[i].Key); err == nil {
				c.invalidateL1(k)
				c.outbox.AddWrite(k, driver.Token{}, time.Now())
			}
		}
	}
	if failed {
		c.startRecovery()
	}
}

// dropOlderL1 does without L2 what dropOlder does.
func (c *Cache[K, V]) dropOlderL1(changes []driver.Change) {
	for _, ch := range changes {
		k, err := c.keyOfChange(ch.Key)
		if err != nil {
			continue
		}
		if e, ok := c.l1.Peek(k); ok {
			v := c.versionOf(e.Value, e.Marks)
			if e.Negative() && ch.Deleted || !e.Negative() && ch.Version > 0 && v >= ch.Version {
				c.n.ownLeft.Add(1)
				c.sawFeed(ch, true)
				continue
			}
		}
		c.invalidateL1(k)
		c.sawFeed(ch, false)
	}
}

// keyOfChange reads the key of a change. If that is not a key of this cache, nothing
// can be stored under it.
func (c *Cache[K, V]) keyOfChange(s string) (K, error) {
	k, err := c.parseKey(s)
	if err != nil {
		c.warn.do("key of a change", func() {
			c.log.Error("the feed names a record by a key that ParseKey refuses: does the feed take the key from the right field?", c.keyAttr(c.prefix+s), "error", err)
		})
	}
	return k, err
}

// lastOfEach makes one change of those of one key, at the place of the first.
func lastOfEach(changes []driver.Change) []driver.Change {
	if len(changes) < 2 {
		return changes
	}
	at := make(map[string]int, len(changes))
	out := make([]driver.Change, 0, len(changes))
	for _, ch := range changes {
		i, ok := at[ch.Key]
		if !ok {
			at[ch.Key] = len(out)
			out = append(out, ch)
			continue
		}
		out[i] = out[i].Then(ch)
	}
	return out
}
