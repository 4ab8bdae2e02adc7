package aside

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/internal/tags"
)

// InvalidateTag drops all entries that have one of the tags, from all tiers and nodes. It
// needs one round trip for any number of entries. It is as strong as Invalidate. After it
// has returned, a Strong read on any node, and every read of this process, gets only records
// that were read from the primary after InvalidateTag began. A load that began earlier does
// not bring an old record back.
//
// An entry has the tags that its loader, or the write that published it, gave it
// (Loaded.Tags). Entries without tags stay. docs/guide/tags.md has more.
//
// At most 1000 tags at once, each of 1 to 128 bytes. If L2 is unavailable, the
// invalidation counts on this node at once, and is queued for the others; with FailClosed,
// InvalidateTag then returns ErrL2Unavailable.
func (c *Cache[K, V]) InvalidateTag(ctx context.Context, tags ...string) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	tags = unique(tags)
	if len(tags) > driver.MaxTagsAtOnce {
		return fmt.Errorf("aside: InvalidateTag of %d tags, want at most %d at once", len(tags), driver.MaxTagsAtOnce)
	}
	for _, t := range tags {
		if len(t) == 0 || len(t) > driver.MaxTagLen {
			return fmt.Errorf("aside: InvalidateTag of a tag of %d bytes, want 1 to %d", len(t), driver.MaxTagLen)
		}
	}
	if !c.inflight.begin() {
		return ErrClosed
	}
	defer c.inflight.done(1)
	if len(tags) == 0 {
		return nil
	}
	if op := c.startOp(ctx, OpInvalidateTag, 0); op != nil {
		defer func() { c.endOp(op, OpResult{Err: err}) }()
	}
	c.n.tagInvalidations.Add(uint64(len(tags)))
	switch {
	case c.l2 == nil:
		c.tags.Invalidate(tags)
		return nil
	case c.l2.tagging == nil:
		return fmt.Errorf("%w: the L2 (%T) is not a driver.Tagging", errNoTags, c.l2.l2)
	}
	err = c.askTags(tags)
	if err == nil {
		return nil
	}
	c.tags.Pend(tags) // also if L2 may have done it
	return c.queued(err)
}

var (
	errNoTags = errors.New("aside: this cache cannot have tags")
	// errTagged: not said in the log. It is what somebody has asked for.
	errTagged = errors.New("aside: a tag of the entry was invalidated")
	errUntold = errors.New("aside: the table of tags changes faster than it can be read")
)

// tagging is what a cache has for tags. With L2 it does nothing before it meets one.
type tagging struct {
	*tags.Mirror
	table string // its key in L2

	armed   atomic.Bool
	asked   atomic.Int64 // when the table was asked for last, in Unix ns
	mu      sync.Mutex   // guards what is below
	unwatch func()
	running bool // refreshTags
	wanted  bool
	next    *tagCall // see askTagsOnce
}

func (c *Cache[K, V]) initTags() {
	c.tags.Mirror = tags.NewMirror(c.opts.MaxTags)
	c.tags.table = "aside:" + c.opts.Name + ":tags:table"
	if c.opts.L2 == nil {
		c.tags.Alone()
	}
}

// armTags has this node told of changes of the table, from the first time that it needs
// to know of them.
func (c *Cache[K, V]) armTags() error {
	t := &c.tags
	if t.armed.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.armed.Load() {
		return nil
	}
	stop, err := c.l2.l2.Watch(t.table[:len(t.table)-len("table")], driver.Watcher{
		Changed: func(string) { t.Moved(); c.refreshTags() },
		Lost:    c.lostTags,
	})
	if err != nil {
		return err
	}
	t.unwatch = stop
	t.armed.Store(true)
	return nil
}

func (c *Cache[K, V]) closeTags() {
	c.tags.mu.Lock()
	stop := c.tags.unwatch
	c.tags.mu.Unlock() // a notice may be on its way, for which stop waits
	if stop != nil {
		stop()
	}
}

// askTags invalidates tags in the table, and learns what this node does not know of it.
// What it learns is from after the call.
func (c *Cache[K, V]) askTags(invalidate []string) error {
	if err := c.armTags(); err != nil {
		return err
	}
	for range 5 {
		q := c.tags.Ask(c.tags.table, invalidate)
		a, err := c.l2.tags(q.TagRequest)
		if err != nil {
			return err
		}
		c.tags.asked.Store(time.Now().UnixNano())
		if again, _ := c.tags.Learn(q, a); !again {
			return nil
		}
		invalidate = nil
	}
	return errUntold
}

