package aside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// errBreakerOpen: L2 was not asked, since it failed a moment ago.
var errBreakerOpen = errors.New("aside: L2 left alone after failures")

// tier stands between the cache and its L2: a time-out for each operation, and
// a breaker, so that a dead or silent L2 costs the first few requests one
// time-out each and the others nothing.
type tier struct {
	l2      L2
	timeout time.Duration
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	errors  *atomic.Uint64
	hook    func(op string, d time.Duration, err error)
	log     *slog.Logger

	reason  atomic.Pointer[string] // the last operation's failure, nil if it succeeded
	refused atomic.Pointer[refusal]
}

func newTier(l2 L2, timeout time.Duration, failures int, delay time.Duration, n *counters, log *slog.Logger, hook func(string, time.Duration, error), opened func()) *tier {
	t := &tier{l2: l2, timeout: timeout, errors: &n.l2Errors, hook: hook, log: log}
	t.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "L2",
		MaxRequests: 1,
		Timeout:     delay,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= uint32(failures) },
		IsSuccessful: func(err error) bool {
			return err == nil || errors.Is(err, ErrL2Refused)
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				log.Warn("L2 cannot be used, going on without it", "error", t.degraded())
				opened()
			case gobreaker.StateClosed:
				t.reason.Store(nil)
				log.Info("L2 is in use again")
			}
		},
	})
	return t
}

// usable reports whether an operation would be tried now.
func (t *tier) usable() bool { return t.breaker.State() != gobreaker.StateOpen }

// degraded returns why L2 is not in use, or "".
func (t *tier) degraded() string {
	if r := t.reason.Load(); r != nil {
		return *r
	}
	if r := t.refused.Load(); r != nil && time.Since(r.at) < refusalLasts {
		return r.reason
	}
	return ""
}

// refusal is the last operation that L2 refused. Others succeed meanwhile, so
// it speaks for a while rather than until the next success.
type refusal struct {
	reason string
	at     time.Time
}

const refusalLasts = 5 * time.Second

// do runs one operation. The context passed to f has the values of ctx but not
// its end: who cancels a request must not leave a lease or a fence behind that
// nobody knows of. f returns the error that speaks for the whole batch.
func (t *tier) do(ctx context.Context, op string, timeout time.Duration, f func(ctx context.Context) error) error {
	done, err := t.breaker.Allow()
	if err != nil {
		return errBreakerOpen
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	start := time.Now()
	err = f(ctx)
	if t.hook != nil {
		t.hook(op, time.Since(start), err)
	}
	if err != nil {
		t.errors.Add(1)
		if reason := fmt.Sprintf("%s: %v", op, err); errors.Is(err, ErrL2Refused) {
			t.refused.Store(&refusal{reason, time.Now()})
		} else {
			t.reason.Store(&reason)
		}
	}
	done(err)
	if err == nil && t.reason.Load() != nil && t.breaker.State() == gobreaker.StateClosed {
		t.reason.Store(nil) // single failures, which did not open the breaker
	}
	return err
}

// batchTimeout is the time-out of an operation on n keys: one more for each
// further thousand.
func (t *tier) batchTimeout(n int) time.Duration { return t.timeout * time.Duration(1+n/1000) }

// worst returns the error that says most about the tier's health, of a batch.
func worst(errs ...error) (w error) {
	for _, err := range errs {
		if err != nil && (w == nil || errors.Is(w, ErrL2Refused)) {
			w = err
		}
	}
	return w
}

// fail returns n copies of err.
func fail[T any](n int, f func() T) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = f()
	}
	return out
}

func (t *tier) acquire(ctx context.Context, reqs []LeaseRequest) (out []Acquired) {
	err := t.do(ctx, "acquire", t.batchTimeout(len(reqs)), func(ctx context.Context) error {
		out = t.l2.Acquire(ctx, reqs)
		var err error
		for i := range out {
			err = worst(err, out[i].Err)
		}
		return err
	})
	if out == nil {
		return fail(len(reqs), func() Acquired { return Acquired{Err: err} })
	}
	return out
}

func (t *tier) fill(ctx context.Context, reqs []FillRequest) (out []FillResult) {
	err := t.do(ctx, "fill", t.batchTimeout(len(reqs)), func(ctx context.Context) error {
		out = t.l2.Fill(ctx, reqs)
		var err error
		for i := range out {
			err = worst(err, out[i].Err)
		}
		return err
	})
	if out == nil {
		return fail(len(reqs), func() FillResult { return FillResult{Err: err} })
	}
	return out
}

func (t *tier) abandon(ctx context.Context, reqs []AbandonRequest) error {
	return t.do(ctx, "abandon", t.batchTimeout(len(reqs)), func(ctx context.Context) error {
		return worst(t.l2.Abandon(ctx, reqs)...)
	})
}

func (t *tier) evict(ctx context.Context, key string, old []byte) error {
	return t.do(ctx, "evict", t.timeout, func(ctx context.Context) error { return t.l2.Evict(ctx, key, old) })
}

func (t *tier) fence(ctx context.Context, keys []string, token Token, life time.Duration) (out []error) {
	err := t.do(ctx, "fence", t.batchTimeout(len(keys)), func(ctx context.Context) error {
		out = t.l2.Fence(ctx, keys, token, life)
		return worst(out...)
	})
	if out == nil {
		return fail(len(keys), func() error { return err })
	}
	return out
}

func (t *tier) release(ctx context.Context, reqs []ReleaseRequest) (out []ReleaseResult) {
	err := t.do(ctx, "release", t.batchTimeout(len(reqs)), func(ctx context.Context) error {
		out = t.l2.Release(ctx, reqs)
		var err error
		for i := range out {
			err = worst(err, out[i].Err)
		}
		return err
	})
	if out == nil {
		return fail(len(reqs), func() ReleaseResult { return ReleaseResult{Err: err} })
	}
	return out
}

func (t *tier) invalidate(ctx context.Context, keys []string) (out []error) {
	err := t.do(ctx, "invalidate", t.batchTimeout(len(keys)), func(ctx context.Context) error {
		out = t.l2.Invalidate(ctx, keys)
		return worst(out...)
	})
	if out == nil {
		return fail(len(keys), func() error { return err })
	}
	return out
}

// Scans and reconnections take longer than the operations on one key.
const slowTimeout = 30 * time.Second

func (t *tier) clear(ctx context.Context, prefix string) error {
	return t.do(ctx, "clear", slowTimeout, func(ctx context.Context) error { return t.l2.Clear(ctx, prefix) })
}

// probe asks L2 twice for a sign of life: the first answer has time enough to
// connect anew, the second must come as quickly as operations need theirs.
func (t *tier) probe(ctx context.Context) error {
	return t.do(ctx, "ping", max(t.timeout, 2*time.Second)+t.timeout, func(ctx context.Context) error {
		if err := t.l2.Ping(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, t.timeout)
		defer cancel()
		return t.l2.Ping(ctx)
	})
}

// closed reports whether the breaker is closed: L2 is in use.
func (t *tier) closed() bool { return t.breaker.State() == gobreaker.StateClosed }
