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

	"github.com/asidecache/aside/driver"
)

// Options of a Store. Either URL or ClientOption is required.
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
	// are db, client_name, dial_timeout and skip_verify. The port is 6379 where none is told.
	//
	// A certificate must be for the host of the URL. With several addresses or Sentinel it must
	// be for the server's own address; set TLS with a ServerName if one name is in all of them.
	URL string

	// ClientOption is for a program that has options of rueidis already, such as those of
	// its other clients: for credentials that change, a dial function, or servers that a
	// URL cannot tell. The Store takes from it where the servers are and how to reach them:
	// InitAddress, which is required, SelectDB, Username, Password, AuthCredentialsFn,
	// TLSConfig, Dialer, DialFn, DialCtxFn, Sentinel, ClusterOption, ClientName,
	// ClientSetInfo, ClientNoEvict, buffers, MaxFlushDelay.
	//
	// Pipelining, retries, pools, timeouts of commands and intervals are the Store's own.
	// What would break the cache is an error: AlwaysRESP2, DisableCache,
	// ClientTrackingOptions, OnInvalidations, NewCacheStoreFn, ReplicaOnly, SendToReplicas,
	// Standalone, ConnLifetime.
	//
	// A client that runs cannot be shared: the server tells of changes on the connection
	// that has read the keys, so the Store has one of its own to each server.
	ClientOption *rueidis.ClientOption

	// TLS replaces the TLS configuration of a rediss URL or of ClientOption.
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

// Store is a driver.Tier on Redis, for aside.Options.L2. Close it after the caches that use it.
type Store struct {
	opt     rueidis.ClientOption
	dial    dialFunc      // how opt would have it without us
	delay   atomic.Int64  // see NoticeDelay
	silence time.Duration // SilenceTimeout
	log     *slog.Logger
	client  atomic.Pointer[rueidis.Client]
	health  health

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	watch      watchers
	topology   topology // of a cluster
	conns      conns
	owns       owns
	admissions admissions
	tracked    tracked
	plain      plain
	flushes    atomic.Int32 // that told is about to be called for
	room       atomic.Int64 // for the answer to a lookup of one key

	inspections chan struct{} // those that run
}

var (
	_ driver.Partitioned = (*Store)(nil)
	_ driver.Tracking    = (*Store)(nil)
	_ driver.Noticing    = (*Store)(nil)
)

// ErrOptions is matched by the error of Open for options that cannot work.
var ErrOptions = errors.New("redisl2: invalid options")

const defaultSilence = 2 * time.Second

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
	s := &Store{log: cmp.Or(o.Logger, slog.Default()), silence: 2 * opt.ConnWriteTimeout, inspections: make(chan struct{}, maxInspections)}
	s.health.init()
	s.watch.lookAgain, s.watch.scratch = s.health.look, s.health.scratch
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if s.dial = opt.DialCtxFn; s.dial == nil {
		s.dial = dial
	}
	opt.DialCtxFn = s.conns.dialer(s.dial, toServer)
	opt.OnInvalidations = s.told
	opt.NewCacheStoreFn = func(rueidis.CacheStoreOption) rueidis.CacheStore { return &news{of: s} }
	s.opt = opt
	err = s.connect()
	s.done.Go(func() { s.mind(err) })
	return s, nil
}

func clientOption(o Options) (rueidis.ClientOption, error) {
	fail := func(format string, args ...any) (rueidis.ClientOption, error) {
		return rueidis.ClientOption{}, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, args...)...)
	}
	opt, err := rueidis.ClientOption{}, error(nil)
	switch {
	case o.ClientOption != nil && o.URL != "":
		return fail("URL and ClientOption are both set: set one of them")
	case o.ClientOption != nil:
		if opt, err = fromClientOption(*o.ClientOption); err != nil {
			return fail("ClientOption: %w", err)
		}
	default:
		if opt, err = parseURL(o.URL); err != nil {
			return fail("URL: %w", err)
		}
	}
	silence := cmp.Or(o.SilenceTimeout, defaultSilence)
	if silence < 100*time.Millisecond {
		return fail("SilenceTimeout is %v, want at least 100ms", silence)
	}
	if o.DialTimeout < 0 {
		return fail("DialTimeout is negative")
	}
	if o.TLS != nil {
		opt.TLSConfig = o.TLS
	}
	if opt.ClientName = cmp.Or(opt.ClientName, o.ClientName, "aside"); o.ClientOption != nil {
		opt.ClientName = cmp.Or(o.ClientName, opt.ClientName) // that of the program's other clients may be in there
	}
	if strings.ContainsAny(opt.ClientName, " \r\n") {
		return fail("client name %q has blanks", opt.ClientName)
	}
	// rueidis looks every KeepAlive whether anything arrived, and pings if
	// not: a silent connection is found after two intervals and one timeout.
	if o.ClientOption == nil {
		opt.Dialer = net.Dialer{Timeout: opt.Dialer.Timeout}
		opt.Sentinel.Dialer, opt.Sentinel.TLSConfig = opt.Dialer, opt.TLSConfig
	}
	for _, d := range []*net.Dialer{&opt.Dialer, &opt.Sentinel.Dialer} {
		d.Timeout, d.KeepAlive = cmp.Or(o.DialTimeout, d.Timeout, opt.Dialer.Timeout, time.Second), silence/4
	}
	opt.ConnWriteTimeout = silence / 2
	opt.Sentinel.Dialer.Resolver = sentinelDial
	opt.Sentinel.Username = cmp.Or(o.SentinelUsername, opt.Sentinel.Username)
	opt.Sentinel.Password = cmp.Or(o.SentinelPassword, opt.Sentinel.Password)
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
	return opt, nil
}

