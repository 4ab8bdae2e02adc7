package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// One line when the store stops answering and one when it answers again, whatever number
// of calls fail. Answers such as "not found", and callers that leave, are no outage.
// Caught: a line for each failed call; a locked
// table, while pings were answered.
func TestStoreStateIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := &storeState{log: slog.New(slog.NewTextHandler(&log, nil))}
	lines := func(when string, down, up int) {
		t.Helper()
		if d, u := strings.Count(log.String(), "the store does not answer"), strings.Count(log.String(), "the store answers again"); d != down || u != up {
			t.Errorf("%s: %d and %d lines, want %d and %d:\n%s", when, d, u, down, up, log.String())
		}
	}
	see := func(n int, err error) {
		for range n {
			s.seen("get", 0, err)
		}
	}
	see(9, todo.ErrNotFound)
	see(9, todo.ErrPrecondition)
	see(9, context.Canceled)
	for range 9 {
		see(2, context.DeadlineExceeded)
		see(1, nil)
	}
	lines("well", 0, 0)
	see(20, todo.ErrUnavailable)
	see(9, context.Canceled)
	s.seen("ping", 0, nil)
	lines("down", 1, 0)
	if s.failing() == 0 {
		t.Error("it is not failing, since it answers a ping")
	}
	see(9, nil)
	if d := s.failing(); d != 0 {
		t.Errorf("it has been failing for %v, although it answers", d)
	}
	lines("up", 1, 1)
	see(2, errors.New("connection reset"))
	see(9, todo.ErrUnknownOutcome)
	lines("down again", 2, 1)
	see(1, todo.ErrNotFound)
	lines("up again", 2, 2)
}
