// Package follower follows a feed of changes. Of all nodes of a cache one leads and
// follows for all; a cache without L2 follows for itself.
//
// What it relies on:
//
//   - A change may be told twice, but never not at all. So a position is kept in L2 only
//     after all changes before it were handled there.
//   - L2 may lose its latest commands in a failover, positions among them or not. So
//     whenever that may have been, and with each new leader, the feed is opened at an
//     older position: one that was handled GoBack ago. Time during which a part of L2
//     cannot be reached does not count, since its failover lasts as long.
//   - Without such a position, or with a gap, everything may be old. Then the feed is
//     opened at now first, and the cache is cleared second: a load that read before
//     "now" has a lease, and the clear ends that.
package follower

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asidecache/aside/driver"
)

// Config says what to follow and for whom.
type Config struct {
	Feed driver.Feed
	// Lead asks L2 for the leadership under Key. nil: this process follows for itself.
	Lead func(context.Context, driver.LeadRequest) (driver.Leadership, error)
	Key  string
	// Handle drops what is older than the changes. told is false while L2 could not be
	// told of some of them, or of earlier ones: that is retried elsewhere.
	Handle func(context.Context, []driver.Change) (told bool)
	// Whole reports whether all of L2 can be reached. nil: there is no L2.
	Whole func() bool
	// Clear drops everything.
	Clear func(context.Context) error
	// GoBack is by how much the feed is opened again for a second time.
	GoBack time.Duration
	// Silence is how long a stream may take to answer.
	Silence time.Duration
	Log     *slog.Logger
}

const (
	// leadTTL is how long a leader that is gone keeps the others from leading, and
	// leadEvery how often it says that it is there.
	leadTTL   = 2 * time.Second
	leadEvery = leadTTL / 4

	// A leader that cannot follow lets others try after this time, and for this time.
	giveUpAfter = 5 * time.Second
	giveUpFor   = 2 * time.Second

	// backEvery is how soon it goes back again: each time it may be told of many changes.
	backEvery = 2 * time.Second

	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// Follower follows a feed. Make one with New.
type Follower struct {
	Config
	me driver.Token

	mu        sync.Mutex
	places    places
	status    Status
	backward  bool      // go back, with the next stream
	wentBack  time.Time // last time
	interrupt func()
}

// New makes a follower, which does nothing yet. me is a random token.
func New(c Config, me driver.Token) *Follower {
	f := &Follower{Config: c, me: me, interrupt: func() {}}
	f.places.goBack = c.GoBack
	f.status.Reason, f.status.Since = "the feed has not been opened yet", time.Now()
	return f
}

// GoBack says that L2 may have lost its latest commands. It does not wait.
func (f *Follower) GoBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	due := f.backward // a timer runs, or the stream ends
	f.backward = true
	if wait := backEvery - time.Since(f.wentBack); wait <= 0 {
		f.interrupt()
	} else if !due {
		time.AfterFunc(wait, f.endStream)
	}
}

// endStream ends the stream if it is to go back.
func (f *Follower) endStream() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.backward {
		f.interrupt()
	}
}

// Run follows the feed until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	if f.Lead == nil {
		for ctx.Err() == nil {
			f.notFed(ctx, f.follow(ctx))
			pause(ctx, lastRetry)
		}
		return
	}
	for ctx.Err() == nil {
		got, err := f.ask(ctx, leadTTL, nil)
		wait := leadEvery
		switch {
		case err != nil:
			f.notFed(ctx, fmt.Errorf("L2 cannot be asked who follows: %w", err))
		case got.Leads:
			if !f.lead(ctx, got.State) {
				wait = giveUpFor
			}
		default:
			f.standsBy(got)
		}
		pause(ctx, wait-time.Duration(rand.Int64N(int64(leadEvery/4))))
	}
}

func (f *Follower) ask(ctx context.Context, ttl time.Duration, state []byte) (driver.Leadership, error) {
	return f.Lead(ctx, driver.LeadRequest{Key: f.Key, Leader: f.me, TTL: ttl, State: state})
}

var (
	errDeposed = errors.New("aside: another node leads")
	errNoL2    = errors.New("aside: L2 does not answer: another node may lead by now")
)

// lead follows for all nodes as long as this one leads. It returns false if it could
// not, and has given the leadership up.
func (f *Follower) lead(ctx context.Context, state []byte) (ok bool) {
	ctx, end := context.WithCancelCause(ctx)
	f.mu.Lock()
	f.places.read(state)
	f.backward = false // it begins with the oldest place
	f.mu.Unlock()

	var keeper sync.WaitGroup
	keeper.Go(func() { end(f.keep(ctx)) })
	err := f.follow(ctx)
	cause := context.Cause(ctx)
	end(err)
	keeper.Wait()
	f.mu.Lock()
	f.status.Leads = false
	f.mu.Unlock()
	if cause == errDeposed {
		return true
	}
	f.notFed(ctx, err)
	resign, cancel := context.WithTimeout(context.WithoutCancel(ctx), leadEvery)
	defer cancel()
	_, _ = f.ask(resign, 0, f.kept())
	return cause != nil
}

// keep keeps the leadership, and the places in L2, until ctx ends. It returns why it
// could not.
func (f *Follower) keep(ctx context.Context) error {
	until := time.Now().Add(leadTTL)
	for last := time.Now(); pause(ctx, leadEvery); {
		if !f.Whole() {
			f.mu.Lock()
			f.places.stand(last)
			f.mu.Unlock()
		}
		last = time.Now()
		asked := last
		got, err := f.ask(ctx, leadTTL, f.kept())
		switch {
		case err == nil && got.Leads:
			until = asked.Add(leadTTL)
		case err == nil:
			return errDeposed
		case time.Now().After(until):
			return errNoL2
		}
	}
	return nil
}

// pause waits, and returns false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
