package ids

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestParseRange(t *testing.T) {
	for in, want := range map[string]Range{"1-200000": {1, 200000}, "5": {5, 5}, "0-0": {0, 0}, "1 - 2": {1, 2}} {
		if got, err := ParseRange(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "-", "1-", "-1", "2-1", "a-b", "1-2-3", "18446744073709551616"} {
		if got, err := ParseRange(in); err == nil {
			t.Errorf("%q is accepted as %v", in, got)
		}
	}
	if n := (Range{3, 5}).Len(); n != 3 {
		t.Errorf("3-5 has %d ids", n)
	}
}

func must(w Workload, err error) Workload {
	if err != nil {
		panic(err)
	}
	return w
}

// draw counts the ids of n choices. Each stream makes the same number of them.
func draw(t *testing.T, w Workload, streams, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	start := w.Start()
	for stream := range streams {
		p := start(uint64(stream))
		for range n / streams {
			id, ok := p.Next(nil)
			if !ok {
				t.Fatalf("%v ended", w)
			}
			count[string(id)]++
		}
	}
	return count
}

// tooFar is a limit for chi-square / degrees of freedom. A correct sampler exceeds it for
// about one seed in a billion. The seeds here are fixed.
func tooFar(degrees int) float64 { return 1 + 9/math.Sqrt(float64(degrees)) }

// Both ends are chosen, and each id about as often as any other. Caught: the last id was
// never chosen.
func TestUniform(t *testing.T) {
	const n = 200_000
	count := draw(t, Uniform(Range{10, 109}, 3), 10, n)
	chi := 0.0
	for id := 10; id <= 109; id++ {
		d := float64(count[strconv.Itoa(id)]) - n/100
		chi += d * d / (n / 100)
	}
	if len(count) != 100 || chi/99 > tooFar(99) {
		t.Errorf("%d ids, chi-square %.1f for 99 degrees of freedom", len(count), chi)
	}
}

// The r-th most popular id is chosen in proportion to 1/r^s, for exponents below, at and
// above 1, with few and many ids. Caught: math/rand's restriction to s > 1; ranks that begin
// at 0; a missing rejection; a missing last rank; an acceptance limit of the first rank for
// all.
func TestZipf(t *testing.T) {
	for _, exponent := range []float64{0.1, 0.5, 0.8, 0.99, 1, 1 + 1e-9, 1.1, 2, 3.5} {
		for _, n := range []uint64{1, 2, 10, 1000, 200_000} {
			t.Run(fmt.Sprintf("%v over %d", exponent, n), func(t *testing.T) {
				const draws = 60_000
				z := newZipfRanks(n, exponent)
				rng := newRand(7, n)
				got := map[uint64]float64{}
				for range draws {
					got[z.next(rng)]++
				}
				sum := 0.0
				for r := n; r >= 1; r-- {
					sum += math.Pow(float64(r), -exponent)
				}
				// Ranks are grouped until at least 20 draws are expected for a group.
				chi, bins, expected, seen := 0.0, 0, 0.0, 0.0
				for r := uint64(1); r <= n; r++ {
					expected += draws * math.Pow(float64(r), -exponent) / sum
					seen += got[r]
					delete(got, r)
					if expected >= 20 || r == n && expected > 0 {
						chi += (seen - expected) * (seen - expected) / max(expected, 1)
						bins++
						expected, seen = 0, 0
					}
				}
				if len(got) > 0 {
					t.Errorf("ranks outside of 1 to %d: %v", n, got)
				}
				if degrees := max(bins-1, 1); chi/float64(degrees) > tooFar(degrees) {
					t.Errorf("chi-square %.1f for %d degrees of freedom", chi, degrees)
				}
			})
		}
	}
}

// The popular ids are far from each other and depend on the seed. Every id of the range can
// be chosen. Caught: ranks used as ids.
func TestPopularIDsAreScattered(t *testing.T) {
	top := func(seed uint64) (ids []int) {
		count := draw(t, must(Zipf(Range{1, 1000}, 1.2, seed)), 4, 100_000)
		names := make([]string, 0, len(count))
		for id := range count {
			names = append(names, id)
		}
		slices.SortFunc(names, func(a, b string) int { return count[b] - count[a] })
		for _, id := range names[:5] {
			n, err := strconv.Atoi(id)
			if err != nil || n < 1 || n > 1000 {
				t.Fatalf("id %q", id)
			}
			ids = append(ids, n)
		}
		return ids
	}
	a, b := top(1), top(2)
	if slices.Equal(a, b) {
		t.Errorf("the same ids are popular with two seeds: %v", a)
	}
	slices.Sort(a)
	for i := 1; i < len(a); i++ {
		if a[i]-a[i-1] < 10 {
			t.Errorf("popular ids are neighbours: %v", a)
		}
	}
}

// Caught: a factor with a common divisor with the number of ids; products truncated to 64
// bits.
func TestScatterIsOneToOne(t *testing.T) {
	for n := uint64(1); n < 300; n++ {
		for seed := range uint64(4) {
			seen := map[uint64]bool{}
			s := newScatter(n, seed)
			for rank := range n {
				seen[s.of(rank)] = true
			}
			for place := range n {
				if !seen[place] {
					t.Fatalf("of %d, seed %d: nothing is at %d", n, seed, place)
				}
			}
		}
	}
	const large = 1<<63 - 25 // needs 128 bits
	s := newScatter(large, 1)
	want := new(big.Int)
	seen := map[uint64]bool{}
	for rank := uint64(large - 1000); rank < large; rank++ {
		want.Mul(new(big.Int).SetUint64(s.factor), new(big.Int).SetUint64(rank))
		want.Mod(want.Add(want, new(big.Int).SetUint64(s.offset)), big.NewInt(large))
		if p := s.of(rank); p != want.Uint64() || seen[p] {
			t.Fatalf("rank %d: %d", rank, p)
		} else {
			seen[p] = true
		}
	}
}

// Caught: hot ids chosen from all ids; the two shares swapped.
func TestHotSet(t *testing.T) {
	const n = 400_000
	count := draw(t, must(HotSet(Range{1, 100}, 0.6, 0.4, 9)), 8, n)
	var per []int
	for _, c := range count {
		per = append(per, c)
	}
	slices.Sort(per)
	if len(per) != 100 {
		t.Fatalf("%d ids of 100", len(per))
	}
	// 6,000 each of the hot 40, 2,667 each of the others; 6 standard deviations.
	for i, c := range per {
		want, spread := 2667.0, 6*51.5
		if i >= 60 {
			want, spread = 6000, 6*77.0
		}
		if math.Abs(float64(c)-want) > spread {
			t.Errorf("the id at place %d of 100 was asked for %d times, want about %.0f", i, c, want)
		}
	}
	// At least one id is hot, and at least one is not.
	for _, share := range []float64{0.001, 0.999} {
		if got := draw(t, must(HotSet(Range{1, 2}, 0.9, share, 1)), 1, 1000); len(got) != 2 {
			t.Errorf("share %v: %v", share, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	r := Range{1, 10}
	for name, err := range map[string]error{
		"exponent 0":    second(Zipf(r, 0, 1)),
		"exponent -1":   second(Zipf(r, -1, 1)),
		"exponent NaN":  second(Zipf(r, math.NaN(), 1)),
		"exponent 31":   second(Zipf(r, 31, 1)),
		"too many ids":  second(Zipf(Range{0, 1 << 60}, 1, 1)),
		"requests 0":    second(HotSet(r, 0, 0.1, 1)),
		"requests 1":    second(HotSet(r, 1, 0.1, 1)),
		"ids 0":         second(HotSet(r, 0.9, 0, 1)),
		"ids NaN":       second(HotSet(r, 0.9, math.NaN(), 1)),
		"hot set of 1":  second(HotSet(Range{4, 4}, 0.9, 0.1, 1)),
		"empty trace":   second(ReadTrace(strings.NewReader(""), "t")),
		"trace's dots":  second(ReadTrace(strings.NewReader(".."), "t")),
		"trace's bytes": second(ReadTrace(strings.NewReader("\xff"), "t")),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// The same seed makes the same choices for a stream. Another seed or stream makes others.
// Caught: two streams that shared a source.
func TestChoicesAreRepeatable(t *testing.T) {
	r := Range{1, 1 << 40}
	for name, of := range map[string]func(seed uint64) Workload{
		"uniform": func(seed uint64) Workload { return Uniform(r, seed) },
		"zipf":    func(seed uint64) Workload { return must(Zipf(r, 0.8, seed)) },
		"hot set": func(seed uint64) Workload { return must(HotSet(r, 0.9, 0.1, seed)) },
	} {
		choices := func(w Workload, stream uint64) string {
			start := w.Start()
			p, other := start(stream), start(stream+1)
			var b []byte
			for range 50 {
				b, _ = p.Next(append(b, ' '))
				other.Next(nil)
			}
			return string(b)
		}
		w := of(7)
		first := choices(w, 3)
		if choices(w, 3) != first || choices(of(7), 3) != first {
			t.Errorf("%s: the same seed made other choices", name)
		}
		if choices(of(8), 3) == first || choices(w, 4) == first {
			t.Errorf("%s: another seed or stream made the same choices", name)
		}
	}
}

// Each caller gets the next id, and each id comes once. Another run starts at the first
// again. Caught: a position that was kept for the next run.
func TestListsAreShared(t *testing.T) {
	trace, err := ReadTrace(strings.NewReader(lines(5000)), "t")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []Workload{Scan(Range{1, 5000}, false), Replay(trace, false), must(Zipf(Range{1, 5000}, 1, 1)).Once(), Replay(trace, true).Once()} {
		for range 2 {
			var mu sync.Mutex
			seen := map[string]int{}
			start := w.Start()
			var wg sync.WaitGroup
			for stream := range 8 {
				wg.Go(func() {
					p := start(uint64(stream))
					for {
						id, ok := p.Next([]byte("x/"))
						if !ok {
							return
						}
						mu.Lock()
						seen[string(id)]++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if len(seen) != 5000 || seen["x/1"] != 1 || seen["x/5000"] != 1 {
				t.Errorf("%v: %d ids of 5000 were given out", w, len(seen))
			}
		}
	}
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

func TestRepeat(t *testing.T) {
	trace, err := ReadTrace(strings.NewReader("a\nb\n"), "t")
	if err != nil {
		t.Fatal(err)
	}
	for w, want := range map[Workload]string{
		Scan(Range{7, 9}, true): "7 8 9 7 8 9 7",
		Replay(trace, true):     "a b a b a b a",
	} {
		p := w.Start()(0)
		var got []string
		for range 7 {
			id, ok := p.Next(nil)
			if !ok {
				t.Fatalf("%v ended", w)
			}
			got = append(got, string(id))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%v: %s, want %s", w, s, want)
		}
	}
}

// A trace can have all ids that the service accepts, and they are percent-encoded. The last
// line may lack its newline.
func TestTrace(t *testing.T) {
	trace, err := ReadTrace(strings.NewReader("1\r\na b/c\n10%\nühr\n1"), "file.txt")
	if err != nil {
		t.Fatal(err)
	}
	w := Replay(trace, false)
	p := w.Start()(0)
	var got []string
	for id, ok := p.Next(nil); ok; id, ok = p.Next(nil) {
		got = append(got, string(id))
	}
	want := []string{"1", "a%20b%2Fc", "10%25", "%C3%BChr", "1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s := w.String(); s != "the 5 ids of file.txt in order" {
		t.Errorf("it is called %q", s)
	}
}

// The error names the first few invalid lines. Caught: a long line counted as several.
func TestBadLines(t *testing.T) {
	in := "1\n\n" + strings.Repeat("x", 3*maxLine) + "\n.\n" + "ok\n" + strings.Repeat("y", 257) + "\n"
	_, err := ReadTrace(strings.NewReader(in), "t")
	if err == nil {
		t.Fatal("accepted")
	}
	const want = `line 2: an id must not be empty; line 3: an id must be at most 256 bytes; line 4: an id must not be "." or "..": a URL cannot contain them; line 6: an id must be at most 256 bytes, is 257`
	if err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	_, err = ReadTrace(strings.NewReader(strings.Repeat("\n", 100)), "t")
	if err == nil || !strings.Contains(err.Error(), "line 5:") || strings.Contains(err.Error(), "line 6:") || !strings.Contains(err.Error(), "95 more") {
		t.Errorf("%v", err)
	}
}

func BenchmarkNext(b *testing.B) {
	r := Range{1, 200_000}
	for name, w := range map[string]Workload{"uniform": Uniform(r, 1), "zipf 0.99": must(Zipf(r, 0.99, 1)), "scan": Scan(r, true)} {
		b.Run(name, func(b *testing.B) {
			p := w.Start()(0)
			dst := make([]byte, 0, 64)
			for b.Loop() {
				p.Next(dst)
			}
		})
	}
}
