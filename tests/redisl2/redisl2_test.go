package redisl2_test

import (
	"cmp"
	"testing"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// open connects with patience unless told otherwise: a machine with no time to
// spare may take seconds to answer a new connection, as the cluster client makes
// whenever a slot begins to move, and that is no outage.
func open(t testing.TB, o redisl2.Options) *redisl2.Store {
	t.Helper()
	o.DialTimeout = cmp.Or(o.DialTimeout, minute)
	s, err := redisl2.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	srv := testserver.Redis(t)
	asidetest.TestL2(t, func(t *testing.T) (a, b driver.Tier) {
		return open(t, redisl2.Options{URL: srv.URL()}), open(t, redisl2.Options{URL: srv.URL()})
	})
}
