package flight

// Early answers a flight before its result is known, with one that is good enough for
// those who are content with TrustLocal; the others wait on. Nobody joins the flight from
// then on. ok is false if the result is known. alone: nobody waits on, so the flight may
// be closed without a result.
func (g *Group[K, R]) Early(key K, c *Call[R], r R) (alone, ok bool) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.published.happened() {
		return false, false
	}
	c.early, c.result = true, r
	c.published.happensLocked()
	if s.calls[key] == c {
		delete(s.calls, key)
	}
	c.waiting++ // whoever answers early wants the result
	c.own++
	return c.strict == 0, true
}

// Lead makes the caller the leader of a new flight of the key, in which nobody waits,
// unless there is one that can be joined.
func (g *Group[K, R]) Lead(key K) (c *Call[R], leader bool) {
	if c, leader = g.Join(key, 0); leader {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.own++
		return c, true
	}
	c.leave(false)
	return nil, false
}

// Apart returns a flight that nobody joins and nobody waits for.
func (g *Group[K, R]) Apart(key K) *Call[R] {
	return &Call[R]{mu: &g.shard(key).mu, waiting: 1, own: 1}
}

// Answered reports whether Early has answered the flight.
func (c *Call[R]) Answered() bool { return c.published.happened() && c.early }

// Unneeded reports whether nobody waits for the flight's result.
func (c *Call[R]) Unneeded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unneededLocked()
}

func (c *Call[R]) unneededLocked() bool { return c.waiting <= c.own || c.early && c.strict == 0 }

// DropUnneeded is Drop for a flight that nobody waits for.
func (c *Call[R]) DropUnneeded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropped = c.dropped || c.unneededLocked()
	return c.dropped
}
