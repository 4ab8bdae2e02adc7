package redisl2

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// Clear implements driver.Tier. It scans every master, so it takes time in
// proportion to all keys there, not only to those with the prefix. It is an error
// if a master of a cluster cannot be reached, or has been added so lately that it
// is not known yet.
//
// ctx alone bounds it as a whole. Each of its steps has SilenceTimeout, and is tried
// again a few times. A server that has been restarted, or another that took its
// place, is scanned from the start.
func (s *Store) Clear(ctx context.Context, prefix string) error {
	c, err := s.get()
	if err != nil {
		return err
	}
	if c.Mode() != rueidis.ClientModeCluster {
		return s.clear(ctx, c, prefix)
	}
	for pass := 1; ; pass++ {
		before := s.topology.ask(ctx, c.Nodes())
		if before.missing != nil {
			return before.missing
		}
		ends := make(chan error, len(before.owners))
		for _, n := range before.owners {
			go func() { ends <- s.clear(ctx, n, prefix) }()
		}
		var failed error
		for range before.owners {
			failed = errors.Join(failed, <-ends)
		}
		if failed != nil {
			return failed
		}
		// A key that was moved meanwhile, from a server not yet scanned to one
		// already scanned, was seen on neither. But then it stays for the second
		// pass.
		after := s.topology.ask(ctx, c.Nodes())
		if after.missing != nil {
			return after.missing
		}
		if pass == 2 || after.moved == before.moved && !before.moving && !after.moving {
			return nil
		}
	}
}

// Bounds of Clear's steps. A page, and a batch of its keys, has SilenceTimeout.
const (
	clearPage  = 1000    // keys that the server looks at for one page
	clearBytes = 1 << 20 // of keys' names that are removed at once
	clearTries = 5       // of a page or a batch
	clearWait  = 100 * time.Millisecond
)

func (s *Store) clear(ctx context.Context, n rueidis.Client, prefix string) error {
	c := scan{s: s, n: n, match: globEscaper.Replace(prefix) + "*"}
	for {
		keys, done, err := c.next(ctx)
		if err != nil {
			return err
		}
		for len(keys) > 0 {
			some := cut(keys, clearPage, clearBytes)
			if err := s.remove(ctx, some); err != nil {
				return err
			}
			keys = keys[len(some):]
		}
		if done {
			return nil
		}
	}
}

// scan goes through the keys of one server.
//
// A cursor is a place in the server's hash table and nothing that the server
// remembers, so it is as good on another connection. It is not on another server,
// nor after a restart: the same keys have other places there.
type scan struct {
	s      *Store
	n      rueidis.Client
	match  string
	cursor uint64
	run    string // whose cursor it is
	noInfo bool   // the server does not let us ask for its run
}

// next returns the next page. done: it is the last.
func (c *scan) next(ctx context.Context) (keys []string, done bool, err error) {
	count := int64(clearPage)
	err = c.s.retry(ctx, func(ctx context.Context) error {
		var run string
		var page rueidis.ScanEntry
		if run, page, err = c.ask(ctx, count); err != nil {
			count = max(count/10, 1) // it may have been too much for the time
			return err
		}
		if run != c.run && c.cursor != 0 {
			c.cursor = 0
			if run, page, err = c.ask(ctx, count); err != nil {
				return err
			}
		}
		keys, c.cursor, c.run = page.Elements, page.Cursor, run
		return nil
	})
	return keys, c.cursor == 0, err
}

// ask asks for the page at the cursor, and by the same connection what run of the
// server that is. Where that is not told, it is the connection.
func (c *scan) ask(ctx context.Context, count int64) (run string, page rueidis.ScanEntry, err error) {
	cmds := []rueidis.Completed{
		c.n.B().Scan().Cursor(c.cursor).Match(c.match).Count(count).Build(),
		c.n.B().Hello().Build(),
	}
	if !c.noInfo {
		cmds = append(cmds, c.n.B().Info().Section("server").Build())
	}
	rs := c.n.DoMulti(ctx, cmds...)
	if page, err = rs[0].AsScanEntry(); err != nil {
		return "", page, wrap(err)
	}
	hello, err := rs[1].AsMap()
	if err != nil {
		return "", page, wrap(err)
	}
	id := hello["id"]
	connection, err := id.AsInt64()
	if err != nil {
		return "", page, err
	}
	run = fmt.Sprint("connection ", connection)
	if !c.noInfo {
		info, err := rs[2].ToString()
		if _, refused := rueidis.IsRedisErr(err); refused {
			c.noInfo = true
		} else if err != nil {
			return "", page, err
		}
		if id, ok := readInfo(info)["run_id"]; ok {
			run = id
		}
	}
	return run, page, nil
}

// remove invalidates keys. What failed is tried again, and that alone.
func (s *Store) remove(ctx context.Context, keys []string) error {
	return s.retry(ctx, func(ctx context.Context) error {
		var failed []string
		var errs []error
		for i, err := range s.Invalidate(ctx, keys) {
			if err != nil {
				failed, errs = append(failed, keys[i]), append(errs, err)
			}
		}
		if keys = failed; len(keys) == 0 {
			return nil
		}
		return errs[0]
	})
}

// retry runs a step of Clear, which has a time of its own, a few times.
func (s *Store) retry(ctx context.Context, step func(context.Context) error) error {
	for try, wait := 1, clearWait; ; try, wait = try+1, 2*wait {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, s.silence)
			defer cancel()
			return step(ctx)
		}()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("redisl2: Clear: %w", context.Cause(ctx))
		case try == clearTries || errors.Is(err, driver.ErrRefused) || s.ctx.Err() != nil:
			return fmt.Errorf("redisl2: Clear, after %d tries of one step: %w", try, err)
		}
		s.sleep(ctx, wait)
	}
}

// cut returns the first of the keys: not more than that many, nor with more bytes,
// but one at least.
func cut(keys []string, count, bytes int) []string {
	for i, k := range keys {
		if bytes -= len(k); i > 0 && (i == count || bytes < 0) {
			return keys[:i]
		}
	}
	return keys
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
