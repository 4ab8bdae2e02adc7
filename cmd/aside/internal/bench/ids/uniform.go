package ids

import (
	"fmt"
	"math/rand/v2"
)

// Uniform chooses every id with the same probability. It never ends.
func Uniform(ids Set, seed uint64) Workload { return uniform{ids, seed} }

type uniform struct {
	ids  Set
	seed uint64
}

func (u uniform) String() string { return fmt.Sprintf("uniform over %v, seed %d", u.ids, u.seed) }

func (u uniform) Once() Workload { return Scan(u.ids, false) }

func (u uniform) Start() func(uint64) Picker {
	return func(stream uint64) Picker { return &uniformPicker{u.ids, newRand(u.seed, stream)} }
}

type uniformPicker struct {
	ids Set
	rng *rand.Rand
}

func (p *uniformPicker) Next(dst []byte) ([]byte, bool) {
	return p.ids.append(dst, p.rng.Uint64N(p.ids.Len())), true
}
