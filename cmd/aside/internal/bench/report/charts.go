package report

import (
	"math"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
)

// charts is the data for the charts of the page.
type charts struct {
	Timeline series `json:"timeline"`
	Bars     bars   `json:"bars"`
	Curve    curve  `json:"curve"`
	OpenLoop bool   `json:"open_loop"`
}

// series are lists with one value for each point in time.
type series struct {
	At     []float64 `json:"at"`   // seconds
	Rate   []float64 `json:"rate"` // successful requests per second
	Failed []float64 `json:"failed"`
	// These are null where nothing succeeded, which shows as a gap in the line.
	P50 []*float64 `json:"p50"`
	P95 []*float64 `json:"p95"`
	P99 []*float64 `json:"p99"`
	Max []*float64 `json:"max"`

	Users   []int   `json:"users"`
	Backlog []int64 `json:"backlog"`
	// Tiers has the number of reads of each tier that answered any.
	Tiers map[string][]int64 `json:"tiers"`
}

type bars struct {
	UpTo  []float64 `json:"up_to"` // ms
	Share []float64 `json:"share"` // percent
}

// curve is a list of latencies by percentile.
type curve struct {
	Nines  []float64            `json:"nines"` // log10(1 / (1 - p)): 1 at 90 %, 2 at 99 %
	P      []float64            `json:"p"`     // percent
	Series map[string][]float64 `json:"series"`
}

// maxPoints is the maximum number of points in a chart. A chart has fewer pixels.
const maxPoints = 1000

// chartsOf also returns how many intervals a point stands for.
func chartsOf(r *bench.Report) (*charts, int) {
	c := &charts{OpenLoop: r.Config.Rate > 0}
	each := (len(r.Timeline) + maxPoints - 1) / maxPoints
	c.Timeline = seriesOf(r.Timeline, max(each, 1))
	c.Bars = barsOf(r.Latency())
	c.Curve = curveOf(r)
	return c, each
}

func seriesOf(points []bench.Point, each int) series {
	s := series{
		At: []float64{}, Rate: []float64{}, Failed: []float64{}, P50: []*float64{}, P95: []*float64{}, P99: []*float64{}, Max: []*float64{},
		Users: []int{}, Backlog: []int64{}, Tiers: map[string][]int64{},
	}
	for _, t := range bench.Tiers() {
		for _, p := range points {
			if p.Hits[t] > 0 {
				s.Tiers[t.String()] = []int64{}
				break
			}
		}
	}
	for ; len(points) > 0; points = points[min(each, len(points)):] {
		p := together(points[:min(each, len(points))])
		took := max(p.Took.Seconds(), 1e-9)
		s.At = append(s.At, round(p.At.Seconds(), 3))
		s.Rate = append(s.Rate, round(float64(p.Succeeded)/took, 2))
		s.Failed = append(s.Failed, round(float64(p.Failed)/took, 2))
		s.P50 = append(s.P50, millisOf(p, p.P50))
		s.P95 = append(s.P95, millisOf(p, p.P95))
		s.P99 = append(s.P99, millisOf(p, p.P99))
		s.Max = append(s.Max, millisOf(p, p.Max))
		s.Users = append(s.Users, p.Users)
		s.Backlog = append(s.Backlog, p.Backlog)
		for _, t := range bench.Tiers() {
			if list, ok := s.Tiers[t.String()]; ok {
				s.Tiers[t.String()] = append(list, p.Hits[t])
			}
		}
	}
	return s
}

// together merges several points into one. Percentiles cannot be averaged, so it takes
// the highest.
func together(points []bench.Point) bench.Point {
	sum := points[0]
	for _, p := range points[1:] {
		sum.At, sum.Users = p.At, p.Users
		sum.Took += p.Took
		sum.Succeeded += p.Succeeded
		sum.Failed += p.Failed
		sum.P50, sum.P95, sum.P99, sum.Max = max(sum.P50, p.P50), max(sum.P95, p.P95), max(sum.P99, p.P99), max(sum.Max, p.Max)
		sum.Backlog = max(sum.Backlog, p.Backlog)
		for t := range sum.Hits {
			sum.Hits[t] += p.Hits[t]
		}
	}
	return sum
}

func barsOf(l bench.Latency) bars {
	b := bars{UpTo: []float64{}, Share: []float64{}}
	for _, bar := range l.Bars() {
		b.UpTo = append(b.UpTo, millis(bar.UpTo))
		b.Share = append(b.Share, 100*float64(bar.Count)/float64(l.Count()))
	}
	return b
}

func curveOf(r *bench.Report) curve {
	c := curve{Nines: []float64{}, P: []float64{}, Series: map[string][]float64{}}
	all := r.Latency()
	if all.Count() == 0 {
		return c
	}
	// Only percentiles with at least ten requests above them.
	end := max(math.Log10(float64(all.Count())/10), 1)
	for nines := 0.0; nines <= end; nines += 1.0 / 16 {
		c.Nines = append(c.Nines, round(nines, 4))
		c.P = append(c.P, round(100*(1-math.Pow(10, -nines)), 6))
	}
	add := func(name string, l bench.Latency) {
		if l.Count() == 0 {
			return
		}
		var values []float64
		for _, d := range l.Percentiles(c.P...) {
			values = append(values, millis(max(d, time.Microsecond)))
		}
		c.Series[name] = values
	}
	add("all", all)
	if o := r.OpenLoop(); o != nil {
		add("from sending", o.Served)
	}
	for _, t := range bench.Tiers() {
		add(t.String(), r.TierLatency(t))
	}
	return c
}

func round(v float64, digits int) float64 {
	scale := math.Pow(10, float64(digits))
	return math.Round(v*scale) / scale
}
