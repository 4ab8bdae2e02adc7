package ids

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// HotSet sends a share of the requests to a share of the ids, the hot ones, and the rest to
// the other ids. It never ends. Within both parts every id has the same probability. The
// seed chooses the hot ids. Both shares must be greater than 0 and less than 1. At least
// one id is hot, and at least one is not.
func HotSet(ids Set, ofRequests, ofIDs float64, seed uint64) (Workload, error) {
	for name, share := range map[string]float64{"requests": ofRequests, "ids": ofIDs} {
		if !(share > 0 && share < 1) {
			return nil, fmt.Errorf("the hot share of %s must be greater than 0 and less than 1, is %v", name, share)
		}
	}
	n := ids.Len()
	if n < 2 {
		return nil, fmt.Errorf("a hot set needs at least two ids, got %v", ids)
	}
	hot := min(max(uint64(math.Round(float64(n)*ofIDs)), 1), n-1)
	return &hotSet{ids, ofRequests, ofIDs, hot, seed, newScatter(n, seed)}, nil
}

type hotSet struct {
	ids               Set
	ofRequests, ofIDs float64
	hot               uint64
	seed              uint64
	scatter           scatter
}

func (h *hotSet) String() string {
	return fmt.Sprintf("%.4g %% of requests for %.4g %% of %v, seed %d", 100*h.ofRequests, 100*h.ofIDs, h.ids, h.seed)
}

func (h *hotSet) Once() Workload { return Scan(h.ids, false) }

func (h *hotSet) Start() func(uint64) Picker {
	return func(stream uint64) Picker { return &hotSetPicker{h, newRand(h.seed, stream)} }
}

type hotSetPicker struct {
	*hotSet
	rng *rand.Rand
}

func (p *hotSetPicker) Next(dst []byte) ([]byte, bool) {
	var rank uint64
	if p.rng.Float64() < p.ofRequests {
		rank = p.rng.Uint64N(p.hot)
	} else {
		rank = p.hot + p.rng.Uint64N(p.ids.Len()-p.hot)
	}
	return p.ids.append(dst, p.scatter.of(rank)), true
}
