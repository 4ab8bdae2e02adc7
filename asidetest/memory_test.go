package asidetest_test

import (
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
)

func TestMemory(t *testing.T) {
	asidetest.TestL2(t, func(t *testing.T) (a, b aside.L2) {
		s := &asidetest.Server{}
		return s.NewClient(), s.NewClient()
	})
}
