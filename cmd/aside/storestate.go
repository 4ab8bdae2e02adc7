package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// storeState logs when the store stops answering, and when it answers again.
type storeState struct {
	log *slog.Logger

	failures atomic.Int32 // in a row
	last     atomic.Int64 // when the last call failed, in Unix nanoseconds
	mu       sync.Mutex
	since    time.Time // when it stopped; zero: it answers
}

// quietFor is for how long the last failure says something. Then nobody has called since.
const quietFor = 30 * time.Second

// A single failure may be that of one connection.
const storeFailures = 3

// failing returns for how long the store has not answered; 0: it does.
func (s *storeState) failing() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() || time.Since(time.Unix(0, s.last.Load())) > quietFor {
		return 0
	}
	return time.Since(s.since)
}

// seen is told of each call of the store, see todo.Observe.
func (s *storeState) seen(op string, _ time.Duration, err error) {
	switch {
	case op == "ping" && err == nil:
		// A database whose table is locked answers that, and nothing else.
	case errors.Is(err, context.Canceled):
		// The caller left: it says nothing of the store.
	case todo.Answered(err):
		if s.failures.Load() > 0 {
			s.answered()
		}
	default:
		s.last.Store(time.Now().UnixNano())
		if s.failures.Add(1) >= storeFailures {
			s.failed(op, err)
		}
	}
}

func (s *storeState) failed(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.IsZero() {
		s.since = time.Now()
		s.log.Warn("the store does not answer", "op", op, "error", err)
	}
}

func (s *storeState) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures.Store(0)
	if !s.since.IsZero() {
		s.log.Info("the store answers again", "after", time.Since(s.since).Round(time.Millisecond).String())
		s.since = time.Time{}
	}
}
