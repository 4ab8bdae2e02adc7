package flight

// Kind is what a caller asks of a flight, and what the flight of a leader gives.
type Kind uint8

const (
	// Fresh: the result is read anew, after the flight began.
	Fresh Kind = 1 << iota
	// Direct: the shared tier is not asked.
	Direct
)

// serves reports whether a flight of kind k does what a caller of kind want asks for. A
// caller who asks for nothing takes what any flight brings. A direct flight does not
// renew what the shared tier has, as a caller for Fresh alone wants.
func (k Kind) serves(want Kind) bool {
	return k&want == want && (want != Fresh || k&Direct == 0)
}

// JoinAs is Join for a caller who asks for a kind of flight, and says whether it wants
// the result to be kept. If the key's flight does not do for it, it leads one that takes
// its place: that is left to those in it, as after an invalidation.
func (g *Group[K, R]) JoinAs(key K, level int, kind Kind, keep bool) (c *Call[R], leader bool) {
	s := g.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.calls[key]; ok && !c.stale && !c.dropped && c.kind.serves(kind) {
		c.joined++
		c.waiting++
		c.keep = c.keep || keep
		if level > c.level {
			c.level = level
			c.notifyLocked()
		}
		return c, false
	}
	c = &Call[R]{mu: &s.mu, kind: kind, keep: keep, waiting: 1, level: level}
	if s.calls == nil {
		s.calls = make(map[K]*Call[R])
	}
	s.calls[key] = c
	return c, true
}

// Keep reports whether any caller so far wants the result to be kept.
func (c *Call[R]) Keep() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keep
}
