// Package redisl2 is aside's shared tier on Redis (7.0 or later) and Valkey:
// one server, Sentinel or Cluster.
//
// Each cache key is one Redis string, and each operation one Lua script for each key
// by itself (except in a cluster one run of it may be for several), so every key lives
// in one slot and changes in one step. Invalidations
// come by RESP3 client tracking (https://redis.io/docs/latest/develop/reference/client-side-caching/)
// in the default mode: the server remembers what this connection read. There is
// exactly one connection per server for everything, since tracking belongs to a
// connection: a key read over one and filled over another would be pushed back
// as foreign, and a push could be overtaken by a later read.
package redisl2

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
)

// Options of a Store. URL is required.
type Options struct {
	// URL of the server, in the form of the Redis URI specification:
	//
	//	redis://user:password@host:port/db     one server, or any node of a cluster
	//	rediss://...                           the same over TLS
	//	unix:///path/to/redis.sock
	//	redis://host1:port?addr=host2:port&addr=host3:port              several nodes of a cluster
	//	redis://host1:26379?addr=host2:26379&master_set=mymaster        Sentinel
	//
	// A server with cluster support is used as a cluster. Further parameters
	// are db, client_name, dial_timeout and skip_verify.
	URL string

	// TLS replaces the TLS configuration of a rediss URL.
	TLS *tls.Config

	// SentinelUsername and SentinelPassword are what the sentinels ask for, if
	// they do; those of the URL are for the servers.
	SentinelUsername, SentinelPassword string

	// DialTimeout bounds connecting; default 1s.
	DialTimeout time.Duration

	// SilenceTimeout bounds, as a whole, how long a connection that died
	// without a word is trusted: after it, watchers are told that changes may
	// have been lost. Default 2s; at least 100ms.
	SilenceTimeout time.Duration

	// ClientName is shown by CLIENT LIST; default "aside".
	ClientName string

	// Logger; default slog.Default().
	Logger *slog.Logger
}

// Store is an aside.L2. Close it after the caches that use it.
type Store struct {
	opt     rueidis.ClientOption
	silence time.Duration // SilenceTimeout
	log     *slog.Logger
	client  atomic.Pointer[rueidis.Client]
	health  health

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	watch    watchers
	topology topology // of a cluster
	doubt    doubt    // elsewhere
}

var _ aside.Partitioned = (*Store)(nil)

// ErrOptions is matched by the error of Open for options that cannot work.
var ErrOptions = errors.New("redisl2: invalid options")

var errClosed = errors.New("redisl2: closed")

// Open makes a Store. Only faulty options fail: a server that is down, or that
// cannot be used as it is set up, is tried again in the background, and until then
// every operation returns an error, which a cache takes as "Redis is down". Check
// tells the two apart.
func Open(o Options) (*Store, error) {
	opt, err := clientOption(o)
	if err != nil {
		return nil, err
	}
	s := &Store{log: cmp.Or(o.Logger, slog.Default()), silence: 2 * opt.ConnWriteTimeout}
	s.health.init()
	s.watch.lookAgain, s.watch.scratch = s.health.look, s.health.scratch
	s.ctx, s.cancel = context.WithCancel(context.Background())
	opt.OnInvalidations = s.watch.invalidated
	s.doubt.watchDials(&opt)
	s.opt = opt
	err = s.connect()
	s.done.Go(func() { s.mind(err) })
	return s, nil
}

