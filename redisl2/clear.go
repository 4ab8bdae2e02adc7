package redisl2

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/rueidis"
)

// Clear implements aside.L2. It scans every master, so it takes time in
// proportion to all keys there, not only to those with the prefix. It is an error
// if a master of a cluster cannot be reached, or has been added so lately that it
// is not known yet.
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

func (s *Store) clear(ctx context.Context, n rueidis.Client, prefix string) error {
	for cursor := uint64(0); ; {
		page, err := n.Do(ctx, n.B().Scan().Cursor(cursor).Match(globEscaper.Replace(prefix)+"*").Count(1000).Build()).AsScanEntry()
		if err != nil {
			return wrap(err)
		}
		if len(page.Elements) > 0 {
			if err := errors.Join(s.Invalidate(ctx, page.Elements)...); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

var globEscaper = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
