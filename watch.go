package aside

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/l1"
)

// EventKind is what happened to a key.
type EventKind uint8

const (
	EventRead          EventKind = iota + 1 // a read was answered, as Event.Info says
	EventLoad                               // a load ended; Took includes its wait for a slot
	EventWait                               // another node is loading the key, and a read waits for it
	EventFill                               // a loaded value was stored in L2, or in L1 alone if there is no L2
	EventFillRefused                        // a loaded value was not stored: a write came between
	EventFillFailed                         // L2 failed while a loaded value was to be stored
	EventReplace                            // the entry in L2 was of no use and is replaced; Err says why
	EventInvalidation                       // L2 reports that a node changed the key, this one too, or that L2 dropped it
	EventChange                             // the feed told of a change, and what was older was dropped
	EventChangeKnown                        // the feed told of a change that the entry contains already
	EventWrite                              // a write of this node has begun
	EventFence                              // it has put its fence on the key in L2
	EventFenceFailed                        // it could not: see Options.OnL2Down
	EventPublish                            // it ended, and its value was stored
	EventRelease                            // it ended, and the key was removed; Err is the error of the write function
	EventReleaseFailed                      // it ended, and L2 could not be told: that is queued
	EventFenceLost                          // it ended, and its fence was gone
	EventUnknown                            // it ended, and nobody knows whether the primary applied it
	EventDeliver                            // L2 was told of an earlier write, whose end it did not know of
	EventDrop                               // Invalidate was called on this node
	EventEvict                              // L1 was full and evicted the key
	EventFlush                              // L1 was emptied, of all keys
	EventRefresh                            // a refresh has begun in the background

	// Those of the cache's state are for an Observer alone.
	EventDegraded // L2 is not, or not fully, in use: Cause, and Err in words; again if the cause changes
	EventRestored // L2 is in use
	EventFed      // changes made past the cache are seen
	EventUnfed    // they are not: Err says why
	EventLead     // this node follows the feed
	EventFollow   // it does not any more
)

var eventNames = [...]string{
	EventRead: "read", EventLoad: "load", EventWait: "wait", EventFill: "fill", EventFillRefused: "fill-refused",
	EventFillFailed: "fill-failed", EventReplace: "replace", EventInvalidation: "invalidation", EventChange: "change",
	EventChangeKnown: "change-known", EventWrite: "write", EventFence: "fence", EventFenceFailed: "fence-failed",
	EventPublish: "publish", EventRelease: "release", EventReleaseFailed: "release-failed", EventFenceLost: "fence-lost",
	EventUnknown: "outcome-unknown", EventDeliver: "deliver", EventDrop: "drop", EventEvict: "evict", EventFlush: "flush",
	EventRefresh:  "refresh",
	EventDegraded: "degraded", EventRestored: "restored", EventFed: "fed", EventUnfed: "unfed", EventLead: "lead", EventFollow: "follow",
}

// String returns one word, of small letters and hyphens.
func (k EventKind) String() string {
	if int(k) < len(eventNames) && eventNames[k] != "" {
		return eventNames[k]
	}
	return "none"
}

// Event is something that happened to a key on this node.
type Event struct {
	Time time.Time // when it happened
	Kind EventKind
	Info Info          // of an EventRead
	Took time.Duration // how long it took; 0: not measured
	// Version is that of the record, or of the feed's change, if it is known.
	Version uint64
	Err     error         // why it failed
	Cause   DegradedCause // of an EventDegraded
	// Missed is how many events were left out before this one, because too many earlier
	// ones waited for the function.
	Missed int
}

// Watch calls f for each event of key on this node, in order, one at a time, until stop is
// called or the cache is closed. It is for people who want to see what the cache does, not
// for programs that need every event: f runs in a goroutine of its own, and if 256 events
// wait for it, the next ones are left out (Event.Missed).
//
// After stop has returned, f does not run any more. So f must not call stop. Watching
// a key costs the operations on it about a microsecond, those on other keys a lookup
// in a small map.
func (c *Cache[K, V]) Watch(key K, f func(Event)) (stop func()) {
	if checkKeys(key) != nil {
		return func() {}
	}
	w := &watcher{queue: make(chan Event, maxQueuedEvents), done: make(chan struct{}), ended: make(chan struct{})}
	if !c.watchers.add(c.l1.Watch, key, w) {
		return func() {}
	}
	go func() {
		defer close(w.ended)
		for {
			select {
			case <-w.done:
				return
			case e := <-w.queue:
				if !w.stopped() {
					c.onEvent(f, e)
				}
			}
		}
	}()
	return func() {
		c.watchers.remove(c.l1.Watch, key, w)
		w.stop()
		<-w.ended
	}
}

func (c *Cache[K, V]) onEvent(f func(Event), e Event) {
	var err error
	defer c.recovered("Watch", &err)
	f(e)
}

const maxQueuedEvents = 256

// watcher is one Watch.
type watcher struct {
	queue chan Event
	done  chan struct{} // asked to end
	ended chan struct{}
	once  sync.Once

	mu     sync.Mutex // of those who put into queue
	missed int
}

func (w *watcher) stop() { w.once.Do(func() { close(w.done) }) }

func (w *watcher) stopped() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// add queues an event.
func (w *watcher) add(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Missed = w.missed
	select {
	case w.queue <- e:
		w.missed = 0
	default:
		w.missed++
	}
}

