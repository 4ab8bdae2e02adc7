package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// storeState knows since when the store has not answered. It logs when that begins, and
// when it answers again.
type storeState struct {
	log *slog.Logger

	troubled atomic.Bool // a call failed, and none was answered since: otherwise answers skip the lock

	mu       sync.Mutex
	failures int       // in a row, of calls
	last     time.Time // when the last of them was
	failing  time.Time // when the first of them was
	silent   time.Time // when the first failure was after which not even a ping succeeded
	logged   time.Time // failing, when the log was told; zero: its last word is that it answers
}

// quietFor is for how long the last failure says something. Then nobody has called since.
const quietFor = 30 * time.Second

// A single failure may be that of one connection.
const storeFailures = 3

// trouble implements httpapi.Options.StoreTrouble.
func (s *storeState) trouble() (t httpapi.StoreTrouble) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last) > quietFor {
		return t
	}
	t.Silent = s.silent
	if s.failures >= storeFailures {
		t.Failing = s.failing
	}
	return t
}

// seen is told of each call of the store, see todo.Observe.
func (s *storeState) seen(op string, _ time.Duration, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		// The caller left: it says nothing of the store.
	case !todo.Answered(err):
		s.failed(op, err)
	case s.troubled.Load():
		s.answered(op)
	}
}

func (s *storeState) failed(op string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	again := now.Sub(s.last) <= quietFor
	if s.failures == 0 || !again {
		s.failing = now
	}
	if s.silent.IsZero() || !again {
		s.silent = now
	}
	s.last = now
	s.failures++
	s.troubled.Store(true)
	if s.failures >= storeFailures && s.logged.IsZero() {
		s.logged = s.failing
		s.log.Warn("the store does not answer", "op", op, "error", err)
	}
}

func (s *storeState) answered(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = time.Time{}
	if op == "ping" {
		return // a database whose table is locked answers that, and nothing else
	}
	s.failures = 0
	s.troubled.Store(false)
	if !s.logged.IsZero() {
		s.log.Info("the store answers again", "after", time.Since(s.logged).Round(time.Millisecond).String())
		s.logged = time.Time{}
	}
}
