package follower

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/driver"
)

// follow opens the feed, and opens it again when a stream ends. It returns if it has
// not been following for giveUpAfter, or ctx ends.
func (f *Follower) follow(ctx context.Context) error {
	retry, since := firstRetry, time.Now()
	for {
		opened := time.Now()
		followed, err := f.stream(ctx)
		if errors.Is(err, driver.ErrGap) { // first: if this node gives up, the next one must not try the same position
			f.Log.Warn("the feed has a gap: the cache will be cleared", "error", err)
			f.mu.Lock()
			f.places.forget()
			f.status.Gaps++
			f.mu.Unlock()
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errGoBack):
			f.mu.Lock()
			f.status.WentBack++
			f.mu.Unlock()
			since = time.Now()
			pause(ctx, firstRetry)
			continue
		case followed && time.Since(opened) > giveUpAfter:
			retry, since = firstRetry, time.Now()
		case time.Since(since) > giveUpAfter:
			return err
		}
		f.notFed(ctx, err)
		pause(ctx, retry)
		retry = min(2*retry, lastRetry)
	}
}

var errGoBack = errors.New("aside: L2 may have lost its latest commands")

// stream opens the feed and follows it until the stream ends. followed: it was open,
// and everything before it was handled.
func (f *Follower) stream(ctx context.Context) (followed bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.mu.Lock()
	if f.backward {
		f.backward, f.wentBack = false, time.Now()
		f.places.rewind()
	}
	from := f.places.from()
	f.interrupt = cancel
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		if f.interrupt = func() {}; f.backward {
			err = errGoBack
		}
		f.mu.Unlock()
	}()

	open, opened := context.WithTimeout(ctx, openTimeout)
	s, err := f.Feed.Open(open, from)
	opened()
	if err != nil {
		return false, fmt.Errorf("the feed cannot be opened: %w", err)
	}
	defer s.Close()
	if from == nil {
		if err := f.clear(ctx); err != nil {
			return false, err
		}
		f.mu.Lock()
		f.places.add(s.Position(), !f.backward)
		f.mu.Unlock()
	}
	f.fed()
	var rush rush
	for {
		next, cancel := context.WithTimeout(ctx, f.Silence)
		b, err := s.Next(next)
		silent := next.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err != nil && silent:
			return true, fmt.Errorf("the feed has been silent for %v: %w", f.Silence, err)
		case err != nil:
			return true, fmt.Errorf("the feed broke off: %w", err)
		}
		if err := f.handle(ctx, s, b); err != nil {
			return true, err
		}
		if len(b.Changes) > 0 && rush.batch(time.Now()) {
			pause(ctx, gather)
		}
	}
}

const (
	// gather is how long a stream that has much to tell is let alone, so that what it
	// tells is one batch and not many.
	gather = 3 * time.Millisecond
	// Much is this many batches in a row, each this soon after the one before.
	rushBatches = 20
	rushWithin  = 2 * gather
)

// rush counts batches that follow each other closely.
type rush struct {
	last time.Time
	n    int
}

// batch counts a batch and reports whether there have been many.
func (r *rush) batch(now time.Time) bool {
	if now.Sub(r.last) > rushWithin {
		r.n = 0
	}
	r.last = now
	r.n++
	return r.n > rushBatches
}

// openTimeout limits Open. It may have to make what the primary needs, and to wait for
// transactions that run.
const openTimeout = time.Minute

func (f *Follower) handle(ctx context.Context, s driver.Stream, b driver.Batch) error {
	if b.All {
		if err := f.clear(ctx); err != nil {
			return err
		}
	}
	told := f.Handle(ctx, b.Changes) // with none it asks whether all were told
	p := s.Position()
	f.mu.Lock()
	f.status.handled(b, time.Now())
	if told {
		f.places.add(p, !f.backward)
	}
	f.mu.Unlock()
	if !told {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.Silence)
	defer cancel()
	if err := s.Handled(ctx, p); err != nil {
		return fmt.Errorf("the primary cannot be told what was handled: %w", err)
	}
	return nil
}

// clear clears the cache, and tries until it succeeds or ctx ends.
func (f *Follower) clear(ctx context.Context) error {
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		err := f.Clear(ctx)
		if err == nil {
			f.mu.Lock()
			f.status.Clears++
			f.mu.Unlock()
			return nil
		}
		f.notFed(ctx, fmt.Errorf("the cache cannot be cleared: %w", err))
		if !pause(ctx, retry) {
			return err
		}
	}
}
