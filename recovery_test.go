package aside

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/outbox"
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
	for i := range maxLeaseDebts + 10 {
		c.oweLease(driver.AbandonRequest{})
		c.oweFence(i, driver.Token{}, time.Now().Add(time.Hour))
	}
	if c.outbox.Len(outbox.Lease) != maxLeaseDebts || c.outbox.Len(outbox.Fence) != maxFenceDebts || c.Stats().Untold != 20 {
		t.Errorf("%d leases, %d fences, %d untold", c.outbox.Len(outbox.Lease), c.outbox.Len(outbox.Fence), c.Stats().Untold)
	}
	if n := strings.Count(log.String(), "too many"); n != 2 {
		t.Errorf("%d log lines: %s", n, log.String())
	}
	c.l1.Close()
}
