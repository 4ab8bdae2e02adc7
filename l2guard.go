package aside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/deadline"
)

// errBreakerOpen: L2 was not asked, because its last operations have failed.
var errBreakerOpen = errors.New("aside: circuit breaker open, L2 skipped")

// nothingSent reports whether L2 was not asked, or has refused.
func nothingSent(err error) bool {
	return errors.Is(err, errBreakerOpen) || errors.Is(err, ErrL2Refused)
}

// guardedL2 stands between the cache and its L2. It gives each operation a timeout,
// and has a circuit breaker: a dead or silent L2 costs the first few requests one
// timeout each, and the later ones nothing.
type guardedL2 struct {
	l2      driver.Tier
	parts   driver.Partitioned // l2, if it is
	reports driver.Reporting   // l2, if it is
	fed     driver.Fed         // l2, if it is
	tagging driver.Tagging     // l2, if it is
	peeking driver.Peeking     // l2, if it is
	timeout time.Duration
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	n       *counters
	late    driver.Noticing                             // l2, if it is
	hook    func(op string, d time.Duration, err error) // contains panics
	log     *slog.Logger

	entrySize atomic.Int64 // about the bytes of an entry, of those found or stored recently

	// requests of writes of one key each: those that come together are one batch
	fences   batchedCalls[driver.FenceRequest, error]
	releases batchedCalls[driver.ReleaseRequest, driver.ReleaseResult]
	peeks    batchedCalls[string, driver.Grant]

	reason  atomic.Pointer[mishap] // of the last operation, nil if it succeeded
	refused atomic.Pointer[mishap]

	outage   atomic.Bool // the log's last word is that L2 is not used
	loggedAt time.Time   // used by the breaker's callback alone
}

func newGuardedL2(l2 driver.Tier, timeout time.Duration, failures int, delay time.Duration, n *counters, log *slog.Logger, hook func(string, time.Duration, error), opened func(), w *workers) *guardedL2 {
	g := &guardedL2{l2: l2, timeout: timeout, n: n, hook: hook, log: log}
	g.parts, _ = l2.(driver.Partitioned)
	g.reports, _ = l2.(driver.Reporting)
	g.fed, _ = l2.(driver.Fed)
	g.tagging, _ = l2.(driver.Tagging)
	g.peeking, _ = l2.(driver.Peeking)
	g.late, _ = l2.(driver.Noticing)
	g.fences.init(w, g.fenceAll)
	g.releases.init(w, g.releaseAll)
	g.peeks.init(w, g.peekAll)
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "L2",
		MaxRequests: 1,
		Timeout:     delay,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(failures) },
		IsSuccessful: func(err error) bool {
			return err == nil || answered(err)
		},
		IsExcluded: func(err error) bool { return err == errCallerLeft },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				g.logOutage()
				opened()
			case gobreaker.StateClosed:
				g.reason.Store(nil)
			}
		},
	})
	return g
}

// usable reports whether an operation would be tried now.
func (g *guardedL2) usable() bool { return g.breaker.State() != gobreaker.StateOpen }

// logAgain is how often an outage that lasts is logged. Probes fail up to once a
// second.
const logAgain = time.Minute

func (g *guardedL2) logOutage() {
	again := g.outage.Load()
	if again && time.Since(g.loggedAt) < logAgain {
		return
	}
	g.outage.Store(true)
	g.loggedAt = time.Now()
	text := "L2 unavailable, continuing without it"
	if again {
		text = "L2 still unavailable"
	}
	var why string
	if err := g.reported(); err != nil {
		why = err.Error()
	} else if r := g.reason.Load(); r != nil {
		why = r.reason
	}
	g.log.Warn(text, "error", why)
}

// inUse says that an outage is over, once.
func (g *guardedL2) inUse() {
	if g.outage.CompareAndSwap(true, false) {
		g.log.Info("L2 is in use again")
	}
}

// degraded returns why L2 is not in use, or "".
func (g *guardedL2) degraded() string {
	return g.why().reason
}

// degradedState is why L2 is not, or not fully, in use, and since when; zero if that is
// not known.
type degradedState struct {
	cause  DegradedCause
	reason string
	since  time.Time
}

