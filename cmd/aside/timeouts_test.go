package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// Each timeout flag sets its option. Without flags the options have the library's defaults.
// Caught: a flag that was parsed but not passed on.
func TestTimeoutFlags(t *testing.T) {
	for _, tt := range []struct {
		args                                            string
		load, write, fence, redis, soft, degraded, hush time.Duration
	}{
		{"", 5 * time.Second, 5 * time.Second, 0, 100 * time.Millisecond, 0, time.Second, 2 * time.Second},
		{"--load-timeout 1s --write-timeout 2s --fence-ttl 3s --redis-timeout 4ms --redis-soft-timeout 3ms --degraded-l1-ttl 5s --redis-silence 600ms",
			time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Millisecond, 3 * time.Millisecond, 5 * time.Second, 600 * time.Millisecond},
		{"--degraded-l1-ttl 0s", 5 * time.Second, 5 * time.Second, 0, 100 * time.Millisecond, 0, -1, 2 * time.Second},
	} {
		var c cli
		parser, err := kong.New(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(append([]string{"serve"}, strings.Fields(tt.args)...)); err != nil {
			t.Fatal(err)
		}
		o := c.Serve.options("n", slog.Default())
		l2, err := c.Serve.redisOptions(slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []struct {
			name      string
			got, want time.Duration
		}{
			{"LoadTimeout", o.LoadTimeout, tt.load},
			{"WriteTimeout", o.WriteTimeout, tt.write},
			{"FenceTTL", o.FenceTTL, tt.fence},
			{"L2Timeout", o.L2Timeout, tt.redis},
			{"L2SoftTimeout", o.L2SoftTimeout, tt.soft},
			{"DegradedL1TTL", o.DegradedL1TTL, tt.degraded},
			{"SilenceTimeout", l2.SilenceTimeout, tt.hush},
		} {
			if d.got != d.want {
				t.Errorf("%q: %s is %v, want %v", tt.args, d.name, d.got, d.want)
			}
		}
	}
}

// Caught: a flag without effect. Reads of several keys stay bulk loads.
func TestNoBulkLoads(t *testing.T) {
	for _, off := range []bool{false, true} {
		o := (&CacheFlags{NoBulkLoads: off, NegativeTTL: time.Second, L1Size: 10, L1Bytes: 1 << 20, TTL: time.Minute}).options("n", slog.Default())
		if got := o.Bulk.Wait < 0; got != off {
			t.Errorf("NoBulkLoads %v: single reads are loaded one by one: %v", off, got)
		}
	}
}

// Caught: a fence as short as the write timeout. The library reported it after the listener
// was open, with the names of its options instead of flags.
func TestInvalidTimeoutFlags(t *testing.T) {
	_, stderr, code := asideRun(t, nil, strings.Fields("serve --listen 127.0.0.1:0 --load-timeout 0s --write-timeout=-1s --redis-timeout 1us --redis-silence 99ms --degraded-l1-ttl=-1s")...)
	if code != exitUsage {
		t.Errorf("exit %d", code)
	}
	for _, flag := range []string{"--load-timeout", "--write-timeout", "--redis-timeout", "--redis-silence", "--degraded-l1-ttl"} {
		if !strings.Contains(stderr, flag+" must") {
			t.Errorf("no word on %s:\n%s", flag, stderr)
		}
	}
	_, stderr, code = asideRun(t, nil, "serve", "--listen", "127.0.0.1:0", "--write-timeout", "2s", "--fence-ttl", "2s")
	if code != exitUsage || !strings.Contains(stderr, "--fence-ttl must be longer than --write-timeout, 2s") {
		t.Errorf("exit %d:\n%s", code, stderr)
	}
}
