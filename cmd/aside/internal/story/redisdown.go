package story

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const (
	downReaders = 8
	downPause   = 5 * time.Millisecond
	downWrites  = 50 * time.Millisecond
	// recoverTime is how long the servers may take to use Redis again.
	recoverTime = 30 * time.Second
	// wideRecords is how many records are read.
	wideRecords = 200
)

// redisDown: all connections to Redis are cut for a while.
func redisDown(r *run) error {
	records, err := r.records(wideRecords)
	if err != nil {
		return err
	}
	// One client of each server writes a record of its own.
	written := make([]written, len(r.nodes))
	for i := range written {
		written[i].Todo = records[i%len(records)]
		defer r.putBack(written[i].Todo)
	}
	seconds := cmp.Or(r.Seconds, 10)
	reads, writes := newTally(), newTally()
	var stale atomic.Int64
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	workers(ctx, &wg, downReaders*len(r.nodes), downPause, func(worker int) {
		reads.add(r.get(r.nodes[worker%len(r.nodes)], records[rand.IntN(len(records))].ID, false))
	})
	workers(ctx, &wg, len(r.nodes), downWrites, func(i int) {
		w := &written[i]
		name := fmt.Sprintf("Written at %s, with or without Redis", time.Now().Format("15:04:05.000"))
		a, err := r.rename(r.ctx, r.nodes[i], w.ID, name)
		writes.add(a, err)
		if err != nil || !a.ok() {
			return
		}
		w.version.Store(a.Version)
		// What a server has written it reads, whatever is in Redis.
		if a, err := r.get(r.nodes[i], w.ID, false); err == nil && a.ok() && a.Version < w.version.Load() {
			stale.Add(1)
		}
	})
	if !r.pause(time.Second) {
		return r.ctx.Err()
	}
	before := reads.take()
	allWrites := writes.take()
	r.say(info, "With Redis: %d reads/s, p99 %.1f ms, %.0f %% from a cache.", before.answered(), before.percentile(99), before.hits())
	if before.failed > 0 {
		return fmt.Errorf("requests fail already: %s", before.last)
	}

	defer r.o.Redis.Restore()
	r.o.Redis.Cut()
	r.say(info, "Redis is gone.")
	allReads := newTally()
	for second := 1; second <= seconds; second++ {
		if !r.pause(time.Second) {
			return r.ctx.Err()
		}
		rd, wr := reads.take(), writes.take()
		level, trouble := good, ""
		if rd.failed+wr.failed > 0 {
			level, trouble = bad, fmt.Sprintf(", the last failed with: %s%s", rd.last, wr.last)
		}
		r.say(level, "%d s without: %d reads, %d writes, %s, p99 %.1f ms, %.0f %% from memory%s.",
			second, rd.answered(), wr.answered(), count(rd.failed+wr.failed, "error"), rd.percentile(99), rd.hits(), trouble)
		if second == 1 {
			if reason := r.nodes[0].Cache.Stats().DegradedReason; reason != "" {
				r.say(info, "The servers say that they are degraded: %s.", reason)
			}
		}
		allReads.plus(rd)
		allWrites.plus(wr)
	}
	r.o.Redis.Restore()
	took, ok := r.until(recoverTime, func() bool { return r.every(func(n Node) bool { return !n.Cache.Stats().Degraded }) })
	if r.ctx.Err() != nil {
		return r.ctx.Err()
	}
	if !ok {
		return fmt.Errorf("Redis is back, and not used after %v: %s", took.Round(time.Second), r.nodes[0].Cache.Stats().DegradedReason)
	}
	r.say(good, "Redis is back, and used again after %.1f s. What was written meanwhile is dropped there.", took.Seconds())
	stop()
	wg.Wait()
	allReads.plus(reads.take())
	allWrites.plus(writes.take())
	old, err := r.compare(written)
	if err != nil {
		return err
	}
	if len(r.nodes) > 1 {
		r.say(info, "On all servers, every record that was written is the one in the store, %d of %d right away.", len(r.nodes)*len(written)-old, len(r.nodes)*len(written))
	}
	failed := allReads.failed + allWrites.failed
	r.facts = map[string]any{
		"nodes": len(r.nodes), "seconds": seconds, "reads": allReads.answered(), "writes": allWrites.answered(), "errors": failed,
		"stale": stale.Load(), "p99_ms": allReads.percentile(99), "p99_before_ms": before.percentile(99), "recovered_ms": ms(took),
	}
	r.ends(failed == 0 && stale.Load() == 0, "%d s without Redis: %d reads and %d writes, %s, %s; used again after %.1f s",
		seconds, allReads.answered(), allWrites.answered(), count(failed, "error"), count(int(stale.Load()), "stale answer"), took.Seconds())
	return nil
}

// written is a record that one client writes.
type written struct {
	todo.Todo
	version atomic.Int64 // the last that was acknowledged
}

// compare waits until all servers return what was written last. old is how many answers were
// older at first.
func (r *run) compare(all []written) (old int, err error) {
	newest := map[string]int64{} // with few records, several clients write the same one
	for i := range all {
		newest[all[i].ID] = max(newest[all[i].ID], all[i].version.Load())
	}
	first := true
	_, ok := r.until(healTime, func() bool {
		behind := 0
		for _, n := range r.nodes {
			for i := range all {
				var a answer
				if a, err = r.mustGet(n, all[i].ID, false); err != nil {
					return true
				}
				if a.Version < newest[a.ID] {
					behind++
				}
			}
		}
		if first {
			first, old = false, behind
		}
		return behind == 0
	})
	if err == nil && !ok {
		err = fmt.Errorf("a server still returns a record from before the last write")
	}
	return old, err
}