// also adds a reason. The first one is told; the state has lasted since the earliest.
func (d *degradedState) also(cause DegradedCause, reason string, since time.Time) {
	if d.cause == "" {
		d.cause, d.reason = cause, reason
	}
	d.lasts(since)
}

func (d *degradedState) lasts(since time.Time) {
	if d.since.IsZero() || !since.IsZero() && since.Before(d.since) {
		d.since = since
	}
}

func (g *guardedL2) why() (d degradedState) {
	if err := g.reported(); err != nil {
		var since time.Time
		if o := (*driver.Outage)(nil); errors.As(err, &o) {
			since = o.Since
		}
		d.also(DegradedReported, err.Error(), since)
	}
	if r := g.reason.Load(); r != nil && g.lasts(r) {
		d.also(DegradedFailing, r.reason, r.since)
	}
	if r := g.refused.Load(); r != nil && r.recent() {
		d.also(DegradedRefused, r.reason, r.since)
	}
	return d
}

// lasts reports whether a failure still says something. One that no operation has
// followed says little after a while. While the breaker is open, probes follow all the
// time.
func (g *guardedL2) lasts(r *mishap) bool { return r.recent() || !g.closed() }

// state is that of the breaker.
func (g *guardedL2) state() Breaker {
	switch g.breaker.State() {
	case gobreaker.StateOpen:
		return BreakerOpen
	case gobreaker.StateHalfOpen:
		return BreakerHalfOpen
	}
	return BreakerClosed
}

// lag is how late notices of L2 come at most; 0 if that is not known.
func (g *guardedL2) lag() time.Duration {
	if g.late == nil {
		return 0
	}
	return g.late.NoticeDelay()
}

// reported is what L2 says of itself.
func (g *guardedL2) reported() error {
	if g.reports == nil {
		return nil
	}
	return g.reports.State()
}

// answered reports whether L2 itself is well although the operation failed.
func answered(err error) bool { return errors.Is(err, ErrL2Refused) || errors.Is(err, ErrL2Key) }

// mishap is the last failure of a kind.
type mishap struct {
	reason string
	at     time.Time
	since  time.Time // at, of the first of those that followed each other
}

// after returns the mishap with the since of the one before, if that lasts until it.
func (f *mishap) after(before *mishap, lasts func(*mishap) bool) *mishap {
	if before != nil && lasts(before) {
		f.since = before.since
	}
	return f
}

// recent reports whether the failure still says something: other operations may have
// succeeded since.
func (f *mishap) recent() bool { return time.Since(f.at) < mishapLasts }

const mishapLasts = 5 * time.Second

// do runs one operation. f gets a context that belongs to no caller: an operation may
// be for several callers, and one that cancels its request must not leave behind a
// lease or a fence that nobody knows of. f returns the worst error of the batch.
func (g *guardedL2) do(op string, timeout time.Duration, f func(ctx context.Context) error) error {
	return g.doFor(context.Background(), op, timeout, f)
}

// errCallerLeft: the context of the caller has ended before L2 had answered, which says
// nothing of L2.
var errCallerLeft = errors.New("aside: the caller has left")

// doFor is do with a context that ends with the caller's too. The operation then has the
// error errCallerLeft, and may have had its effect.
func (g *guardedL2) doFor(caller context.Context, op string, timeout time.Duration, f func(ctx context.Context) error) error {
	done, err := g.breaker.Allow()
	if err != nil {
		return errBreakerOpen
	}
	return g.run(op, done, func() error {
		ctx := deadline.With(caller, time.Now().Add(timeout), context.DeadlineExceeded)
		defer ctx.Stop()
		if err := f(ctx); err == nil || caller.Err() == nil {
			return err
		}
		return errCallerLeft
	})
}

func (g *guardedL2) run(op string, done func(error), f func() error) error {
	start := time.Now()
	err := f()
	if err == errCallerLeft {
		done(err)
		return err
	}
	g.hook(op, time.Since(start), err)
	if err != nil {
		g.n.l2Failed(op)
		now := time.Now()
		f := &mishap{fmt.Sprintf("%s: %v", op, err), now, now}
		if answered(err) {
			g.refused.Store(f.after(g.refused.Load(), (*mishap).recent))
		} else {
			g.reason.Store(f.after(g.reason.Load(), g.lasts))
		}
	}
	done(err)
	if err == nil && g.reason.Load() != nil && g.breaker.State() == gobreaker.StateClosed {
		g.reason.Store(nil) // single failures, which did not open the breaker
	}
	return err
}

