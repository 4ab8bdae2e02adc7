package e2e

import (
	"fmt"
	"strconv"
	"testing"
)

// Redis gets more data than fits into its memory.
func TestMemory(t *testing.T) {
	for _, f := range []fault{
		{
			// With one sample, "least recently used" is a random key. So fences and leases
			// are evicted as often as unused records.
			name: "Redis evicts keys (allkeys-lru)", lossy: true,
			redis: []string{"--maxmemory-policy", "allkeys-lru", "--maxmemory-samples", "1"},
			do: func(r *run) {
				used, err := strconv.Atoi(r.Redis.Info("memory")["used_memory"])
				if err != nil {
					r.Fatal(err)
				}
				const room, size = 200 << 10, 4 << 10
				r.Redis.Do("CONFIG", "SET", "maxmemory", strconv.Itoa(used+room))
				n := 0
				r.every(r.Fault/100, func() {
					r.Redis.Do("EVAL", "for i = 1, tonumber(ARGV[1]) do redis.call('SET', KEYS[1] .. i, string.rep('x', ARGV[2])) end",
						"1", fmt.Sprintf("filler %d ", n), strconv.Itoa(room/size), strconv.Itoa(size))
					n++
				})
				r.Redis.Do("CONFIG", "SET", "maxmemory", "0")
			},
		},
		{
			name: "Redis full (noeviction)", errors: writesRefused,
			redis: []string{"--maxmemory-policy", "noeviction"},
			do: func(r *run) {
				r.Redis.Do("CONFIG", "SET", "maxmemory", "1")
				r.hold(r.Fault)
				r.Redis.Do("CONFIG", "SET", "maxmemory", "0")
			},
		},
	} {
		f.group = redis
		t.Run(f.name, func(t *testing.T) { try(t, f) })
	}
}