// tagCall is a question that several may wait for.
type tagCall struct {
	done chan struct{}
	err  error
}

// wait waits for the answer, until ctx ends. The question goes on for others.
func (t *tagCall) wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// callForTags asks in the background, after it has called sent.
func (c *Cache[K, V]) callForTags(sent func()) *tagCall {
	call := &tagCall{done: make(chan struct{})}
	go func() {
		sent()
		call.err = c.askTags(nil)
		close(call.done)
	}()
	return call
}

// askTagsOnce is askTags for those who need no answer of their own: it joins a question
// that is yet to be sent. It waits until ctx ends.
func (c *Cache[K, V]) askTagsOnce(ctx context.Context) error {
	t := &c.tags
	t.mu.Lock()
	call := t.next
	if call == nil {
		call = c.callForTags(func() {
			t.mu.Lock()
			t.next = nil
			t.mu.Unlock()
		})
		t.next = call
	}
	t.mu.Unlock()
	return call.wait(ctx)
}

// refreshTags asks for the table in the background, once more if asked meanwhile. If that
// fails although a change was told, L1 is not trusted any more.
func (c *Cache[K, V]) refreshTags() {
	t := &c.tags
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted = true
	if t.running || !c.inflight.begin() {
		return
	}
	t.running = true
	go func() {
		defer c.inflight.done(1)
		for {
			t.mu.Lock()
			t.running = t.wanted
			t.wanted = false
			stop := !t.running
			t.mu.Unlock()
			if stop {
				return
			}
			if c.askTags(nil) != nil && t.Watched() {
				c.dropTagged()
			}
		}
	}()
}

// lostTags: changes of the table may have been missed.
func (c *Cache[K, V]) lostTags() {
	c.dropTagged()
	c.refreshTags()
}

// dropTagged empties L1, since nobody tells this node of tags.
func (c *Cache[K, V]) dropTagged() {
	c.tags.Lost()
	c.n.l1Flushes.Add(1)
	c.flushL1()
	c.sawFlush()
}

// touchTags is how often at least the table is asked for while entries with tags are
// loaded, so that L2 does not take it for something that nobody uses.
const touchTags = time.Minute

// stampNow returns the moment for a record that is read from now on, after it has asked
// for the table if need be, for as long as ctx lasts. ok is false if L2 may not have such an
// entry.
func (c *Cache[K, V]) stampNow(ctx context.Context) (s tags.Stamp, ok bool) {
	if c.l2 != nil && c.l2.tagging != nil {
		switch {
		case !c.tags.Watched():
			if c.l2.usable() {
				_ = c.askTagsOnce(ctx) // without it, the moment is an earlier one, or none
			}
		case time.Now().UnixNano()-c.tags.asked.Load() > int64(touchTags):
			c.tags.asked.Store(time.Now().UnixNano())
			c.refreshTags()
		}
	}
	return c.tags.Stamp()
}

// stampLoad notes in the jobs of a load when it began, if it may bring tags. ok is false if
// its time was over before that was known.
func (c *Cache[K, V]) stampLoad(l *running[K, V]) (ok bool) {
	if !c.tellsTags(l.jobs[0]) {
		return true
	}
	s, stamped := c.stampNow(l)
	for _, j := range l.jobs {
		j.stamp, j.stamped = s, stamped
	}
	return l.Err() == nil
}

// tellsTags reports whether the loader of a job may tell tags.
func (c *Cache[K, V]) tellsTags(j *job[K, V]) bool {
	is := func(loader any) bool {
		switch loader.(type) {
		case EntryLoader[K, V], BulkEntryLoader[K, V]:
			return true
		}
		return false
	}
	return c.opts.Tags != nil || j.bulk != nil && is(j.bulk.loader) || is(j.loader) || j.own && (is(c.opts.Loader) || is(c.opts.BulkLoader))
}

// mark makes the marks of what was told. s is when the tags begin to count.
func (c *Cache[K, V]) mark(t *told, s tags.Stamp, stamped bool) {
	if len(t.tags) > 0 {
		c.markTags(t, s, stamped)
	}
	version := uint64(0)
	if t.stated {
		version = t.version
	}
	t.marks = t.marks.Tell(version, t.etag)
}

