package ids

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// maxZipf is the maximum number of ids: Zipf computes with float64.
const maxZipf = 1 << 53

// maxExponent: with it, one id gets all but one in a billion requests.
const maxExponent = 30

// Zipf chooses the r-th most popular id with a probability proportional to 1/r^exponent.
// It never ends. The seed decides which ids are popular. exponent is positive, and may be
// 1 or less: real traffic is often near 0.8 or 0.99.
func Zipf(ids Set, exponent float64, seed uint64) (Workload, error) {
	if !(exponent > 0 && exponent <= maxExponent) { // NaN too
		return nil, fmt.Errorf("the exponent must be greater than 0 and at most %d, is %v", maxExponent, exponent)
	}
	if ids.Len() > maxZipf {
		return nil, fmt.Errorf("there can be at most %d ids, got %v", uint64(maxZipf), ids)
	}
	return &zipf{ids, exponent, seed, newZipfRanks(ids.Len(), exponent), newScatter(ids.Len(), seed)}, nil
}

type zipf struct {
	ids      Set
	exponent float64
	seed     uint64
	ranks    zipfRanks
	scatter  scatter
}

func (z *zipf) String() string {
	return fmt.Sprintf("zipf %v over %v, seed %d", z.exponent, z.ids, z.seed)
}

func (z *zipf) Once() Workload { return Scan(z.ids, false) }

func (z *zipf) Start() func(uint64) Picker {
	return func(stream uint64) Picker { return &zipfPicker{z, newRand(z.seed, stream)} }
}

type zipfPicker struct {
	*zipf
	rng *rand.Rand
}

func (p *zipfPicker) Next(dst []byte) ([]byte, bool) {
	return p.ids.append(dst, p.scatter.of(p.ranks.next(p.rng)-1)), true
}

// zipfRanks draws ranks from 1 to n by rejection-inversion: W. Hörmann and G.
// Derflinger, "Rejection-inversion to generate variates from monotone discrete
// distributions", ACM TOMACS 6 (1996), 169-184. It needs no table of n sums and
// rejects few draws. math/rand's Zipf is the same method, for exponents above 1
// only; written with expm1 and log1p it holds for all that are positive.
type zipfRanks struct {
	n        uint64
	exponent float64

	low, high float64 // areas under the hat function; draws are uniform between them
	accept    float64 // draws this close to their rank are accepted without a further check
}

func newZipfRanks(n uint64, exponent float64) zipfRanks {
	z := zipfRanks{n: n, exponent: exponent}
	z.low = z.area(1.5) - 1
	z.high = z.area(float64(n) + 0.5)
	z.accept = 2 - z.inverse(z.area(2.5)-z.weight(2))
	return z
}

func (z *zipfRanks) next(rng *rand.Rand) uint64 {
	for {
		u := z.high + rng.Float64()*(z.low-z.high)
		x := z.inverse(u)
		rank := min(max(uint64(x+0.5), 1), z.n)
		r := float64(rank)
		if r-x <= z.accept || u >= z.area(r+0.5)-z.weight(r) {
			return rank
		}
	}
}

func (z *zipfRanks) weight(x float64) float64 { return math.Exp(-z.exponent * math.Log(x)) }

// area is the integral of weight: (x^(1-s) - 1) / (1 - s), or log x if s = 1.
func (z *zipfRanks) area(x float64) float64 {
	log := math.Log(x)
	return expm1Over((1-z.exponent)*log) * log
}

// inverse is the inverse of area.
func (z *zipfRanks) inverse(a float64) float64 {
	t := max(a*(1-z.exponent), -1) // smaller only by a rounding error
	return math.Exp(log1pOver(t) * a)
}

// Near 0 the quotients are inexact, so these functions use short series there.
const nearZero = 1e-8

func expm1Over(x float64) float64 {
	if math.Abs(x) > nearZero {
		return math.Expm1(x) / x
	}
	return 1 + x/2
}

func log1pOver(x float64) float64 {
	if math.Abs(x) > nearZero {
		return math.Log1p(x) / x
	}
	return 1 - x/2
}
