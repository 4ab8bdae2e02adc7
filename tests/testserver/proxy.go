package testserver

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy is a TCP proxy of toxiproxy in this process, on a port that stays its
// own while it is cut.
type Proxy struct {
	t testing.TB

	mu    sync.Mutex
	proxy *toxiproxy.Proxy
}

// Toxiproxy starts a proxy in front of upstream (host:port), and stops it when
// the test ends.
func Toxiproxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled) // a toxic takes no logger, it writes to the global one
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{t: t}
	var err error
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		p.proxy = toxiproxy.NewProxy(server, t.Name(), fmt.Sprintf("127.0.0.1:%d", port), upstream)
		if err = p.proxy.Start(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("toxiproxy for %s: %v", upstream, err)
	}
	t.Cleanup(func() {
		// Toxics first: a link that is held by one would outlive the proxy.
		p.proxy.Toxics.ResetToxics(context.Background())
		p.proxy.Stop()
	})
	return p
}

// Addr is the address to connect to.
func (p *Proxy) Addr() string { return p.proxy.Listen }

// Cut closes every connection and refuses new ones, as a server that has died.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
}

// Restore ends whatever Cut, Silence, SilenceReplies, Latency, Jitter and
// Bandwidth began. A
// connection that was silent is closed, since bytes of it are lost.
func (p *Proxy) Restore() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Toxics.ResetToxics(context.Background())
	if p.proxy.Enabled {
		return
	}
	if err := p.proxy.Start(); err != nil {
		p.t.Fatalf("toxiproxy: listen again on %s: %v", p.proxy.Listen, err)
	}
}

// Reset closes every connection and accepts new ones at once.
func (p *Proxy) Reset() {
	p.t.Helper()
	p.Cut()
	p.Restore()
}

// Silence swallows every byte in both directions and keeps connections open,
// new ones too, as a host that has vanished from the network.
func (p *Proxy) Silence() {
	p.t.Helper()
	p.add("upstream", "timeout", `{"timeout":0}`)
	p.add("downstream", "timeout", `{"timeout":0}`)
}

// SilenceReplies lets requests through and swallows the replies: what was sent
// is done, and the sender never learns of it.
func (p *Proxy) SilenceReplies() {
	p.t.Helper()
	p.add("downstream", "timeout", `{"timeout":0}`)
}

// Latency delays replies by d (whole milliseconds).
func (p *Proxy) Latency(d time.Duration) {
	p.t.Helper()
	p.add("downstream", "latency", fmt.Sprintf(`{"latency":%d}`, d.Milliseconds()))
}

// Jitter delays replies by d, give or take a random part of spread, which is
// at most d (whole milliseconds).
func (p *Proxy) Jitter(d, spread time.Duration) {
	p.t.Helper()
	p.add("downstream", "latency", fmt.Sprintf(`{"latency":%d,"jitter":%d}`, d.Milliseconds(), spread.Milliseconds()))
}

// Bandwidth lets so many thousand bytes a second through, in each direction.
func (p *Proxy) Bandwidth(kilobytes int) {
	p.t.Helper()
	p.add("upstream", "bandwidth", fmt.Sprintf(`{"rate":%d}`, kilobytes))
	p.add("downstream", "bandwidth", fmt.Sprintf(`{"rate":%d}`, kilobytes))
}

func (p *Proxy) add(stream, kind, attributes string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	name := kind + "-" + stream
	_ = p.proxy.Toxics.RemoveToxic(context.Background(), name)
	_, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name":%q,"type":%q,"stream":%q,"attributes":%s}`, name, kind, stream, attributes)))
	if err != nil {
		p.t.Fatalf("toxiproxy: %s: %v", name, err)
	}
}
