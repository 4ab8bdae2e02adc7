package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/bench/listing"
)

// workload returns the workload. Without --ids and --trace it asks the servers for their
// ids.
func (c *BenchCmd) workload(ctx context.Context, view benchView) (ids.Workload, error) {
	var w ids.Workload
	var err error
	switch {
	case c.Trace != "":
		if w, err = c.replay(ctx); ctx.Err() != nil {
			return nil, err
		}
	case !c.asks(c.WarmUp.Once):
		w, err = c.over(c.given())
	}
	if err != nil {
		return nil, &exitError{err, exitUsage}
	}
	if !c.starts() {
		if err := c.reach(ctx, c.urls()...); err != nil {
			return nil, err
		}
	}
	if w != nil {
		return w, nil
	}
	set, err := c.ask(ctx, view)
	if err != nil {
		return nil, err
	}
	w, err = c.over(set)
	if err != nil {
		return nil, &exitError{err, exitUsage}
	}
	return w, nil
}

// ask returns the ids that all servers of the run list.
func (c *BenchCmd) ask(ctx context.Context, view benchView) (ids.Set, error) {
	if c.starts() {
		// All settings have the same store. The first server is started once more for this.
		s, err := c.serve(ctx, c.settings()[0])
		if err != nil {
			return nil, err
		}
		set, err := c.askAll(ctx, view, []string{s.url + "/todos"})
		return set, errors.Join(err, s.stop())
	}
	return c.askAll(ctx, view, c.urls())
}

func (c *BenchCmd) askAll(ctx context.Context, view benchView, urls []string) (ids.Set, error) {
	var l *listing.Listing
	for _, url := range urls {
		view.listing(url, 0)
		last := time.Now()
		next, err := listing.Find(ctx, url, listing.Options{Seed: c.Seed, Among: l, Progress: func(seen int) {
			if now := time.Now(); now.Sub(last) >= time.Second {
				view.listing(url, seen)
				last = now
			}
		}})
		switch {
		case ctx.Err() != nil:
			return nil, &exitError{fmt.Errorf("interrupted while asking %s for its ids", url), 130}
		case errors.Is(err, listing.ErrEmpty):
			return nil, fmt.Errorf(`--url %s: %w: load some with "aside load --count 1000", or start "aside demo"`, url, err)
		case err != nil:
			return nil, fmt.Errorf("--url %s: cannot find out which ids exist: %w: give them with --ids FIRST-LAST (--url must be the URL of the collection, such as http://HOST:PORT/todos)", url, err)
		case len(next.IDs) == 0:
			return nil, fmt.Errorf("--url %s has none of the ids that %s lists: the servers must have the same records", url, urls[0])
		}
		l = next
	}
	return l.Set(), nil
}
