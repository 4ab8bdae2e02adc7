package ids

import "math/bits"

// scatter is a permutation of 0 to n-1. The popular ids of a skewed workload must not be
// neighbours: they would share pages of the store and look cheaper than they are.
type scatter struct{ n, factor, offset uint64 }

// newScatter returns a permutation that depends on the seed, so that each seed has other
// popular ids.
func newScatter(n, seed uint64) scatter {
	rng := newRand(seed, n)
	// About n divided by the golden ratio, so that neighbouring ranks are far apart.
	s := scatter{n: n, factor: uint64(float64(n)*0.6) + rng.Uint64N(n/32+1) | 1, offset: rng.Uint64N(n)}
	for gcd(s.factor, n) != 1 {
		s.factor++
	}
	return s
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// of returns factor * rank + offset modulo n. It is a permutation because factor and n
// have no common divisor.
func (s scatter) of(rank uint64) uint64 {
	hi, lo := bits.Mul64(s.factor, rank)
	lo, carry := bits.Add64(lo, s.offset, 0)
	return bits.Rem64(hi+carry, lo, s.n)
}
