package record

import (
	"fmt"
	"math/rand/v2"
)

// Dist says how often each key is asked for.
type Dist string

const (
	// Uniform asks for every key with the same chance.
	Uniform Dist = "uniform"
	// Zipf asks for the i-th most popular key with a chance in proportion to i^-1.1.
	Zipf Dist = "zipf"
)

// tableSize is a power of two. A draw of random numbers costs more than a hit of
// the fastest cache, so the numbers are drawn before.
const tableSize = 1 << 20

// Picks is a sequence of indexes, the same one for everybody.
type Picks struct{ table []uint32 }

// NewPicks draws a sequence of indexes below n.
func NewPicks(d Dist, n int) (*Picks, error) {
	if n < 1 {
		return nil, fmt.Errorf("record: %d keys to pick from", n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() uint32 { return uint32(r.IntN(n)) }
	switch d {
	case Uniform:
	case Zipf:
		z := rand.NewZipf(r, 1.1, 1, uint64(n-1))
		// The popular keys lie scattered, as they do in life: beside each other
		// they would share cache lines.
		place := r.Perm(n)
		draw = func() uint32 { return uint32(place[z.Uint64()]) }
	default:
		return nil, fmt.Errorf("record: no distribution %q", d)
	}
	p := &Picks{table: make([]uint32, tableSize)}
	for i := range p.table {
		p.table[i] = draw()
	}
	return p, nil
}

// Picker walks the sequence. It is used by one goroutine.
type Picker struct {
	table []uint32
	at    uint32
}

// Picker returns the walk of the i-th goroutine, which begins at a place of its own.
func (p *Picks) Picker(i int) *Picker {
	return &Picker{table: p.table, at: uint32(i) * 104_729}
}

// Next returns the next index.
func (p *Picker) Next() int {
	p.at++
	return int(p.table[p.at&(tableSize-1)])
}
