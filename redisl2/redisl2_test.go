package redisl2_test

import (
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/testserver"
	"github.com/asidecache/aside/redisl2"
)

func open(t testing.TB, o redisl2.Options) *redisl2.Store {
	t.Helper()
	s, err := redisl2.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	srv := testserver.Redis(t)
	asidetest.TestL2(t, func(t *testing.T) (a, b aside.L2) {
		return open(t, redisl2.Options{URL: srv.URL()}), open(t, redisl2.Options{URL: srv.URL()})
	})
}
