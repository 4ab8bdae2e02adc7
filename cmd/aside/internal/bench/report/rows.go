package report

import (
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
)

// row is a line in the tables of locust: the requests of one operation, or of all.
type row struct {
	method, name       string
	requests, failures int64
	bytes              int64 // of the responses
	latency            bench.Latency
}

const aggregated = "Aggregated"

// rows returns a row for each operation that occurred, and one for all at the end.
func rows(r *bench.Report) []row {
	var rs []row
	for _, op := range bench.Ops() {
		l := r.Latency(op)
		n := l.Count() + r.Failures(op)
		if n > 0 {
			rs = append(rs, row{op.Method(), nameOf(r, op), n, r.Failures(op), r.Bytes(op), l})
		}
	}
	return append(rs, row{"", aggregated, r.Requests(), r.Failures(), r.Bytes(), r.Latency()})
}

// nameOf returns the name of the requests of an operation, as locust's parameter name.
func nameOf(r *bench.Report, op bench.Op) string {
	if op == bench.Create {
		return orSlash(r.Name)
	}
	return r.Name + "/[id]"
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// size returns the mean size of successful responses. ok is false if there is none.
func (r row) size() (mean float64, ok bool) {
	n := r.latency.Count()
	return float64(r.bytes) / float64(max(n, 1)), n > 0
}

func (r row) failRatio() float64 { return float64(r.failures) / float64(max(r.requests, 1)) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
