package measure

import (
	"context"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// Staleness is the time since the first write was acknowledged that the reader
// should have seen.
//
// Caught: staleness measured from the newest write alone; a read counted as
// stale for a write that was acknowledged after the read began.
func TestStaleness(t *testing.T) {
	var a acks
	if a.known() != 0 {
		t.Error("a version is known before any write")
	}
	a.acknowledge(3) // overlapping writes may return in another order
	a.acknowledge(2)
	now := time.Now()
	a.at = map[int64]time.Time{2: now.Add(-5 * time.Second), 3: now.Add(-3 * time.Second), 4: now.Add(-4 * time.Second), 5: now.Add(time.Second)}
	a.newest = 5
	for _, tt := range []struct {
		floor, returned int64
		want            time.Duration
		stale           bool
	}{
		{floor: 3, returned: 3},
		{floor: 3, returned: 4},
		{floor: 0, returned: 1},
		{floor: 4, returned: 4},
		{floor: 4, returned: 3, want: 4 * time.Second, stale: true},
		{floor: 4, returned: 2, want: 4 * time.Second, stale: true}, // 3 came later than 4
		{floor: 4, returned: 1, want: 5 * time.Second, stale: true},
		{floor: 3, returned: 2, want: 3 * time.Second, stale: true},
	} {
		if got, stale := a.staleness(now, tt.floor, tt.returned); got != tt.want || stale != tt.stale {
			t.Errorf("returned %d where %d was known: %v, %v", tt.returned, tt.floor, got, stale)
		}
	}
}

// The three interleavings end as each library's code says that they must, so
// the harness forces what it claims to force.
//
// Caught: a second load that was let through before the first had stored what
// it read.
func TestReplay(t *testing.T) {
	const n = 3
	for id, want := range map[string]Replayed{
		"aside":        {},
		"aside-strong": {},
		"otter-loader": {},
		// The plain pattern: nothing is shared, and every fill is unconditional.
		"rueidis": {LateFill: n},
		// A flight is shared whenever it began, and every fill is unconditional.
		"redis-cache": {Join: n, LateFill: n, TwoLoads: n},
		// The lease's token is the client's, so its second load lets the first one's fill pass.
		"rueidisaside": {TwoLoads: n},
	} {
		server := testserver.Redis(t)
		want.Times = n
		if got, err := Replay(context.Background(), id, server.Addr(), n); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", id, got, err, want)
		}
	}
	if _, err := Replay(context.Background(), "rueidis-get", testserver.Redis(t).Addr(), 1); err == nil {
		t.Error("replayed on what cannot tell versions")
	}
}

// The workload finds stale reads where nothing joins the clients, and none where
// every read asks Redis.
func TestStaleReads(t *testing.T) {
	run := func(id string) Stale {
		t.Helper()
		r, err := StaleReads(context.Background(), StaleArgs{
			Peer: id, Redis: testserver.Redis(t).Addr(), Clients: 2, Keys: 8, Readers: 4, Writers: 2, For: 500 * time.Millisecond, Seed: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", id, r)
		if r.Reads == 0 || r.Writes == 0 || r.Loads == 0 || r.Errors > 0 {
			t.Errorf("%s: %+v", id, r)
		}
		return r
	}
	if r := run("redis-cache-both"); r.Stale == 0 || r.Max < r.P50 || r.Max == 0 || r.Clients != 2 || r.Pairs != 16 || r.After1s == 0 {
		t.Errorf("two clients with caches of their own: %+v", r)
	}
	if r := run("otter-loader"); r.Clients != 1 || r.Stale != 0 {
		t.Errorf("one client: %+v", r)
	}
	// A machine too busy for Redis to answer in time proves nothing.
	for range 5 {
		if r := run("aside-strong"); r.Trouble == "" {
			if r.Stale != 0 || r.After500ms != 0 {
				t.Errorf("strong reads: %+v", r)
			}
			return
		}
	}
	t.Error("Redis was never in time")
}
