package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/ops"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

// PageFlags configure the page and the calls of operators.
type PageFlags struct {
	Node          string `help:"Name of this server, which operators see. Servers that share a Redis need different names. Default: the name of the host and the process id." placeholder:"NAME" env:"ASIDE_NODE" group:"Page and operators"`
	NoPage        bool   `help:"Do not serve the page at / and /page/." env:"ASIDE_NO_PAGE" group:"Page and operators"`
	PageTokenFile string `help:"File with a token of at least 16 characters. Whoever sends it (Authorization: Bearer TOKEN) may use the operators' calls at /ops/ on --listen: look at entries, drop them, watch keys. The page asks for the token. Without this flag these calls are on --admin only, in the demo also on a loopback address." placeholder:"FILE" env:"ASIDE_PAGE_TOKEN_FILE" group:"Page and operators"`
}

// extras are what a command adds to the server.
type extras struct {
	// demo: who is on this machine may use the calls of operators.
	demo bool
	// story is nil, or a handler for httpapi.Mounts.
	story http.Handler
	// listener is the main listener, if it is there already.
	listener net.Listener
	// attach is called when the server answers requests.
	attach func(url string, cache *aside.Cache[string, todo.Todo], dash *dashboard.Dashboard)
}

// nodeName returns the name of this server.
func (f *PageFlags) nodeName() string {
	if f.Node != "" {
		return f.Node
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d", host, os.Getpid())
}

func (f *PageFlags) check() error {
	if len(f.Node) > maxNodeName {
		return fmt.Errorf("--node must have at most %d bytes, has %d", maxNodeName, len(f.Node))
	}
	for _, c := range f.Node {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("--node must have only printable ASCII characters and no spaces, is %q", f.Node)
		}
	}
	return nil
}

const maxNodeName = 128

// token reads the token; it is "" without --page-token-file.
func (f *PageFlags) token() (string, error) {
	if f.PageTokenFile == "" {
		return "", nil
	}
	token, err := readSecret("--page-token-file", f.PageTokenFile)
	if err != nil {
		return "", &exitError{err, exitUsage}
	}
	if len(token) < ops.MinToken {
		return "", &exitError{fmt.Errorf("--page-token-file: the token in %s has %d characters, it must have at least %d: it is all that protects the calls of operators",
			f.PageTokenFile, len(token), ops.MinToken), exitUsage}
	}
	return token, nil
}

// The values of "ops" in the page's configuration.
const (
	opsOpen  = "open"
	opsToken = "token"
	opsNone  = "none"
)

// opsMode says who may use the calls of operators on the main listener.
func (c *ServeCmd) opsMode(token string, e extras, listener net.Listener) string {
	switch {
	case token != "":
		return opsToken
	// With --allowed-hosts, requests from elsewhere are meant to come, perhaps through a proxy.
	case e.demo && len(c.AllowedHosts) == 0 && listener.Addr().(*net.TCPAddr).IP.IsLoopback():
		return opsOpen
	}
	return opsNone
}

// guarded returns h for the main listener, nil if it is not for that.
func guarded(h http.Handler, mode, token string) http.Handler {
	switch {
	case h == nil:
	case mode == opsToken:
		return ops.WithToken(h, token)
	case mode == opsOpen:
		return ops.ForLocal(h)
	}
	return nil
}

// announcer returns the function that announces this node to the others of its cache; nil
// if they share no L2.
func announcer(l2 driver.Tier, cache, node string) func(ctx context.Context, data []byte) (map[string][]byte, error) {
	roster, ok := l2.(driver.Roster)
	if !ok {
		return nil
	}
	return func(ctx context.Context, data []byte) (map[string][]byte, error) {
		return roster.Announce(ctx, driver.AnnounceRequest{Key: "aside:" + cache + ":nodes:roster", Node: node, Data: data, TTL: dashboard.TTL})
	}
}

// nodeURL returns the URL of this server for others: with the name of the host where the
// listener has no address of its own.
func nodeURL(l net.Listener, secure *keyPair) string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return urlAt(l, secure, host)
}

// startDashboard takes samples until stop is called.
func startDashboard(o dashboard.Options) (d *dashboard.Dashboard, stop func()) {
	d = dashboard.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Run(ctx)
	}()
	return d, func() {
		cancel()
		<-ended
	}
}