// watchers are those of one cache. Operations look at them without a lock.
type watchers[K comparable] struct {
	by     atomic.Pointer[map[K][]*watcher] // nil: nobody watches. A map is never changed.
	mu     sync.Mutex
	closed bool
}

// add adds a watcher, unless the cache is closed. watched is told whether there are any.
func (ws *watchers[K]) add(watched func(bool), key K, w *watcher) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return false
	}
	by := map[K][]*watcher{}
	if old := ws.by.Load(); old != nil {
		by = maps.Clone(*old)
	}
	by[key] = append(slices.Clone(by[key]), w)
	ws.by.Store(&by)
	watched(true)
	return true
}

func (ws *watchers[K]) remove(watched func(bool), key K, w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	old := ws.by.Load()
	if old == nil {
		return
	}
	by := maps.Clone(*old)
	left := slices.DeleteFunc(slices.Clone(by[key]), func(x *watcher) bool { return x == w })
	if by[key] = left; len(left) == 0 {
		delete(by, key)
	}
	if len(by) > 0 {
		ws.by.Store(&by)
		return
	}
	ws.by.Store(nil)
	watched(false)
}

// close ends all watchers, but for a function that runs.
func (ws *watchers[K]) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	if by := ws.by.Swap(nil); by != nil {
		for _, of := range *by {
			for _, w := range of {
				w.stop()
			}
		}
	}
}

// watched reports whether anybody watches any key.
func (c *Cache[K, V]) watched() bool { return c.watchers.by.Load() != nil }

// saw tells those who watch a key what happened to it.
func (c *Cache[K, V]) saw(k K, kind EventKind, took time.Duration, version uint64, err error) {
	e := Event{Kind: kind, Took: took, Version: version, Err: err}
	if c.watched() {
		c.tell(k, e)
	}
	c.happened(k, e)
}

// sawAll is saw for several keys.
func (c *Cache[K, V]) sawAll(keys []K, kind EventKind, took time.Duration, err error) {
	if c.watched() {
		for _, k := range keys {
			c.tell(k, Event{Kind: kind, Took: took, Err: err})
		}
	}
}

// sawRead tells of a read that L1 did not answer.
func (c *Cache[K, V]) sawRead(q *query[K, V], k K, r *Result[V]) {
	c.l1.See(k)
	if c.watched() {
		e := Event{Kind: EventRead, Info: r.Info, Version: r.Version, Err: r.Err}
		if !q.began.IsZero() {
			e.Took = time.Since(q.began)
		}
		c.tell(k, e)
	}
}

// sawLoad tells that a load has ended.
func (c *Cache[K, V]) sawLoad(j *job[K, V], took time.Duration, err error) {
	c.top.slow.Raise(j.key, int64(took), time.Now())
	c.saw(j.key, EventLoad, took, j.ans.Version, err)
}

// sawInsert tells what became of a loaded value that L1 alone may store.
func (c *Cache[K, V]) sawInsert(j *job[K, V], inserted bool) {
	switch {
	case inserted:
		c.saw(j.key, EventFill, 0, j.ans.Version, nil)
	case j.mode == fillL1:
		c.saw(j.key, EventFillRefused, 0, j.ans.Version, nil)
	}
}

// sawWrite tells that a write has begun.
func (c *Cache[K, V]) sawWrite(keys []K) {
	now := time.Now()
	for _, k := range keys {
		c.top.written.Add(k, 1, now)
	}
	c.sawAll(keys, EventWrite, 0, nil)
}

// sawPublish tells that a write has ended with a value that L2 took.
func (c *Cache[K, V]) sawPublish(k K, took time.Duration, l loaded[V], entry []byte) {
	c.top.big.Raise(k, int64(len(entry)), time.Now())
	c.saw(k, EventPublish, took, l.version, nil)
}

// sawHit tells of a read that L1 has answered.
func (c *Cache[K, V]) sawHit(k K, e l1.Entry[V]) {
	if !c.watched() {
		return
	}
	ev := Event{Kind: EventRead, Info: Info{Source: SourceL1, Negative: e.Negative(), Stale: e.Stale(), Miss: missOf(e)}}
	if e.Negative() {
		ev.Err = ErrNotFound
	} else {
		ev.Info.Version = c.versionOf(e.Value, e.Marks)
		ev.Version = ev.Info.Version
	}
	c.tell(k, ev)
}

// sawFlush tells those who watch any key.
func (c *Cache[K, V]) sawFlush() {
	c.happenedToAll(Event{Kind: EventFlush})
	by := c.watchers.by.Load()
	if by == nil {
		return
	}
	for k := range *by {
		c.tell(k, Event{Kind: EventFlush})
	}
}

// sawFeed tells of a change of the feed. left: the entry contains it already.
func (c *Cache[K, V]) sawFeed(ch driver.Change, left bool) {
	if !c.watched() && c.happenings == nil {
		return
	}
	if k, err := c.parseKey(ch.Key); err == nil {
		kind := EventChange
		if left {
			kind = EventChangeKnown
		}
		c.saw(k, kind, 0, ch.Version, nil)
	}
}

// watchClock is the time if somebody watches, and zero otherwise: reading the clock
// costs more than to look.
func (c *Cache[K, V]) watchClock() (now time.Time) {
	if c.watched() {
		now = time.Now()
	}
	return now
}

func (c *Cache[K, V]) tell(k K, e Event) {
	by := c.watchers.by.Load()
	if by == nil {
		return
	}
	of := (*by)[k]
	if len(of) == 0 {
		return
	}
	e.Time = time.Now()
	for _, w := range of {
		w.add(e)
	}
}
