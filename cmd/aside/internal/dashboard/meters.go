package dashboard

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Meters are what the request path fills: each call costs an atomic addition or two.
type Meters struct {
	http, load, l2, db                   histogram
	httpErrors, l2Failed, dbErrors, told atomic.Uint64
}

// Request counts one HTTP request.
func (m *Meters) Request(status int, took time.Duration) {
	m.http.add(took)
	if status >= 500 {
		m.httpErrors.Add(1)
	}
}

// Load counts one call of a loader.
func (m *Meters) Load(took time.Duration) { m.load.add(took) }

// L2 counts one operation on L2, by its name in aside.Options.OnL2.
func (m *Meters) L2(op string, took time.Duration, err error) {
	m.l2.add(took)
	switch {
	case err != nil:
		m.l2Failed.Add(1)
	case op == "release" || op == "invalidate":
		m.told.Add(1)
	}
}

// Store counts one call of the primary store, see todo.Observe.
func (m *Meters) Store(_ string, took time.Duration, err error) {
	m.db.add(took)
	if !todo.Answered(err) {
		m.dbErrors.Add(1)
	}
}

// A histogram has 16 buckets for each power of two of nanoseconds. So a quantile is wrong
// by 3 % at most.
const (
	subBits = 4
	subs    = 1 << subBits
	maxExp  = 43 // 2.4 hours; what takes longer counts as that
	buckets = (maxExp - subBits + 2) * subs
)

type histogram struct{ n [buckets]atomic.Uint64 }

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < subs {
		return int(v)
	}
	exp := bits.Len64(v) - 1
	if exp > maxExp {
		return buckets - 1
	}
	return (exp-subBits+1)*subs + int(v>>(exp-subBits))&(subs-1)
}

// middle returns the middle of a bucket.
func middle(bucket int) time.Duration {
	if bucket < subs {
		return time.Duration(bucket)
	}
	shift := bucket/subs - 1
	return time.Duration(subs+bucket%subs)<<shift + time.Duration(1)<<shift/2
}

func (h *histogram) add(d time.Duration) { h.n[bucketOf(d)].Add(1) }

// counted are the values of a histogram, or the difference of two.
type counted struct {
	n     [buckets]uint64
	total uint64
}

// since puts what was added since before into diff, and the present state into before.
func (h *histogram) since(before, diff *counted) {
	diff.total = 0
	for i := range h.n {
		now := h.n[i].Load()
		diff.n[i] = now - before.n[i]
		diff.total += diff.n[i]
		before.n[i] = now
	}
}

// quantile returns a quantile in milliseconds; 0 if nothing was counted.
func (c *counted) quantile(q float64) float64 {
	if c.total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(c.total)))
	for i, n := range c.n {
		if rank <= n {
			return Millis(middle(i))
		}
		rank -= n
	}
	return Millis(middle(buckets - 1))
}

// Millis returns d in milliseconds with three decimals.
func Millis(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}
