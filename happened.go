package aside

import (
	"context"
	"errors"
	"sync"
	"time"
)

// happenings are what Observer.Event is yet to be told. Some of it happens under locks
// of the parts that L1 and the breaker are made of, and in goroutines of L2 that bring
// the invalidations: none of these waits for a function of the program.
type happenings[K comparable] struct {
	wake  chan struct{}
	quit  chan struct{}
	ended chan struct{}

	mu     sync.Mutex
	queue  []happening[K]
	missed int
}

type happening[K comparable] struct {
	key   K
	keyed bool
	event Event
}

const (
	maxHappenings = 1024
	stateEvery    = time.Second
)

func newHappenings[K comparable]() *happenings[K] {
	return &happenings[K]{wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{})}
}

// add queues an event, unless too many wait.
func (h *happenings[K]) add(x happening[K]) {
	x.event.Time = time.Now()
	h.mu.Lock()
	if len(h.queue) >= maxHappenings && !x.event.Kind.ofState() {
		h.missed++
		h.mu.Unlock()
		return
	}
	x.event.Missed, h.missed = h.missed, 0
	h.queue = append(h.queue, x)
	h.mu.Unlock()
	h.poke()
}

// poke has the state looked at now.
func (h *happenings[K]) poke() {
	if h == nil {
		return
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *happenings[K]) take() []happening[K] {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.queue
	h.queue = nil
	return all
}

// happened tells the observer of what no caller has done.
func (c *Cache[K, V]) happened(k K, e Event) {
	if c.happenings != nil && e.Kind.ofNobody() {
		c.happenings.add(happening[K]{k, true, e})
	}
}

// happenedToAll is happened for what is of no single key.
func (c *Cache[K, V]) happenedToAll(e Event) {
	if c.happenings != nil {
		c.happenings.add(happening[K]{event: e})
	}
}

// ofNobody reports whether no caller of the cache has caused such an event.
func (k EventKind) ofNobody() bool {
	switch k {
	case EventInvalidation, EventChange, EventChangeKnown, EventReplace, EventDeliver, EventEvict, EventFlush:
		return true
	}
	return k.ofState()
}

// ofState reports whether it is one of the cache's state.
func (k EventKind) ofState() bool { return k >= EventDegraded && k <= EventFollow }

// tellHappenings calls Observer.Event until the cache is closed.
func (c *Cache[K, V]) tellHappenings() {
	h := c.happenings
	defer close(h.ended)
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	var state cacheState
	for {
		ending := false
		select {
		case <-h.wake:
		case <-tick.C:
		case <-h.quit:
			ending = true
		}
		if !ending {
			state = c.tellState(state)
		}
		for _, x := range h.take() {
			c.observerEvent(x)
		}
		if ending {
			return
		}
	}
}

func (c *Cache[K, V]) observerEvent(x happening[K]) {
	var key any
	if x.keyed {
		key = x.key
	}
	var err error
	defer c.recovered("Observer.Event", &err)
	c.opts.Observer.Event(key, x.event)
}

// close tells what waits, and ends.
func (h *happenings[K]) close(ctx context.Context) {
	if h == nil {
		return
	}
	close(h.quit)
	select {
	case <-h.ended:
	case <-ctx.Done():
	}
}

// cacheState is what was told last.
type cacheState struct {
	cause      DegradedCause
	fed, leads bool
	known      bool // of the feed
}

// tellState tells what has changed of the cache's state.
func (c *Cache[K, V]) tellState(was cacheState) cacheState {
	s := c.Stats()
	is := cacheState{s.DegradedCause, s.Feed.Fed, s.Feed.Leads, s.Feed.Attached}
	switch {
	case is.cause == was.cause:
	case is.cause == "":
		c.happenedToAll(Event{Kind: EventRestored})
	default:
		c.happenedToAll(Event{Kind: EventDegraded, Cause: is.cause, Err: errors.New(s.DegradedReason)})
	}
	switch {
	case !is.known || was.known && is.fed == was.fed:
	case is.fed:
		c.happenedToAll(Event{Kind: EventFed})
	default:
		c.happenedToAll(Event{Kind: EventUnfed, Err: errors.New(s.Feed.Reason)})
	}
	switch {
	case is.leads == was.leads:
	case is.leads:
		c.happenedToAll(Event{Kind: EventLead})
	default:
		c.happenedToAll(Event{Kind: EventFollow})
	}
	return is
}
