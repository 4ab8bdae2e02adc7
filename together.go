package aside

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/asidecache/aside/internal/deadline"
)

// WritePart is the part that one cache has in a write of several: see Cache.Part.
type WritePart interface {
	take() error
	observe(ctx context.Context) context.Context
	begin() error
	deadline() time.Time
	definite(outcome error) bool
	end(outcome error) error
}

// Part returns c's part of a write with other caches: see WriteTogether. It is used
// for one write. keys are those of c's records that the write changes.
func (c *Cache[K, V]) Part(keys ...K) *WriteTx[K, V] {
	return &WriteTx[K, V]{f: &fence[K, V]{c: c, keys: slices.Clone(keys)}}
}

// WriteTogether is Write for records of several caches that change together, such as
// in one transaction. The keys of all parts are fenced before write is called. All are
// released after it: known or unknown, the outcome is the same for all of them. It is
// definite if Options.DefiniteError of any of the caches says so. The write has the
// shortest of the caches' WriteTimeouts.
//
// A fence waits for nobody, so writes that name the same records cannot block each
// other, in whichever order the parts are.
//
// If a part cannot be fenced, write is not called and nothing stays fenced. If write
// succeeded and L2 did not confirm the release of one part, the error matches
// ErrUnacknowledged, and the other parts are released and published all the same.
func WriteTogether(ctx context.Context, parts []WritePart, write func(ctx context.Context) error) error {
	if len(parts) == 0 {
		return errors.New("aside: WriteTogether called without parts")
	}
	return runWrite(ctx, write, parts...)
}

// runWrite fences the parts, calls write, and releases them.
func runWrite(ctx context.Context, write func(ctx context.Context) error, parts ...WritePart) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.take(); err != nil {
			return err
		}
	}
	for _, p := range parts {
		ctx = p.observe(ctx)
	}
	begun, failed := beginAll(parts)
	if failed == nil {
		// A driver would refuse too, but not every one in a way that can be told
		// from a write under way.
		failed = ctx.Err()
	}
	if failed != nil {
		_ = endAll(begun, Aborted(failed))
		return unjoin(failed)
	}
	outcome := errPanicked
	defer func() { // also when write panics, or ends the goroutine
		if outcome == errPanicked {
			_ = endAll(parts, outcome)
		}
	}()
	until := parts[0].deadline()
	for _, p := range parts[1:] {
		if d := p.deadline(); d.Before(until) {
			until = d
		}
	}
	wctx := deadline.With(ctx, until, context.DeadlineExceeded)
	defer wctx.Stop()
	outcome = sound(write(wctx))
	told := outcome
	if outcome != nil && len(parts) > 1 && slices.ContainsFunc(parts, func(p WritePart) bool { return p.definite(outcome) }) {
		told = Aborted(outcome)
	}
	if err := endAll(parts, told); err != nil {
		return err // outcome is nil then
	}
	return outcome
}

// beginAll begins the parts, and returns those for which that went well.
func beginAll(parts []WritePart) (begun []WritePart, failed error) {
	if len(parts) == 1 {
		if err := parts[0].begin(); err != nil {
			return nil, err
		}
		return parts, nil
	}
	for i, err := range eachPart(parts, WritePart.begin) {
		if err == nil {
			begun = append(begun, parts[i])
		} else {
			failed = errors.Join(failed, err)
		}
	}
	return begun, failed
}

func endAll(parts []WritePart, outcome error) error {
	if len(parts) == 1 {
		return parts[0].end(outcome)
	}
	return unjoin(errors.Join(eachPart(parts, func(p WritePart) error { return p.end(outcome) })...))
}

// eachPart calls f for all parts at once, since each may be a round trip.
func eachPart(parts []WritePart, f func(WritePart) error) []error {
	errs := make([]error, len(parts))
	if len(parts) == 0 {
		return errs
	}
	var all sync.WaitGroup
	for i, p := range parts[1:] {
		all.Go(func() { errs[i+1] = f(p) })
	}
	errs[0] = f(parts[0])
	all.Wait()
	return errs
}

// unjoin returns the only error of a join.
func unjoin(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) == 1 {
		return all.Unwrap()[0]
	}
	return err
}
