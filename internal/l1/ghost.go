package l1

// ghost knows the hashes of about as many entries as there are in the shard: those that
// were evicted last. Each word has 16 bits of four of them. Of a hash that was never added
// it knows one in 8,000.
type ghost []uint64

// add remembers an entry that was evicted from among n.
func (g *ghost) add(hash uint64, n int) {
	if words := n/4 + 1; len(*g) < words-words/4 || len(*g) > 2*words {
		*g = make(ghost, words)
	}
	w := g.word(hash)
	*w = *w<<16 | mark(hash)
}

func (g *ghost) has(hash uint64) bool {
	if len(*g) == 0 {
		return false
	}
	for w := *g.word(hash); w != 0; w >>= 16 {
		if w&0xffff == mark(hash) {
			return true
		}
	}
	return false
}

func (g *ghost) word(hash uint64) *uint64 {
	return &(*g)[uint64(uint32(hash))*uint64(len(*g))>>32]
}

// mark is never 0.
func mark(hash uint64) uint64 { return hash>>32&0xffff | 1 }
