package pgstore

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
	"github.com/asidecache/aside/tests/testserver"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func mustOpen(t *testing.T, url string, opts Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, opts)
	return storetest.Opened(t, s, err)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) todo.Store {
		return mustOpen(t, testserver.Postgres(t).URL(), Options{})
	})
}

func TestIdentity(t *testing.T) {
	storetest.Identity(t, true, func(t *testing.T) func() todo.Store {
		p := testserver.Postgres(t)
		return func() todo.Store { return mustOpen(t, p.URL(), Options{}) }
	})
}
