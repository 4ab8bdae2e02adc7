package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
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
	if s.trouble().Failing.IsZero() {
		t.Error("it is not failing, since it answers a ping")
	}
	see(9, nil)
	if x := s.trouble(); x != (httpapi.StoreTrouble{}) {
		t.Errorf("it is in trouble, although it answers: %+v", x)
	}
	lines("up", 1, 1)
	see(2, errors.New("connection reset"))
	see(9, todo.ErrUnknownOutcome)
	lines("down again", 2, 1)
	see(1, todo.ErrNotFound)
	lines("up again", 2, 2)
}

// It is known since when nothing was answered, and since when calls fail: since the first of
// the failures that followed each other. Caught: since the third; since a failure of an hour
// ago; "silent" while pings are answered.
func TestStoreStateSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storeState{log: slog.New(slog.DiscardHandler)}
		began := time.Now()
		now := func(op string, err error) { s.seen(op, 0, err); time.Sleep(time.Second) }
		want := func(when string, silent, failing time.Duration) {
			t.Helper()
			at := func(d time.Duration) (z time.Time) {
				if d < 0 {
					return z
				}
				return began.Add(d)
			}
			if x := s.trouble(); !x.Silent.Equal(at(silent)) || !x.Failing.Equal(at(failing)) {
				t.Errorf("%s: %v and %v, want %v and %v", when, x.Silent, x.Failing, at(silent), at(failing))
			}
		}
		const none = -1
		now("get", todo.ErrNotFound)
		want("well", none, none)
		now("ping", todo.ErrUnavailable) // at 1 s
		want("one failed ping", time.Second, none)
		now("ping", nil)
		want("an answered ping", none, none)
		now("get", nil)
		for range 4 { // from 4 s on
			now("update", todo.ErrUnavailable)
		}
		want("down", 4*time.Second, 4*time.Second)
		now("ping", nil) // at 8 s
		want("a locked table", none, 4*time.Second)
		now("get", context.DeadlineExceeded) // at 9 s
		want("no ping since", 9*time.Second, 4*time.Second)
		time.Sleep(time.Hour)
		want("nobody has called for an hour", none, none)
		now("ping", todo.ErrUnavailable) // at 10 s and an hour
		want("down, as now is known", time.Hour+10*time.Second, time.Hour+10*time.Second)
		now("get", nil)
		want("up", none, none)
	})
}
