package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/ownredis"
	"github.com/asidecache/aside/cmd/aside/internal/story"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const redisServerOff = "off"

// demo is a demo that runs.
type demo struct {
	*DemoCmd
	log   *slog.Logger
	out   io.Writer
	count int64

	listeners  []net.Listener
	redis      *ownredis.Server // nil: it has none of its own
	redisText  string           // a sentence about it
	noRedis    string           // why a story cannot cut it
	closeStore func() error

	mu    sync.Mutex
	nodes []*demoNode
}

// demoNode is one of the servers.
type demoNode struct {
	name string
	url  string               // "" until it serves
	dash *dashboard.Dashboard // nil until then
}

func (d *demo) close() {
	for _, l := range d.listeners {
		_ = l.Close()
	}
	if d.closeStore != nil {
		if err := d.closeStore(); err != nil {
			d.log.Error("closing the store", "error", err)
		}
	}
	if d.redis != nil {
		if err := d.redis.Close(); err != nil {
			d.log.Warn("closing the demo's Redis", "error", err)
		}
	}
}

// listen takes the ports of all servers: consecutive ones from --listen on. The first must
// be free; in place of another one that is not, the system picks one.
func (d *demo) listen(ctx context.Context) error {
	for i := range d.Nodes {
		l, err := listen(ctx, "--listen", nthAddress(d.Listen, i))
		if err != nil && i > 0 {
			l, err = listen(ctx, "--listen", nthAddress(d.Listen, anyPort))
		}
		if err != nil {
			return err
		}
		d.listeners = append(d.listeners, l)
	}
	return nil
}

const anyPort = -1

// nthAddress returns the address of a server, of which address is the first one's.
func nthAddress(address string, n int) string {
	host, port, _ := net.SplitHostPort(address) // it was checked
	first, err := strconv.Atoi(port)
	switch {
	case n == 0 || err == nil && first == 0:
		return address
	case n == anyPort || err != nil || first+n > 65535:
		return net.JoinHostPort(host, "0")
	}
	return net.JoinHostPort(host, strconv.Itoa(first+n))
}

// startRedis starts a Redis for the demo, if one is installed and wanted.
func (d *demo) startRedis(ctx context.Context) error {
	switch {
	case d.NoCache:
		d.redisText, d.noRedis = "There is no cache (--no-cache).", "the server runs without a cache"
		return nil
	case d.Redis != "":
		d.redisText = "The servers share " + redactURL(d.Redis) + "."
		d.noRedis = "the demo cuts only a Redis of its own, and this one was given with --redis"
		return nil
	case d.RedisServer == redisServerOff:
		d.redisText, d.noRedis = "There is no second cache tier (--redis-server=off).", "the demo runs without Redis (--redis-server=off)"
		return nil
	}
	r, err := ownredis.Start(ctx)
	switch {
	case err == nil:
		d.redis, d.Redis = r, r.URL()
		d.redisText = fmt.Sprintf("The second cache tier is %s of the demo's own; it ends with the demo.", r.Version)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case d.Nodes > 1 && errors.Is(err, ownredis.ErrMissing):
		return &exitError{fmt.Errorf("--nodes %d needs a Redis that the servers share, and %w: install one (apt install redis-server, or brew install redis), or give --redis",
			d.Nodes, err), exitUsage}
	case d.Nodes > 1:
		return fmt.Errorf("--nodes %d needs a Redis that the servers share: %w; or give --redis", d.Nodes, err)
	case errors.Is(err, ownredis.ErrMissing):
		d.redisText = "There is no second cache tier: install redis-server and start again to see it."
		d.noRedis = "the demo runs without Redis: install redis-server or valkey-server, and start it again"
	default:
		d.redisText = "There is no second cache tier: " + err.Error() + "."
		d.noRedis = "the demo's Redis did not start: " + err.Error()
	}
	return nil
}

// serve runs the servers until ctx ends.
func (d *demo) serve(ctx context.Context, store todo.Store) error {
	shared := story.NewStore(todo.Slow(store, d.added()))
	options := story.Options{Store: shared, NoRedis: d.noRedis, MaxLoads: d.MaxLoads, Context: ctx, Log: d.log}
	if d.redis != nil {
		options.Redis = d.redis
	}
	stories := story.New(options)
	defer stories.Close()
	line := newLiveLine(d.out)
	log := slog.New(line.handler(d.log.Handler()))

	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var servers sync.WaitGroup
	failures := make([]error, d.Nodes)
	started := make(chan struct{}, d.Nodes)
	for i := range d.Nodes {
		cmd := d.ServeCmd
		cmd.opened = shared
		node, nodeLog := &demoNode{name: cmd.nodeName()}, log
		if d.Nodes > 1 {
			if cmd.Node == "" && d.redis != nil {
				cmd.Node = "node"
			}
			cmd.Node = fmt.Sprintf("%s-%d", cmd.nodeName(), i+1)
			node.name, nodeLog = cmd.Node, log.With("node", cmd.Node)
		}
		if cmd.Admin != "" {
			cmd.Admin = nthAddress(cmd.Admin, i)
		}
		d.nodes = append(d.nodes, node)
		e := extras{demo: true, story: stories, listener: d.listeners[i]}
		e.attach = func(url string, cache *aside.Cache[string, todo.Todo], dash *dashboard.Dashboard) {
			stories.Attach(story.Node{Name: node.name, URL: url, Cache: cache})
			d.mu.Lock()
			node.url, node.dash = url, dash
			d.mu.Unlock()
			started <- struct{}{}
		}
		servers.Go(func() {
			if failures[i] = cmd.run(running, nodeLog, nil, e); failures[i] != nil {
				stop(context.Cause(ctx)) // the others end too
			}
		})
	}
	for range d.Nodes {
		select {
		case <-started:
		case <-running.Done():
		}
	}
	if running.Err() == nil {
		fmt.Fprint(d.out, d.intro())
		if d.redis != nil {
			servers.Go(func() {
				select {
				case <-d.redis.Ended():
					log.Error("the demo's Redis has ended by itself: the servers go on without it")
				case <-running.Done():
				}
			})
		}
		line.run(running, d.sample)
	}
	servers.Wait()
	return errors.Join(failures...)
}

// urls returns the addresses of all servers.
func (d *demo) urls(separator string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var urls []string
	for _, n := range d.nodes {
		urls = append(urls, n.url)
	}
	return strings.Join(urls, separator)
}

// sample adds up the last second of all servers. The percentile is that of the slowest.
func (d *demo) sample() (sum dashboard.Sample) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.nodes {
		if n.dash == nil {
			continue
		}
		s := n.dash.Nodes()[n.name].Sample
		sum.Requests += s.Requests
		sum.Errors += s.Errors
		sum.L1 += s.L1
		sum.L2 += s.L2
		sum.Misses += s.Misses
		sum.Loads += s.Loads
		sum.P99 = max(sum.P99, s.P99)
		if sum.Degraded == "" {
			sum.Degraded = s.Degraded
		}
	}
	return sum
}

// terminal returns the terminal behind w, nil if it is none.
func terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
