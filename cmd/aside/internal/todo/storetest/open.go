package storetest

import (
	"log/slog"
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Opened returns a store that was opened for a test, and closes it when the test ends. s
// and err are what opening it has returned.
func Opened[S todo.Store](t testing.TB, s S, err error) S {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// Logger returns a logger that writes everything to l.
func Logger(l *testsync.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