func clientOption(o Options) (rueidis.ClientOption, error) {
	fail := func(format string, args ...any) (rueidis.ClientOption, error) {
		return rueidis.ClientOption{}, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...)
	}
	opt, err := parseURL(o.URL)
	if err != nil {
		return fail("URL: %w", err)
	}
	silence := cmp.Or(o.SilenceTimeout, 2*time.Second)
	if silence < 100*time.Millisecond {
		return fail("SilenceTimeout is %v, want at least 100ms", silence)
	}
	if o.DialTimeout < 0 {
		return fail("DialTimeout is negative")
	}
	if o.TLS != nil {
		opt.TLSConfig = o.TLS
	}
	opt.ClientName = cmp.Or(opt.ClientName, o.ClientName, "aside")
	if strings.ContainsAny(opt.ClientName, " \r\n") {
		return fail("client name %q has blanks", opt.ClientName)
	}
	// rueidis looks every KeepAlive whether anything arrived, and pings if
	// not: a silent connection is found after two intervals and one time-out.
	opt.Dialer = net.Dialer{Timeout: cmp.Or(o.DialTimeout, opt.Dialer.Timeout, time.Second), KeepAlive: silence / 4}
	opt.ConnWriteTimeout = silence / 2
	opt.Sentinel.Dialer = opt.Dialer
	opt.Sentinel.TLSConfig = opt.TLSConfig
	opt.Sentinel.Username, opt.Sentinel.Password = o.SentinelUsername, o.SentinelPassword
	if opt.Sentinel.MasterSet != "" {
		opt.Sentinel.TopologyRefreshInterval = 5 * time.Second
	}
	opt.ClusterOption.ShardsRefreshInterval = 5 * time.Second
	opt.PipelineMultiplex = -1
	opt.RingScaleEachConn = 12
	opt.DisableRetry = true // a retry is the cache's decision: it knows what may be sent twice
	// Not nil, which would be OPTIN. And not NOLOOP: with it the server does not
	// tell us what it dropped to make room for a command of ours, keys or tracking.
	opt.ClientTrackingOptions = []string{}
	opt.NewCacheStoreFn = func(rueidis.CacheStoreOption) rueidis.CacheStore { return noStore{} }
	return opt, nil
}

func (s *Store) connect() error {
	c, err := rueidis.NewClient(s.opt)
	if err != nil {
		err = s.whoFailed(err)
	} else {
		if c.Mode() != rueidis.ClientModeCluster {
			c = prompt{c, &s.doubt}
		} else {
			c = prompt{Client: c}
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.opt.Dialer.Timeout)
		defer cancel()
		if c.Mode() == rueidis.ClientModeCluster {
			s.topology.learn(ctx, c) // before anything is read
		}
		err = s.test(ctx, c)
		s.health.trouble.Store(nil)
		if err != nil && !errors.Is(err, ErrUnusable) {
			e := err // it may pass, and operations can be tried
			s.health.trouble.Store(&e)
			err = nil
		}
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		e := err
		s.health.down.Store(&e)
		return err
	}
	if c.Mode() == rueidis.ClientModeCluster {
		s.done.Go(func() { s.watchSlots(c) })
	}
	s.client.Store(&c)
	s.health.down.Store(nil)
	return s.State()
}

func (s *Store) get() (rueidis.Client, error) {
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	if s.health.down.Load() != nil {
		return nil, s.State()
	}
	if c := s.client.Load(); c != nil {
		return *c, nil
	}
	return nil, errors.New("redisl2: not connected")
}

// Close closes the connections. Watchers are told that changes may be lost.
func (s *Store) Close() {
	s.cancel()
	s.done.Wait()
	if c := s.client.Load(); c != nil {
		(*c).Close()
	}
	s.watch.invalidated(nil)
}

// Ping asks every master whether it could be written now. Of a cluster, one
// that can is enough: the keys of the others fail one by one.
func (s *Store) Ping(ctx context.Context) error {
	c, err := s.get()
	if err != nil {
		return err
	}
	if c.Mode() != rueidis.ClientModeCluster {
		return pingOnce(ctx, c)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := s.topology.known(c.Nodes())
	answers := make(chan error, len(servers))
	for _, n := range servers {
		go func() { answers <- pingOnce(ctx, n) }()
	}
	err = nil
	for range servers {
		e := <-answers
		if e == nil {
			return nil
		}
		err = errors.Join(err, e)
	}
	return err
}

func pingOnce(ctx context.Context, c rueidis.Client) error {
	return wrap(c.Do(ctx, c.B().Eval().Script(ping.src).Numkeys(0).Build()).Error())
}

// noStore stands in for rueidis' own client-side cache, which we do not use.
type noStore struct{}

func (noStore) Flight(string, string, time.Duration, time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	return rueidis.RedisMessage{}, nil
}
func (noStore) Update(string, string, rueidis.RedisMessage) int64 { return 0 }
func (noStore) Cancel(string, string, error)                      {}
func (noStore) Delete([]rueidis.RedisMessage)                     {}
func (noStore) Close(error)                                       {}