func (s *Store) connect() error {
	var trouble error
	c, err := rueidis.NewClient(s.opt)
	if err != nil {
		err = s.whoFailed(err)
	} else {
		ctx, cancel := context.WithTimeout(s.ctx, s.opt.Dialer.Timeout)
		defer cancel()
		if c.Mode() == rueidis.ClientModeCluster {
			c = cancellable{Client: c}
			s.topology.learn(ctx, c) // before anything is read
		} else {
			c = cancellable{c, &s.conns.doubt}
		}
		err = s.test(ctx, c)
		if err != nil && !errors.Is(err, ErrUnusable) {
			trouble, err = err, nil // it may pass, and operations can be tried
		}
	}
	if err != nil {
		if c != nil {
			c.Close()
		}
		s.health.ill(&s.health.down, err)
		return err
	}
	if c.Mode() == rueidis.ClientModeCluster {
		s.done.Go(func() { s.watchSlots(c) })
	}
	s.client.Store(&c)
	s.done.Go(func() { s.watchPulse(c) })
	s.done.Go(func() { s.watchTracked(c, lookTracked) })
	if trouble == nil {
		s.health.well()
		return nil
	}
	s.health.ill(&s.health.trouble, trouble)
	s.health.down.Store(nil)
	return trouble
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
	s.admissions.close()
	s.cancel()
	s.conns.end()
	s.done.Wait()
	if c := s.client.Load(); c != nil {
		(*c).Close()
	}
	s.watch.lost()
}

// Ping asks every master whether it could be written now. Of a cluster, one
// that can is enough: the keys of the others fail one by one.
func (s *Store) Ping(ctx context.Context) error {
	c, err := s.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	servers := s.servers(c)
	answers := make(chan error, len(servers))
	for addr, n := range servers {
		go func() { answers <- s.pingOne(ctx, addr, n) }()
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

// pingOne asks one server whether each cache could be written there.
func (s *Store) pingOne(ctx context.Context, addr string, n rueidis.Client) error {
	all := s.watched()
	if len(all) == 0 {
		return wrap(n.Do(ctx, n.B().Eval().Script(ping.src).Numkeys(0).Build()).Error())
	}
	for _, o := range all {
		say := func() rueidis.RedisResult {
			return n.Do(ctx, n.B().Evalsha().Sha1(o.script(ping).sha).Numkeys(0).Build())
		}
		r := say()
		if noScript(r) {
			if err := s.admitOne(ctx, addr, o); err != nil {
				return err
			}
			r = say()
		}
		if err := r.Error(); err != nil {
			s.demoted(addr, err)
			return wrap(err)
		}
	}
	return nil
}

// servers are the masters by address, as far as they are known.
func (s *Store) servers(c rueidis.Client) map[string]rueidis.Client {
	if c.Mode() != rueidis.ClientModeCluster {
		return c.Nodes()
	}
	return s.topology.known(c.Nodes())
}

// own returns the scripts of a key's prefix.
func (s *Store) own(key string) *own { return s.owns.of(key, s.opt.SelectDB, s.health.scratch) }

// news stands in for rueidis' own client-side cache, which we do not use. It is
// told of a flush before told is called with nil, which is for the end of a
// connection too.
type news struct{ of *Store }

func (*news) Flight(string, string, time.Duration, time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	return rueidis.RedisMessage{}, nil
}
func (*news) Update(string, string, rueidis.RedisMessage) int64 { return 0 }
func (*news) Cancel(string, string, error)                      {}
func (*news) Close(error)                                       {}

func (n *news) Delete(keys []rueidis.RedisMessage) {
	if keys == nil {
		n.of.flushes.Add(1)
	}
}

// told is called with the keys that were changed, or with nil when the server
// flushed everything, or the connection, and with it the tracking, is gone: a
// sentinel's too, which brings no news of keys.
func (s *Store) told(keys []rueidis.RedisMessage) {
	switch {
	case keys != nil:
		s.watch.changed(keys)
	case s.flushes.Load() > 0: // whichever flush it is: it was before this
		s.flushes.Add(-1)
		s.watch.lost()
	case s.opt.Sentinel.MasterSet != "" && s.conns.sentinelsOnly():
		s.health.look()
	default:
		s.watch.lost()
	}
}
