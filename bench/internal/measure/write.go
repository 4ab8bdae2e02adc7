package measure

import (
	"context"
	"time"

	"github.com/asidecache/aside/bench/internal/record"
)

// WriteArgs say how records are written.
type WriteArgs struct {
	Goroutines int
	For        time.Duration
}

// Writes changes records, uniformly picked, in a primary that takes no time.
func (s *Session) Writes(ctx context.Context, a WriteArgs) (Sample, error) {
	picks, err := record.NewPicks(record.Uniform, len(s.keys))
	if err != nil {
		return Sample{}, err
	}
	return s.timed(a.Goroutines, a.For, func(g int) func() error {
		p := picks.Picker(g)
		return func() error { return s.write(ctx, s.keys[p.Next()]) }
	})
}

func (s *Session) write(ctx context.Context, key string) error {
	return s.client.Write(ctx, key, func(context.Context) (*record.Todo, error) { return s.primary.Commit(key), nil })
}