// batchTimeout is the timeout of an operation on n keys and size bytes: L2Timeout, and
// as much again for each further thousand keys and each further MiB.
func (g *guardedL2) batchTimeout(n, size int) time.Duration {
	times := time.Duration(1 + n/1000 + size>>20)
	return min(g.timeout, maxDuration/times) * times
}

// worst returns, of the errors of a batch, the one that says most about the health of L2.
func worst(errs ...error) (w error) {
	for _, err := range errs {
		if err != nil && (w == nil || answered(w)) {
			w = err
		}
	}
	return w
}

// each runs an operation on n keys. errOf returns where the answer for a key has its
// error. An operation that was not tried has the same error for each key.
func each[R any](g *guardedL2, op string, n int, f func(ctx context.Context) []R, errOf func(*R) *error) (out []R) {
	return eachOf(g, op, n, 0, f, errOf)
}

// eachOf is each for an operation that sends size bytes.
func eachOf[R any](g *guardedL2, op string, n, size int, f func(ctx context.Context) []R, errOf func(*R) *error) (out []R) {
	return eachFor(context.Background(), g, op, n, size, f, errOf)
}

// eachFor is eachOf that ends early with a caller's context: then answers that failed for
// that have errCallerLeft.
func eachFor[R any](caller context.Context, g *guardedL2, op string, n, size int, f func(ctx context.Context) []R, errOf func(*R) *error) (out []R) {
	err := g.doFor(caller, op, g.batchTimeout(n, size), func(ctx context.Context) (err error) {
		out = f(ctx)
		for i := range out {
			err = worst(err, *errOf(&out[i]))
		}
		return err
	})
	if err == errCallerLeft {
		for i := range out {
			if e := errOf(&out[i]); *e != nil {
				*e = err
			}
		}
	}
	if out == nil {
		out = make([]R, n)
		for i := range out {
			*errOf(&out[i]) = err
		}
	}
	return out
}

// acquire has a timeout that grows with the bytes that it expects back: how many will
// come is not known before.
func (g *guardedL2) acquire(caller context.Context, reqs []driver.LeaseRequest) []driver.Grant {
	out := eachFor(caller, g, "acquire", len(reqs), len(reqs)*int(g.entrySize.Load()),
		func(ctx context.Context) []driver.Grant { return g.l2.Acquire(ctx, reqs) },
		func(a *driver.Grant) *error { return &a.Err })
	g.sawGrants(out)
	return out
}

// sawGrants counts the entries that were found.
func (g *guardedL2) sawGrants(out []driver.Grant) {
	size, found := 0, 0
	for i := range out {
		if n := len(out[i].Entry); n > 0 {
			size += n
			found++
		}
	}
	g.sawEntries(size, found)
	g.n.entriesRead.Add(uint64(found))
	g.n.bytesRead.Add(uint64(size))
}

// sawEntries notes the size of n entries that were found or stored. The size that is
// expected rises at once and sinks slowly: a batch that has too little time fails as a
// whole. Of updates at the same moment one may be lost.
func (g *guardedL2) sawEntries(size, n int) {
	if n == 0 {
		return
	}
	before := g.entrySize.Load()
	if now := max(int64(size/n), before-before/16); now != before {
		g.entrySize.Store(now)
	}
}

func (g *guardedL2) fill(reqs []driver.FillRequest) []driver.FillResult {
	size := 0
	for i := range reqs {
		size += len(reqs[i].Entry)
	}
	g.sawEntries(size, len(reqs))
	return eachOf(g, "fill", len(reqs), size,
		func(ctx context.Context) []driver.FillResult { return g.l2.Fill(ctx, reqs) },
		func(r *driver.FillResult) *error { return &r.Err })
}

