package redisl2

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// watchEvictions tells the watchers within SilenceTimeout that a server has
// evicted keys. It is needed: a server that evicts to make room for a command of
// ours ends our tracking of the evicted keys and, since NOLOOP is judged by whose
// command runs, says nothing (trackingInvalidateKey in Redis' tracking.c). It
// does not say which keys those were either, so L1 as a whole is not trusted.
func (s *Store) watchEvictions(c rueidis.Client) {
	every := s.opt.ConnWriteTimeout / 2 // a quarter of SilenceTimeout
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	evicted := map[string]int64{}
	for warned := false; ; {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		servers := map[string]rueidis.Client{"": c}
		if c.Mode() == rueidis.ClientModeCluster {
			servers = s.topology.known(c.Nodes())
		}
		more := false
		for addr, n := range servers {
			ctx, cancel := context.WithTimeout(s.ctx, every)
			count, err := evictedKeys(ctx, n)
			cancel()
			if err != nil {
				continue // a lost connection empties L1 by itself
			}
			// A server that is seen for the first time counts from zero: what it
			// evicted before costs one flush. A lower count is that of a restart.
			more = more || count > evicted[addr]
			evicted[addr] = count
		}
		if !more {
			continue
		}
		s.watch.invalidated(nil)
		if !warned {
			warned = true
			s.log.Warn("redis evicts keys to make room: as long as it does, L1 is emptied again and again; give it more memory")
		}
	}
}

func evictedKeys(ctx context.Context, c rueidis.Client) (int64, error) {
	info, err := c.Do(ctx, c.B().Info().Section("stats").Build()).ToString()
	if err != nil {
		return 0, err
	}
	_, count, ok := strings.Cut(info, "\nevicted_keys:")
	if !ok {
		return 0, fmt.Errorf("redisl2: INFO without evicted_keys")
	}
	var n int64
	_, err = fmt.Sscanf(count, "%d", &n)
	return n, err
}
