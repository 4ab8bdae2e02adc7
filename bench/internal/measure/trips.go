package measure

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/asidecache/aside/bench/internal/redisproc"
	"github.com/asidecache/aside/bench/internal/roundtrips"
)

// Trips are round trips to Redis, the median of several operations of one kind,
// each done when the one before it, and what it left behind, had ended.
type Trips struct {
	Miss, FirstHit, SecondHit, Write int64
	// Commands that the server ran, for one miss and for one write.
	MissCommands, WriteCommands string
}

// Trips counts round trips, on a client of its own that does each operation
// times times.
func (s *Session) Trips(ctx context.Context, times int) (t Trips, err error) {
	proxy, err := roundtrips.Listen(s.opts.Redis)
	if err != nil {
		return t, err
	}
	defer proxy.Close()
	through := *s
	if through.client, err = s.open(ctx, proxy.Addr()); err != nil {
		return t, err
	}
	defer through.Close()
	control := redis.NewClient(&redis.Options{Addr: s.opts.Redis})
	defer control.Close()

	key := func(i int) string { return fmt.Sprintf("trips:%d", i) }
	count := func(op func(ctx context.Context, key string) error) (median int64, commands string, err error) {
		before, err := redisproc.Info(ctx, control)
		if err != nil {
			return 0, "", err
		}
		counts := make([]int64, times)
		for i := range counts {
			start := proxy.Trips()
			if err := op(ctx, key(i)); err != nil {
				return 0, "", err
			}
			proxy.Quiet(2*time.Millisecond, time.Second)
			counts[i] = proxy.Trips() - start
		}
		after, err := redisproc.Info(ctx, control)
		if err != nil {
			return 0, "", err
		}
		slices.Sort(counts)
		return counts[times/2], commandsPer(times, before, after), nil
	}

	// The first operations connect and load scripts.
	for _, op := range []func(context.Context, string) error{through.read, through.read, through.write, through.read} {
		if err := op(ctx, "trips:first"); err != nil {
			return t, err
		}
		proxy.Quiet(2*time.Millisecond, time.Second)
	}
	if t.Miss, t.MissCommands, err = count(through.read); err != nil {
		return t, err
	}
	if t.FirstHit, _, err = count(through.read); err != nil {
		return t, err
	}
	if t.SecondHit, _, err = count(through.read); err != nil {
		return t, err
	}
	t.Write, t.WriteCommands, err = count(through.write)
	return t, err
}

// commandsPer lists the commands that a server ran per operation, but for those
// that are not about a key.
func commandsPer(times int, before, after map[string]string) string {
	calls, was := redisproc.Calls(after), redisproc.Calls(before)
	var list []string
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		n := float64(calls[name]-was[name]) / float64(times)
		switch {
		case n < 0.1, name == "info", name == "ping", name == "hello", strings.HasPrefix(name, "client|") && name != "client|caching":
		default:
			list = append(list, fmt.Sprintf("%s %.3g", strings.ReplaceAll(name, "|", " "), n))
		}
	}
	return strings.Join(list, ", ")
}
