package story

import (
	"context"
	"fmt"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const (
	// healTime is how long a story waits for a record to be cached, or to become the new one.
	// A write that was cut off from Redis leaves a fence for 10 s.
	healTime = 20 * time.Second
	// switchTime is how long it waits for the servers to see that the feed is off or on.
	switchTime = 20 * time.Second
	staleTime  = time.Second
	stalePause = 20 * time.Millisecond
)

// behind: a change that is made past the caches, with the feed and without.
func behind(r *run) error {
	t, err := r.record()
	if err != nil {
		return err
	}
	defer r.putBack(t)
	r.facts = map[string]any{"id": t.ID, "nodes": len(r.nodes), "ttl_bounds_it": true}
	fed := r.every(func(n Node) bool { return n.Cache.Stats().Feed.Attached })
	var healed time.Duration
	if fed {
		if healed, err = r.withFeed(t); err != nil {
			return err
		}
		r.say(info, "The feed is switched off.")
		defer r.feedOn()
		r.o.Store.feedOff()
		if _, ok := r.until(switchTime, func() bool { return r.every(func(n Node) bool { return !n.Cache.Stats().Feed.Fed }) }); !ok {
			return fmt.Errorf("the servers do not see that the feed is off: %w", context.Cause(r.ctx))
		}
	} else {
		r.say(info, "The servers follow no feed of the store's changes (--feed off).")
	}
	stale, reads, err := r.withoutFeed(t)
	if err != nil {
		return err
	}
	if fed {
		r.facts["healed_ms"] = ms(healed)
	}
	r.facts["stale_reads_without_feed"], r.facts["reads_without_feed"] = stale, reads
	switch {
	case !fed:
		r.ends(stale == reads, "Without the feed %d of %d reads were stale, until the record was dropped", stale, reads)
	default:
		r.ends(stale == reads, "With the feed the new record was there after %.1f ms; without it %d of %d reads were stale, until the record was dropped", ms(healed), stale, reads)
	}
	return nil
}

// changePast changes a record in the store only, as another program would, and returns the
// new name.
func (r *run) changePast(t todo.Todo, how string) (string, error) {
	name := fmt.Sprintf("Changed past the service at %s (%s)", time.Now().Format("15:04:05.000"), how)
	_, err := r.o.Store.Update(r.ctx, t.ID, func(now todo.Todo) (todo.Todo, error) {
		now.Name, now.UpdatedAt = name, time.Now().UTC().Truncate(time.Millisecond)
		now.Version++
		return now, nil
	})
	if err != nil {
		return "", fmt.Errorf("changing record %s in the store: %w", t.ID, err)
	}
	return name, nil
}

// cached reads the record until all servers answer from a cache.
func (r *run) cached(id string) error {
	_, ok := r.until(healTime, func() bool {
		return r.every(func(n Node) bool {
			a, err := r.get(n, id, false)
			return err == nil && a.ok() && (a.tier == "L1" || a.tier == "L2")
		})
	})
	if !ok {
		return fmt.Errorf("record %s does not stay in the cache: is somebody writing it?", id)
	}
	return nil
}

// allRead waits until every server returns the record with that name. old counts the reads
// that returned another one.
func (r *run) allRead(id, name string) (took time.Duration, old int, err error) {
	seen := map[string]bool{}
	took, ok := r.until(healTime, func() bool {
		return r.every(func(n Node) bool {
			if seen[n.Name] {
				return true
			}
			var a answer
			if a, err = r.mustGet(n, id, false); err != nil {
				return true // it ends the wait
			}
			if seen[n.Name] = a.Name == name; !seen[n.Name] {
				old++
			}
			return seen[n.Name]
		})
	})
	if err == nil && !ok {
		err = fmt.Errorf("after %v a server still returns the old record", took.Round(time.Millisecond))
	}
	return took, old, err
}

func (r *run) withFeed(t todo.Todo) (time.Duration, error) {
	if _, ok := r.until(switchTime, func() bool { return r.every(func(n Node) bool { return n.Cache.Stats().Feed.Fed }) }); !ok {
		return 0, fmt.Errorf("the feed is not followed: %s", r.nodes[0].Cache.Stats().Feed.Reason)
	}
	if err := r.cached(t.ID); err != nil {
		return 0, err
	}
	r.say(info, "Record %s is in the caches.", t.ID)
	name, err := r.changePast(t, "with the feed")
	if err != nil {
		return 0, err
	}
	r.say(info, "Another program has changed it in the store, past the service.")
	took, old, err := r.allRead(t.ID, name)
	if err != nil {
		return 0, err
	}
	r.say(good, "The feed told the caches: %s answered with the new record %.1f ms after the change, after %s.",
		all(len(r.nodes)), ms(took), count(old, "old answer"))
	return took, nil
}

func all(n int) string {
	if n == 1 {
		return "the server"
	}
	return fmt.Sprintf("all %d servers", n)
}

func (r *run) withoutFeed(t todo.Todo) (stale, reads int, err error) {
	if err := r.cached(t.ID); err != nil {
		return 0, 0, err
	}
	name, err := r.changePast(t, "without the feed")
	if err != nil {
		return 0, 0, err
	}
	r.say(info, "Another program has changed record %s again. Nobody tells the caches.", t.ID)
	for begun := time.Now(); time.Since(begun) < staleTime; {
		for _, n := range r.nodes {
			a, err := r.mustGet(n, t.ID, false)
			if err != nil {
				return 0, 0, err
			}
			if reads++; a.Name != name {
				stale++
			}
		}
		if !r.pause(stalePause) {
			return 0, 0, r.ctx.Err()
		}
	}
	r.say(bad, "For a second, %d of %d reads returned the old record. Without the feed that lasts until its TTL ends.", stale, reads)
	if err := r.nodes[0].Cache.Invalidate(r.ctx, t.ID); err != nil {
		return 0, 0, err
	}
	took, _, err := r.allRead(t.ID, name)
	if err != nil {
		return 0, 0, err
	}
	r.say(good, "Somebody drops it (the page does it with a button): %s answered with the new record after %.1f ms.", all(len(r.nodes)), ms(took))
	return stale, reads, nil
}

// feedOn switches the feed on again, and waits until it is followed.
func (r *run) feedOn() {
	r.o.Store.feedOn()
	if took, ok := r.until(switchTime, func() bool { return r.every(func(n Node) bool { return n.Cache.Stats().Feed.Fed }) }); ok {
		r.say(info, "The feed is on again, and followed after %.0f ms.", ms(took))
	}
}
