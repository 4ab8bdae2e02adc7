package aside

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
)

// What does not fit any more into the lists of what L2 must be told is counted and
// logged once. Caught: it was dropped in silence.
func TestListsOfDebtsAreBounded(t *testing.T) {
	var log bytes.Buffer
	c, err := New(Options[int, int]{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.inflight.close() // nothing is told to anybody
	for i := range maxOrphans + 10 {
		c.remember(driver.AbandonRequest{})
		c.rememberFence(fencedUntil[int]{key: i, due: time.Now().Add(time.Hour)})
	}
	if c.orphans.len() != maxOrphans || c.overdue.len() != maxOverdue || c.Stats().Untold != 20 {
		t.Errorf("%d leases, %d fences, %d untold", c.orphans.len(), c.overdue.len(), c.Stats().Untold)
	}
	if n := strings.Count(log.String(), "too many"); n != 2 {
		t.Errorf("%d log lines: %s", n, log.String())
	}
	c.l1.Close()
}

// The keys written without L2 are handed out in the order of their writes, each once
// a round, however many there are; those whose time has not come are passed over, and
// no call looks at more than a few thousand. Caught: each call sorted all of them.
func TestPendingIsTakenInOrder(t *testing.T) {
	p := &pending[int]{max: 100_000, overflows: &new(counters).pendingOverflows}
	now := time.Now()
	const count = 20_000
	for i := range count {
		due := now
		if i%2 == 1 {
			due = now.Add(time.Hour)
		}
		p.add(i, driver.Token{}, due)
	}
	p.add(0, driver.Token{}, now) // written again: the last in order
	for round := range 2 {
		var got []int
		for {
			b := p.take(now, drainBatch)
			if len(b.keys) > drainBatch {
				t.Fatalf("%d keys", len(b.keys))
			}
			for i, k := range b.keys {
				got = append(got, k)
				if round == 1 || k%4 == 0 { // the others fail the first time
					p.sent(b, i)
				}
			}
			if !b.more {
				break
			}
		}
		want := count / 2
		if round == 1 {
			want = count / 4
		}
		if len(got) != want || round == 0 && got[len(got)-1] != 0 {
			t.Fatalf("round %d: %d keys, want %d, the last is %d", round, len(got), want, got[len(got)-1])
		}
		last := 0
		for _, k := range got {
			if k != 0 && k < last {
				t.Fatalf("round %d: %d after %d", round, k, last)
			}
			last = k
		}
	}
	if n := p.len(); n != count/2 {
		t.Errorf("%d are left, want those whose time has not come", n)
	}
	b := p.take(now.Add(2*time.Hour), 1)
	if len(b.keys) != 1 || b.keys[0] != 1 || !b.more {
		t.Errorf("later: %+v", b)
	}
}
