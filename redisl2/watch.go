package redisl2

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// watchers hands invalidations to the caches by prefix. rueidis calls it from
// the goroutine that reads the connection, between the replies, which is what
// keeps pushes and answers in the server's order.
type watchers struct {
	mu sync.RWMutex
	by map[string]driver.Watcher

	lookAgain func() // called with each loss
	scratch   string // how the keys end that nobody is told of
}

// prefixes are those that are watched.
func (ws *watchers) prefixes() (all []string) {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	for prefix := range ws.by {
		all = append(all, prefix)
	}
	slices.Sort(all)
	return all
}

// Watch implements driver.Tier. A prefix can be watched once: two caches of one
// name over one connection would not be told of each other's writes.
func (s *Store) Watch(prefix string, w driver.Watcher) (stop func(), err error) {
	if !strings.HasSuffix(prefix, ":") {
		return nil, fmt.Errorf("%w: prefix %q does not end in a colon", ErrOptions, prefix)
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	if _, ok := s.watch.by[prefix]; ok {
		return nil, fmt.Errorf("%w: another cache with prefix %q uses this Store", ErrOptions, prefix)
	}
	if s.watch.by == nil {
		s.watch.by = make(map[string]driver.Watcher)
	}
	s.watch.by[prefix] = w
	if s.health.untested.Load() {
		s.health.look()
	}
	go s.admitAhead()
	return func() {
		s.watch.mu.Lock()
		defer s.watch.mu.Unlock()
		delete(s.watch.by, prefix)
	}, nil
}

// lost is called when the server flushed everything, or the connection, and with
// it the tracking, is gone.
func (ws *watchers) lost() {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	for _, w := range ws.by {
		w.Lost()
	}
	ws.lookAgain()
}

// changed is called with keys that have changed.
func (ws *watchers) changed(keys []rueidis.RedisMessage) {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	for i := range keys {
		key, err := keys[i].ToString()
		if err != nil || strings.HasSuffix(key, ws.scratch) {
			continue
		}
		if prefix, rest, ok := split(key); ok {
			if w, ok := ws.by[prefix]; ok {
				w.Changed(rest)
			}
		}
	}
}

// split cuts a key after its third colon: app, cache, schema, then the user's key.
func split(key string) (prefix, rest string, ok bool) {
	at := 0
	for range 3 {
		i := strings.IndexByte(key[at:], ':')
		if i < 0 {
			return "", "", false
		}
		at += i + 1
	}
	return key[:at], key[at:], true
}
