package httpapi

import (
	"testing"

	"github.com/asidecache/aside"
)

// Each reason for a miss has a status.
// Caught: a read with no Cache-Status, and a panic of a stale one, for the latest reason.
func TestCacheStatusOfEachMiss(t *testing.T) {
	misses := 0
	for miss := aside.MissNone; misses == 0 || miss.String() != aside.MissNone.String(); miss++ {
		misses++
		if s := cacheStatuses[cacheStatusKey{source: aside.SourceLoad, miss: miss}]; len(s) != 1 {
			t.Errorf("%v: %q", miss, s)
		}
	}
	if misses < 10 {
		t.Errorf("%d reasons", misses)
	}
}
