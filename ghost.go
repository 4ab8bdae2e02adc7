package aside

import "container/list"

// ghost is an LRU cache of so many keys' hashes, without values: it tells what a
// cache of that size would have hit.
type ghost struct {
	room  int
	order list.List // of hashes, the last used first
	at    map[uint64]*list.Element
}

// touch reports whether the key would have been a hit, and makes it one.
func (g *ghost) touch(hash uint64) bool {
	if e, ok := g.at[hash]; ok {
		g.order.MoveToFront(e)
		return true
	}
	if g.at == nil {
		g.at = make(map[uint64]*list.Element)
	}
	if len(g.at) >= g.room {
		oldest := g.order.Back()
		delete(g.at, oldest.Value.(uint64))
		g.order.Remove(oldest)
	}
	g.at[hash] = g.order.PushFront(hash)
	return false
}
