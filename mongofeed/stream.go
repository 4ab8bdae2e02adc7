package mongofeed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/asidecache/aside/driver"
)

var errClosed = errors.New("the stream is closed")

const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second

	// More events may be there behind a reply of so many.
	manyEvents = 100
	// gatherTime is how long changes are gathered while more are there.
	gatherTime = 500 * time.Millisecond
	// drainTime is how long a burst is read before it is told as a change of all.
	drainTime = time.Second
	// noWait is the shortest time that the server can wait for a change.
	noWait = time.Millisecond
)

// stream is an open change stream.
type stream struct {
	f      *Feed
	closed context.Context
	close  context.CancelCauseFunc

	mu     sync.Mutex // held by Next and at the end of Close; guards the rest
	sess   *mongo.Session
	ended  bool
	mongos bool
	images bool // the collection had pre-images when the cursor was opened
	known  *known

	cursor int64 // 0: none
	first  reply // what the opening has returned, until it is used
	at     position
	err    error // that ended the stream

	givenMu sync.Mutex
	given   position // behind all that Next has returned

	// burst: changes up to at are still to be told, as a change of all.
	burst bool
}

func (s *stream) useImages() bool { return s.images && len(s.f.read()) > 0 }

// join returns a context that ends with ctx and with the stream.
func (s *stream) join(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closed, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// Position implements driver.Stream.
func (s *stream) Position() driver.Position {
	s.givenMu.Lock()
	defer s.givenMu.Unlock()
	return s.given.encode()
}

// Handled implements driver.Stream. MongoDB keeps no record of its readers: the oplog
// reaches back as far as it is large.
func (s *stream) Handled(context.Context, driver.Position) error { return nil }

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.close(errClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	s.ended = true
	s.drop()
	s.sess.EndSession(context.Background())
	if s.known != nil {
		s.f.mu.Lock()
		s.f.spare = s.known
		s.f.mu.Unlock()
	}
	return nil
}

// drop closes the cursor. The next reply comes from a new one, opened at s.at.
func (s *stream) drop() {
	if s.first.id != 0 && s.first.id != s.cursor {
		s.kill(s.first.id)
	}
	s.kill(s.cursor)
	s.cursor, s.first = 0, reply{}
}

// goBack closes the cursor. What was read and not returned is read again, but for a burst,
// which is told as a change of all in any case.
func (s *stream) goBack() {
	s.drop()
	if !s.burst {
		s.at = s.given
	}
}

// Next implements driver.Stream.
func (s *stream) Next(ctx context.Context) (driver.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return driver.Batch{}, s.err
	}
	if s.ended {
		return driver.Batch{}, explain(s.f.ns(), errClosed, false)
	}
	joined, release := s.join(ctx)
	defer release()
	batch, err := s.next(joined)
	if err == nil {
		return batch, nil
	}
	s.goBack()
	if ctx.Err() != nil { // The caller may go on with another context.
		return driver.Batch{}, fmt.Errorf("mongofeed: follow %s: %w", s.f.ns(), context.Cause(ctx))
	}
	s.err = explain(s.f.ns(), err, true)
	return driver.Batch{}, s.err
}

// next tries until the server has been silent for too long.
func (s *stream) next(ctx context.Context) (driver.Batch, error) {
	silent, pause := time.Now(), firstPause
	for {
		batch, err := s.gather(ctx, &silent)
		switch {
		case err == nil:
			return batch, nil
		case ctx.Err() != nil:
			return batch, context.Cause(ctx)
		case isGap(err), hasCode(err, tokenCodes...), hasCode(err, fatalCodes...):
			return batch, err
		}
		s.goBack()
		if time.Since(silent)+pause >= s.f.opts.Silence {
			return batch, fmt.Errorf("no answer for %v: %w", time.Since(silent).Round(time.Millisecond), err)
		}
		if err := sleep(ctx, pause); err != nil {
			return batch, err
		}
		pause = min(2*pause, lastPause)
	}
}

// gather reads the events that are there and returns them as one batch.
func (s *stream) gather(ctx context.Context, silent *time.Time) (driver.Batch, error) {
	var events []event
	var batch driver.Batch
	all := s.burst
	wait := s.f.opts.Wait
	var begun time.Time
	for {
		r, err := s.ask(ctx, wait, *silent)
		if err != nil {
			return batch, err
		}
		if r.id == 0 && len(r.events) == 0 {
			return batch, errors.New("the server has closed the stream")
		}
		*silent = time.Now()
		if begun.IsZero() {
			begun = *silent
		}
		next := s.at
		if r.token != nil {
			next.Token = r.token
		}
		var txn string
		for _, raw := range r.events {
			e, err := s.f.parse(raw)
			if err != nil {
				return batch, err
			}
			txn = e.txn
			if e.all() {
				all = true
				// A collection that is created again has another UUID.
				next.UUID = nil
			}
			if e.time.After(next.Time) {
				next.Time = e.time
			}
			if !e.wall.IsZero() {
				batch.Committed = e.wall
			}
			if !all {
				events = append(events, e)
			}
		}
		if len(events) > s.f.opts.MaxChanges {
			all = true
		}
		if all {
			// The events are told, so they need not be read again.
			events, s.burst = nil, true
			s.known.clear()
		}
		if next.UUID == nil && len(r.events) > 0 {
			info, err := s.collection(ctx, s.f.opts.Silence)
			if err != nil {
				return batch, err
			}
			next.UUID = info.uuid
		}
		s.at = next
		s.cursor = r.id
		if r.id == 0 { // The collection was dropped or renamed. The stream goes on behind that.
			all, s.burst = true, true
			break
		}
		more := len(r.events) >= manyEvents || s.mongos && txn != ""
		spent := time.Since(begun)
		if !more || all && spent >= drainTime || !all && txn == "" && spent >= gatherTime {
			break
		}
		wait = noWait
	}
	if !all && len(events) > 0 {
		var err error
		if batch.Changes, all, err = s.resolve(ctx, events); err != nil {
			s.known.rewind(s.given.Time)
			return driver.Batch{}, err
		}
	}
	if all {
		batch.Changes, batch.All = nil, true
		s.known.clear()
	}
	s.known.covered = s.at.Time
	s.burst = false
	s.givenMu.Lock()
	s.given = s.at
	s.givenMu.Unlock()
	return batch, nil
}

// ask returns the next reply of the server, and opens the cursor if there is none. The
// opening alone is no reply, unless it has events: it succeeds where reading fails.
func (s *stream) ask(ctx context.Context, wait time.Duration, silent time.Time) (reply, error) {
	if r := s.first; r.id != 0 || len(r.events) > 0 {
		s.first, s.cursor = reply{}, r.id
		if len(r.events) > 0 {
			return r, nil
		}
	}
	left := func() time.Duration { return max(s.f.opts.Silence-time.Since(silent), noWait) }
	if s.cursor == 0 {
		r, err := s.open(ctx, left(), false)
		if err != nil {
			return reply{}, err
		}
		s.cursor = r.id
		if len(r.events) > 0 {
			return r, nil
		}
		if r.id == 0 {
			return reply{}, errors.New("the server has closed the new stream")
		}
	}
	return s.getMore(ctx, s.cursor, wait, min(wait+s.f.opts.Silence/2, left()))
}