func (c *Cache[K, V]) markTags(t *told, s tags.Stamp, stamped bool) {
	if c.l2 != nil && c.l2.tagging == nil {
		c.warn.do("no tags", func() {
			c.log.Warn("records with tags are not stored: the L2 is not a driver.Tagging", "l2", fmt.Sprintf("%T", c.l2.l2))
		})
		t.noStore = true
	}
	t.marks, t.unstamped = tags.NewMarks(t.tags, s), !stamped
}

// marked is how long an entry with these marks may stay in L1.
func (c *Cache[K, V]) marked(m *tags.Marks, ttl time.Duration) time.Duration {
	if m.Tagged() && !c.tags.Watched() {
		return min(ttl, c.opts.DegradedL1TTL) // as with all that nobody tells of changes
	}
	return ttl
}

// marksOf returns the marks of an entry of L2.
func marksOf(e envelope.Entry) *tags.Marks {
	return tags.NewMarks(e.Tags, tags.Stamp{TagStamp: driver.TagStamp{Epoch: binary.BigEndian.Uint64(e.TagEpoch[:]), Seq: e.TagSeq}})
}

// stampEntry gives an entry for L2 its tags.
func stampEntry(e *envelope.Entry, m *tags.Marks) {
	if m == nil {
		return
	}
	e.Tags, e.TagSeq = m.Tags, m.Stamp.Seq
	binary.BigEndian.PutUint64(e.TagEpoch[:], m.Stamp.Epoch)
}

// judgeEntry judges what L2 has of a job's key. The error is errTagged if it has been
// invalidated, that of ctx if this has ended before anybody could tell, and another one if
// nobody can tell now.
func (c *Cache[K, V]) judgeEntry(ctx context.Context, j *job[K, V], m *tags.Marks) error {
	if c.l2.tagging == nil {
		return errNoTags
	}
	var err error
	switch {
	case j.strong:
		err = c.askAsStrong(ctx, j)
	default:
		// What this node knows of tags is as of now. So this answer is for default reads
		// alone, whenever they came.
		j.asOf = 0
		if !c.tags.Watched() {
			err = c.askTagsOnce(ctx)
		}
	}
	if err != nil {
		return err
	}
	v := c.tags.Judge(m)
	if v == tags.Unknown {
		if err := c.askTagsOnce(ctx); err != nil {
			return err
		}
		if v = c.tags.Judge(m); v == tags.Unknown && c.tags.WentBack(m) {
			c.refreshTags() // and so has it begin anew
		}
	}
	if v != tags.Useful {
		return errTagged
	}
	return nil
}

// askAsStrong has this node know of all tags that were invalidated before a strong read
// began.
func (c *Cache[K, V]) askAsStrong(ctx context.Context, j *job[K, V]) error {
	if j.head == nil {
		j.head = c.callForTags(func() {})
	}
	return j.head.wait(ctx)
}

// goodPrevious reports whether a job's loader may be given what has these marks.
func (c *Cache[K, V]) goodPrevious(ctx context.Context, j *job[K, V], m *tags.Marks) bool {
	switch {
	case !m.Tagged():
		return true
	case c.l2 != nil && j.strong && (c.l2.tagging == nil || c.askAsStrong(ctx, j) != nil):
		return false
	}
	return c.tags.Good(m)
}

// headOfTags asks for the table in the round trip of a lookup, if a strong read is among
// the jobs and this node has met tags.
func (c *Cache[K, V]) headOfTags(jobs []*job[K, V]) {
	if c.l2.tagging == nil {
		return
	}
	armed := c.tags.armed.Load()
	var call *tagCall
	for _, j := range jobs {
		if j.head = nil; !j.strong || !armed { // what an earlier lookup has asked is too old
			continue
		}
		if call == nil {
			call = c.callForTags(func() {})
		}
		j.head = call
	}
}

// tellTags tells L2 of the invalidations that it was not told of.
func (c *Cache[K, V]) tellTags() (progress bool) {
	for c.l2 != nil && c.tags.Pending() > 0 {
		names, all, upTo := c.tags.Owed(driver.MaxTagsAtOnce)
		if c.askTags(names) != nil {
			return progress
		}
		c.tags.Told(names, all, upTo)
		progress = true
	}
	return progress
}

// publishesTags reports whether a write may publish a record with tags.
func (c *Cache[K, V]) publishesTags() bool {
	if c.l2.tagging == nil {
		return false
	}
	if c.tags.armed.Load() || c.opts.Tags != nil {
		return true
	}
	_, tells := c.opts.Loader.(EntryLoader[K, V])
	return tells
}
