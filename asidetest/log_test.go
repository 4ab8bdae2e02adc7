package asidetest_test

import (
	"sync"
	"testing"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
)

// logPrimary is a primary whose changes go to a Log.
func logPrimary(*testing.T) asidetest.Primary {
	var (
		l        asidetest.Log
		mu       sync.Mutex
		versions = map[string]uint64{}
	)
	commit := func(keys []string, deleted bool) {
		mu.Lock()
		defer mu.Unlock()
		var changes []driver.Change
		for _, k := range keys {
			c := driver.Change{Key: k, Deleted: deleted}
			if !deleted {
				versions[k]++
				c.Version = versions[k]
			}
			changes = append(changes, c)
		}
		l.Append(changes...)
	}
	return asidetest.Primary{
		Feed:   &l,
		Put:    func(_ testing.TB, keys ...string) { commit(keys, false) },
		Delete: func(_ testing.TB, keys ...string) { commit(keys, true) },
		Version: func(_ testing.TB, key string) uint64 {
			mu.Lock()
			defer mu.Unlock()
			return versions[key]
		},
		All:  func(testing.TB) { l.AppendAll() },
		Lose: func(testing.TB) { l.Lose() },
	}
}

func TestLog(t *testing.T) { asidetest.TestFeed(t, logPrimary) }
