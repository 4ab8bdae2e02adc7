package redisl2_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// The bytes of leases, fences, leaders and rosters are a protocol between releases: the script's, the
// in-memory server's and those in the files are the same. Times are zeroed.
// Caught: the in-memory server wrote the end of a lone writer's fence, the script
// zeros.
func TestBytesOfLeasesAndFences(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	mem := &asidetest.Server{}
	digits := regexp.MustCompile(`(^[PR]1)?[0-9]{13}`)
	token := func(b byte) (x driver.Token) {
		for i := range x {
			x[i] = b
		}
		return x
	}
	for _, c := range []struct {
		name string
		do   func(l driver.Tier, key string)
	}{
		{"lease", func(l driver.Tier, k string) {
			l.Acquire(t.Context(), []driver.LeaseRequest{{Key: k, Lease: token(1), TTL: minute}})
		}},
		{"lease-over", func(l driver.Tier, k string) {
			v := envelope.Append(nil, envelope.Entry{Version: 7, Codec: 1, Token: token(6), Payload: []byte("value")}, -1)
			l.Acquire(t.Context(), []driver.LeaseRequest{{Key: k, Lease: token(1), TTL: minute}})
			l.Fill(t.Context(), []driver.FillRequest{{Key: k, Lease: token(1), Entry: v, TTL: minute}})
			l.Acquire(t.Context(), []driver.LeaseRequest{{Key: k, Lease: token(8), TTL: minute, Over: token(6)}})
		}},
		{"fence-alone", func(l driver.Tier, k string) {
			l.Fence(t.Context(), []driver.FenceRequest{{Key: k, Token: token(2), Life: minute}})
		}},
		{"fence-two", func(l driver.Tier, k string) {
			for i := range 2 {
				l.Fence(t.Context(), []driver.FenceRequest{{Key: k, Token: token(byte(3 + i)), Life: minute}})
			}
		}},
		{"fence-invalidated", func(l driver.Tier, k string) {
			l.Fence(t.Context(), []driver.FenceRequest{{Key: k, Token: token(2), Life: minute}})
			l.Invalidate(t.Context(), []string{k})
		}},
		{"fence-told", func(l driver.Tier, k string) {
			l.Fence(t.Context(), []driver.FenceRequest{{Key: k, Token: token(2), Life: minute}})
			l.(driver.Fed).DropOlder(t.Context(), []driver.ChangeRequest{{Key: k, Version: 1<<40 + 7}})
		}},
		{"leader", func(l driver.Tier, k string) {
			_, _ = l.(driver.Fed).Lead(t.Context(), driver.LeadRequest{Key: k, Leader: token(5), TTL: minute, State: []byte("state")})
		}},
		{"leader-given-up", func(l driver.Tier, k string) {
			for _, ttl := range []time.Duration{minute, 0} {
				_, _ = l.(driver.Fed).Lead(t.Context(), driver.LeadRequest{Key: k, Leader: token(5), TTL: ttl})
			}
		}},
		{"roster", func(l driver.Tier, k string) {
			for i, node := range []string{"one", "two", "one"} {
				_, _ = l.(driver.Roster).Announce(t.Context(), driver.AnnounceRequest{Key: k, Node: node, Data: []byte(strings.Repeat("d", i)), TTL: minute})
			}
		}},
		{"fence-many", func(l driver.Tier, k string) {
			for i := range 40 {
				l.Fence(t.Context(), []driver.FenceRequest{{Key: k, Token: token(byte(1 + i)), Life: minute}})
			}
		}},
	} {
		key := prefix + c.name
		c.do(open(t, redisl2.Options{URL: srv.URL()}), key)
		c.do(mem.NewClient(), key)
		real, err := srv.Do("GET", key).AsBytes()
		if err != nil {
			t.Fatal(err)
		}
		zeroed := func(b []byte) string {
			return hex.EncodeToString(digits.ReplaceAll(b, []byte("${1}"+strings.Repeat("0", 13)))) + "\n"
		}
		if got, want := zeroed(mem.Entry(key)), zeroed(real); got != want {
			t.Errorf("%s: in memory %s in Redis %s", c.name, got, want)
		}
		file := filepath.Join("testdata", c.name+".hex")
		if *rewrite {
			if err := os.WriteFile(file, []byte(zeroed(real)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if zeroed(real) != string(want) {
			t.Errorf("%s: %s want %s", c.name, zeroed(real), want)
		}
	}
}

// What no node stores, since it has no end: reads answer, and a write replaces it.
// Caught: a lease that is waited for until the reader's context ends; a fence that
// cannot be parsed, with which every write fails for as long as it stands.
func TestLeftoversWithoutAnEnd(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	for i, raw := range []string{"L", "Laaaaaaaaaaaaaaaa", "L1aaaaaaaaaaaaaaaa", "L2aaaaaaaaaaaaaaaa9999999999999V", "L2", "F", "FOO", "F0aaaaaaaaaaaaaaaa0000000000000", "F9later", "X"} {
		name := fmt.Sprint("left", i)
		p := newPrimary("k")
		n := newNode(t, p, srv.URL(), closed, func(o *options) { o.Name = name })
		srv.Do("SET", "aside:"+name+":0:k", raw)
		within(t, slack, raw, func() {
			n.wantStrong("k", 1)
			n.update("k")
			n.wantStrong("k", 2)
		})
		if left, err := srv.Do("PTTL", "aside:"+name+":0:k").AsInt64(); err != nil || left < 0 {
			t.Errorf("%q: %d ms left, %v", raw, left, err)
		}
		if st := n.Stats(); st.Degraded {
			t.Errorf("%q: %s", raw, st.DegradedReason)
		}
	}
}
