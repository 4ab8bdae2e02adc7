package measure

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/redisproc"
)

// settle waits until a server is asked nothing more, and returns when that was
// last seen; never, if it was idle already. Some libraries fill behind the
// answer: what they have put off is not done yet.
func settle(ctx context.Context, addr string) (busy time.Time, err error) {
	if addr == "" {
		return busy, nil
	}
	c := redis.NewClient(&redis.Options{Addr: addr})
	defer c.Close()
	const enough, limit = 10, 30 * time.Second
	quiet := 0
	var last int64
	for start := time.Now(); time.Since(start) < limit; time.Sleep(2 * time.Millisecond) {
		info, err := redisproc.Info(ctx, c)
		if err != nil {
			return busy, err
		}
		n, err := strconv.ParseInt(info["total_commands_processed"], 10, 64)
		if err != nil {
			return busy, fmt.Errorf("INFO: %w", err)
		}
		switch {
		case last == 0: // a first look
		case n-last > 1: // our own INFO is one
			quiet, busy = 0, time.Now()
		default:
			quiet++
		}
		if quiet == enough {
			return busy, nil
		}
		last = n
	}
	return busy, errors.New("the server was never left alone")
}
