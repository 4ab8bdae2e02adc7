package asidetest_test

import (
	"testing"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

func TestMemory(t *testing.T) {
	asidetest.TestL2(t, func(t *testing.T) (a, b driver.Tier) {
		s := &asidetest.Server{}
		return s.NewClient(), s.NewClient()
	})
}