func (g *guardedL2) abandon(reqs []driver.AbandonRequest) []error {
	size := 0
	for i := range reqs {
		size += len(reqs[i].Restore)
	}
	return eachOf(g, "abandon", len(reqs), size,
		func(ctx context.Context) []error { return g.l2.Abandon(ctx, reqs) }, itself)
}

func (g *guardedL2) evict(reqs []driver.EvictRequest) []error {
	return each(g, "evict", len(reqs),
		func(ctx context.Context) []error { return g.l2.Evict(ctx, reqs) }, itself)
}

func (g *guardedL2) fence(reqs []driver.FenceRequest) []error {
	return batched(g, &g.fences, reqs, func(r *driver.FenceRequest) string { return r.Key })
}

func (g *guardedL2) fenceAll(reqs []driver.FenceRequest) []error {
	return each(g, "fence", len(reqs),
		func(ctx context.Context) []error { return g.l2.Fence(ctx, reqs) }, itself)
}

func (g *guardedL2) release(reqs []driver.ReleaseRequest) []driver.ReleaseResult {
	return batched(g, &g.releases, reqs, func(r *driver.ReleaseRequest) string { return r.Key })
}

func (g *guardedL2) releaseAll(reqs []driver.ReleaseRequest) []driver.ReleaseResult {
	size := 0
	for i := range reqs {
		size += len(reqs[i].Publish)
	}
	return eachOf(g, "release", len(reqs), size,
		func(ctx context.Context) []driver.ReleaseResult { return g.l2.Release(ctx, reqs) },
		func(r *driver.ReleaseResult) *error { return &r.Err })
}

func (g *guardedL2) invalidate(keys []string) []error {
	return each(g, "invalidate", len(keys),
		func(ctx context.Context) []error { return g.l2.Invalidate(ctx, keys) }, itself)
}

func (g *guardedL2) dropOlder(reqs []driver.ChangeRequest) []driver.ChangeResult {
	return each(g, "drop older", len(reqs),
		func(ctx context.Context) []driver.ChangeResult { return g.fed.DropOlder(ctx, reqs) },
		func(r *driver.ChangeResult) *error { return &r.Err })
}

func (g *guardedL2) lead(ctx context.Context, req driver.LeadRequest) (l driver.Leadership, err error) {
	err = g.do("lead", g.timeout, func(ctx context.Context) (err error) {
		l, err = g.fed.Lead(ctx, req)
		return err
	})
	return l, err
}

// tags has more time if all tags may come.
func (g *guardedL2) tags(req driver.TagRequest) (t driver.TagTable, err error) {
	size := 0
	if req.Known.Seq == 0 {
		size = 1 << 20
	}
	err = g.do("tags", g.batchTimeout(len(req.Invalidate), size), func(ctx context.Context) (err error) {
		t, err = g.tagging.Tags(ctx, req)
		return err
	})
	return t, err
}

// batched runs an operation on one key in one batch with those of other writes.
func batched[Q, R any](g *guardedL2, x *batchedCalls[Q, R], reqs []Q, key func(*Q) string) []R {
	if len(reqs) != 1 {
		return x.run(reqs)
	}
	return []R{x.do(g.partition(key(&reqs[0])), reqs[0])}
}

// partition returns the part of L2 that a key belongs to.
func (g *guardedL2) partition(key string) int {
	if g.parts == nil {
		return 0
	}
	return g.parts.Partition(key)
}

func itself(err *error) *error { return err }

// clear has no timeout but ctx. L2 limits each of its steps.
func (g *guardedL2) clear(ctx context.Context, prefix string) error {
	done, err := g.breaker.Allow()
	if err != nil {
		return errBreakerOpen
	}
	return g.run("clear", done, func() error { return g.l2.Clear(ctx, prefix) })
}

// probe pings L2 twice. The first ping has enough time to connect again; the second
// must be answered within the timeout of operations.
func (g *guardedL2) probe() error {
	return g.do("ping", max(g.timeout, 2*time.Second)+g.timeout, func(ctx context.Context) error {
		if err := g.l2.Ping(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		return g.l2.Ping(ctx)
	})
}

// closed reports whether the breaker is closed: L2 is in use.
func (g *guardedL2) closed() bool { return g.breaker.State() == gobreaker.StateClosed }
