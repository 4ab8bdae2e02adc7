package flight

import (
	"slices"
	"sync"
)

// Load is what brings the results of flights. Its loader may wait for flights in
// turn, also for those of other Groups. Loads that wait for each other in a circle
// would never end, so who is about to close it is told (Await).
type Load struct {
	Outer *Load // the load whose loader has begun this one, if one has

	// guarded by waits
	awaits  []awaited
	visited uint64
}

// awaited is a Call of any Group.
type awaited interface{ pending() *Load }

// waits are all that loads wait for in this process. Only loaders that read through
// a cache come here.
var waits struct {
	sync.Mutex
	visit uint64
}

// LoadedBy tells which load brings the result.
func (c *Call[R]) LoadedBy(l *Load) { c.by.Store(l) }

// pending returns the load that is to bring the result, if it has begun and the
// result is not there.
func (c *Call[R]) pending() *Load {
	if c.done.happened() || c.published.happened() && !c.early {
		return nil
	}
	return c.by.Load() // after Early some may still wait for the result
}

// Await says that the load's loader waits for a flight until Awaited. It returns
// false if that flight waits for this load: then the caller leaves the flight.
func Await[R any](l *Load, c *Call[R]) bool {
	waits.Lock()
	waits.visit++
	circle := waitsFor(c, l)
	if !circle {
		l.awaits = append(l.awaits, c)
	}
	waits.Unlock()
	if circle {
		c.leave(false)
	}
	return !circle
}

// waitsFor reports whether a flight waits for a load, or for one that waits for it
// since it has begun it.
func waitsFor(c awaited, l *Load) bool {
	by := c.pending()
	if by == nil || by.visited == waits.visit {
		return false
	}
	for o := l; o != nil; o = o.Outer {
		if o == by {
			return true
		}
	}
	by.visited = waits.visit
	return slices.ContainsFunc(by.awaits, func(a awaited) bool { return waitsFor(a, l) })
}

// Awaited ends what Await has begun.
func Awaited[R any](l *Load, c *Call[R]) {
	waits.Lock()
	defer waits.Unlock()
	i := slices.Index(l.awaits, awaited(c))
	last := len(l.awaits) - 1
	l.awaits[i] = l.awaits[last]
	l.awaits[last] = nil
	l.awaits = l.awaits[:last]
}
