package redisl2

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// What fails for one key of a script fails for that key alone: the others have
// their answers, and what was done for them. With more keys than one script takes,
// too. Caught: no pcall around each key, and answers counted from the first key.
func TestFailureOfOneKeyIsItsOwn(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s, err := Open(Options{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	sc := newScript(`local function one(key, value)
  if value == 'none' then return false end
  if value == 'broken' then return value + 1 end
  redis.call(value == 'wrong' and 'LPUSH' or 'SET', key, value)
  return redis.call('INCR', key)
end`)
	teach(s, "k", sc)
	values := slices.Repeat([]string{"1", "wrong", "none", "broken", "7"}, 20)
	wrong := 0
	sc.runMany(t.Context(), s, len(values),
		func(i int) string { return fmt.Sprint("k", i) },
		func(i int) args { return args{[3]string{values[i]}, 1} },
		func(i int, m rueidis.RedisMessage, err error) {
			n, intErr := m.AsInt64()
			ok := false
			switch values[i] {
			case "wrong": // the second command, on what the first one made
				ok = errors.Is(err, driver.ErrRefused)
				wrong++
			case "broken":
				ok = errors.Is(err, driver.ErrKeyFailed) && !errors.Is(err, driver.ErrRefused)
			case "none":
				ok = err == nil && m.IsNil()
			case "1":
				ok = err == nil && intErr == nil && n == 2
			case "7":
				ok = err == nil && intErr == nil && n == 8
			}
			if !ok {
				t.Errorf("key %d, %s: %v, %v", i, values[i], m.String(), err)
			}
		})
	if wrong != 20 {
		t.Errorf("%d answers for 20 keys", wrong)
	}
	// Alone too, where the run itself fails.
	sc.runMany(t.Context(), s, 1, func(int) string { return "alone" }, func(int) args { return args{[3]string{"broken"}, 1} },
		func(_ int, _ rueidis.RedisMessage, err error) {
			if !errors.Is(err, driver.ErrKeyFailed) {
				t.Errorf("a key alone: %v", err)
			}
		})
}

// teach adds scripts to those that are the key's prefix's.
func teach(s *Store, key string, scripts ...script) {
	o := s.own(key)
	taught := &own{prefix: o.prefix, mark: o.mark, by: maps.Clone(o.by)}
	for _, sc := range scripts {
		if _, ok := taught.by[sc.sha]; !ok { // not one that is the same as it was
			taught.by[sc.sha] = sc
		}
	}
	s.owns.mu.Lock()
	defer s.owns.mu.Unlock()
	s.owns.by[o.prefix] = taught
}
