package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideprom"
	"github.com/asidecache/aside/cmd/aside/internal/dashboard"
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/ops"
	"github.com/asidecache/aside/cmd/aside/internal/page"
	"github.com/asidecache/aside/cmd/aside/internal/telemetry"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

// ServeCmd is "aside serve".
type ServeCmd struct {
	HTTPFlags
	PageFlags
	StoreFlags
	LatencyFlags
	CacheFlags
}

// HTTPFlags configure the listeners.
type HTTPFlags struct {
	Listen       string   `help:"Address to listen on. With port 0 the system picks a free port; the log shows it." default:"127.0.0.1:8000" env:"ASIDE_LISTEN" group:"HTTP"`
	AllowedHosts []string `help:"Host names that clients may use for this server, without a port, such as todo.example.com or *.example.com. * allows any name. A request for another name is refused: this stops DNS rebinding attacks from web pages. Loopback names, and the IP address that the request came to, are always allowed. Default: only those if --listen is a loopback address, otherwise any name." placeholder:"NAME" env:"ASIDE_ALLOWED_HOSTS" group:"HTTP"`
	TLSCert      string   `name:"tls-cert" help:"File with the TLS certificate and its chain, in PEM form. With it the server uses TLS (HTTP/1.1 and HTTP/2), on --admin too. The file is read again when it changes, and on SIGHUP." placeholder:"FILE" env:"ASIDE_TLS_CERT" group:"HTTP"`
	TLSKey       string   `name:"tls-key" help:"File with the private key of --tls-cert, in PEM form." placeholder:"FILE" env:"ASIDE_TLS_KEY" group:"HTTP"`
	NoDocs       bool     `help:"Do not serve /docs and /openapi.json." env:"ASIDE_NO_DOCS" group:"HTTP"`

	Admin           string `help:"Address of an admin listener with POST /flush, the calls of operators at /ops/, /debug/pprof/ and /metrics. It has no authentication, so it must be a loopback address. Default: no admin listener." placeholder:"HOST:PORT" env:"ASIDE_ADMIN" group:"HTTP"`
	AdminAnyAddress bool   `help:"Allow --admin on an address that is not loopback. Use it only in a protected network." env:"ASIDE_ADMIN_ANY_ADDRESS" group:"HTTP"`
	AdminMetrics    bool   `help:"Serve /metrics on --admin only." env:"ASIDE_ADMIN_METRICS" group:"HTTP"`

	MaxBody         int64         `help:"Maximum size of a request body, in bytes." default:"1048576" env:"ASIDE_MAX_BODY" group:"HTTP limits"`
	MaxHeader       int           `help:"Maximum size of a request header, in bytes." default:"32768" env:"ASIDE_MAX_HEADER" group:"HTTP limits"`
	MaxPage         int64         `help:"Maximum size of the records in one page or batch, in bytes. A page or batch with large records ends early, and tells the client how to continue." default:"1048576" env:"ASIDE_MAX_PAGE" group:"HTTP limits"`
	MaxLists        int           `help:"Maximum number of concurrent pages and batches. Each may need a few times --max-page of memory. Further ones get 503 and Retry-After." default:"32" env:"ASIDE_MAX_LISTS" group:"HTTP limits"`
	MaxRequests     int           `help:"Maximum number of concurrent requests. Further ones get 503 and Retry-After, except /healthz and /readyz." default:"1024" env:"ASIDE_MAX_REQUESTS" group:"HTTP limits"`
	MaxConnections  int           `help:"Maximum number of open connections. Further ones get 503 and Retry-After, except for /healthz and /readyz, and are closed." default:"4096" env:"ASIDE_MAX_CONNECTIONS" group:"HTTP limits"`
	MaxStrongLoads  strongLimit   `help:"Maximum number of store reads per second for strong reads (Cache-Control: no-cache or max-age=0). Above it, strong reads get 503 and Retry-After. Strong reads that Redis answers do not count. 0: ignore the header. unlimited: no limit." default:"1000" env:"ASIDE_MAX_STRONG_LOADS" group:"HTTP limits"`
	ReadTimeout     time.Duration `help:"Timeout for receiving a request with its body. The header must arrive within 5s." default:"30s" env:"ASIDE_READ_TIMEOUT" group:"HTTP limits"`
	RequestTimeout  time.Duration `help:"Timeout for processing a request." default:"15s" env:"ASIDE_REQUEST_TIMEOUT" group:"HTTP limits"`
	SendTimeout     time.Duration `help:"Timeout for sending a response. The server closes the connection of a client that reads more slowly." default:"30s" env:"ASIDE_SEND_TIMEOUT" group:"HTTP limits"`
	IdleTimeout     time.Duration `help:"How long an idle connection stays open." default:"2m" env:"ASIDE_IDLE_TIMEOUT" group:"HTTP limits"`
	ShutdownDelay   time.Duration `help:"After SIGTERM the server continues for this time, with 503 at /readyz, so that load balancers stop sending requests to it. Then it closes its listener. Ctrl-C skips this delay. Default: 5s, for the demo 0s." placeholder:"DURATION" default:"-1ns" env:"ASIDE_SHUTDOWN_DELAY" group:"HTTP limits"`
	ShutdownTimeout time.Duration `help:"After --shutdown-delay: how long running requests may take to finish. A second SIGINT or SIGTERM ends the process at once." default:"20s" env:"ASIDE_SHUTDOWN_TIMEOUT" group:"HTTP limits"`
}

// strongLimit is the maximum number of strong loads per second.
type strongLimit int

const unlimited strongLimit = -1

// UnmarshalText reads a number or "unlimited".
func (l *strongLimit) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	switch {
	case string(text) == "unlimited":
		n = int(unlimited)
	case err != nil || n < 0:
		return fmt.Errorf("must be 0 or more, or unlimited, is %q", text)
	}
	*l = strongLimit(n)
	return nil
}

const (
	headerTimeout = 5 * time.Second
	shutdownDelay = 5 * time.Second
	// closeTime is how long the cache may take to release its leases and fences.
	// It does not depend on how long the requests took to finish.
	closeTime = 5 * time.Second
	// Operators send few requests.
	maxAdminConnections = 32
)

// Help is shown by "aside serve --help".
func (*ServeCmd) Help() string {
	return `Without flags, the store is embedded, in ./aside-data, and the cache is in memory.

    aside serve
    aside serve --listen 127.0.0.1:8080 --redis redis://127.0.0.1:6379

In production, put the passwords into files that other users cannot read:

    aside serve --listen 0.0.0.0:8000 \
        --mongo 'mongodb://todo@db1,db2,db3/?replicaSet=rs0' \
        --mongo-password-file /run/secrets/mongo \
        --redis rediss://todo@cache1 --redis-password-file /run/secrets/redis

The service has no authentication. By default it listens on the loopback interface only. Read
SECURITY.md before you make it reachable for others. $ASIDE_LISTEN is the same as --listen: the
name of its variable stands at each flag.`
}

// Notes stand after the flags.
func (*ServeCmd) Notes() string { return serveNotes }

const serveNotes = `A running server offers:

    Cache-Status               a response header: which tier answered the read
    /docs, /openapi.json       the API documentation, and its OpenAPI document
    /healthz, /readyz          health: the process runs, the service can answer
    /metrics                   metrics for Prometheus

The forms of --redis are as follows. The default port is 6379, the default database is 0.

    redis://user@host:6379/0                              one server
    rediss://user@host:6379/0                             one server, over TLS
    redis://host1?addr=host2                              a cluster
    redis://host1:26379?addr=host2:26379&master_set=m     Sentinel

PostgreSQL instead of MongoDB: --postgres 'postgres://todo@db1,db2/todos?sslmode=verify-full' and
--postgres-password-file. The server creates the table todos if it is missing.`

// Validate is called by the parser.
func (c *ServeCmd) Validate() error {
	return errors.Join(c.CacheFlags.check(), c.HTTPFlags.check(), c.PageFlags.check(), c.LatencyFlags.check())
}

func (f *HTTPFlags) check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, _, err := net.SplitHostPort(f.Listen); err != nil {
		fault("--listen must be HOST:PORT, such as 127.0.0.1:8000 or :8000, is %q", f.Listen)
	}
	if f.Admin != "" {
		host, _, err := net.SplitHostPort(f.Admin)
		ip := net.ParseIP(host)
		switch {
		case err != nil:
			fault("--admin must be HOST:PORT, such as 127.0.0.1:8001, is %q", f.Admin)
		case !f.AdminAnyAddress && host != "localhost" && (ip == nil || !ip.IsLoopback()):
			fault("--admin must be a loopback address, such as 127.0.0.1:8001, is %q: the admin listener has no authentication (--admin-any-address allows other addresses)", f.Admin)
		}
	}
	if f.AdminMetrics && f.Admin == "" {
		fault("--admin-metrics needs --admin: without it there is no /metrics")
	}
	if err := pair("--tls-cert", f.TLSCert, "--tls-key", f.TLSKey); err != nil {
		errs = append(errs, err)
	}
	if _, err := httpapi.NewHosts(f.AllowedHosts); err != nil {
		fault("--allowed-hosts: %w", err)
	}
	for name, n := range map[string]int64{
		"--max-body": f.MaxBody, "--max-header": int64(f.MaxHeader), "--max-page": f.MaxPage,
		"--max-lists": int64(f.MaxLists), "--max-requests": int64(f.MaxRequests), "--max-connections": int64(f.MaxConnections),
	} {
		if n < 1 || n > maxNumber {
			fault("%s must be 1 to %d, is %d", name, maxNumber, n)
		}
	}
	for name, d := range map[string]time.Duration{
		"--read-timeout": f.ReadTimeout, "--request-timeout": f.RequestTimeout, "--idle-timeout": f.IdleTimeout, "--send-timeout": f.SendTimeout,
	} {
		if d <= 0 {
			fault("%s must be positive, is %v", name, d)
		}
		if d > maxTime {
			fault("%s must be at most %v, is %v", name, maxTime, d)
		}
	}
	if f.ShutdownDelay < 0 && f.ShutdownDelay != notGiven {
		fault("--shutdown-delay must not be negative, is %v", f.ShutdownDelay)
	}
	if f.ShutdownTimeout < 0 {
		fault("--shutdown-timeout must not be negative, is %v", f.ShutdownTimeout)
	}
	for name, d := range map[string]time.Duration{"--shutdown-delay": f.ShutdownDelay, "--shutdown-timeout": f.ShutdownTimeout} {
		if d > maxTime {
			fault("%s must be at most %v, is %v", name, maxTime, d)
		}
	}
	return errors.Join(errs...)
}

// Run serves requests until ctx ends.
func (c *ServeCmd) Run(ctx context.Context, log *slog.Logger) error {
	return c.run(ctx, log, nil, extras{})
}

// run serves requests until ctx ends. If ready is set, run calls it with the service's
// URL as soon as the service accepts requests.
func (c *ServeCmd) run(ctx context.Context, log *slog.Logger, ready func(url string), e extras) (err error) {
	started := time.Now()
	// First the steps that can fail without side effects.
	token, err := c.token()
	if err != nil {
		return err
	}
	node := c.nodeName()
	tele, err := telemetry.Open(ctx, telemetry.Options{Version: readVersion().Version, Node: node, Log: log})
	if err != nil {
		return &exitError{err, exitUsage}
	}
	if tele != nil {
		log.Info("telemetry is exported with OpenTelemetry", "what", tele.What())
	}
	defer func() { // last of all, so that what the others end with is sent too
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if err := tele.Close(ctx); err != nil {
			log.Warn("the last telemetry could not be exported", "error", err)
		}
	}()
	listener := e.listener
	if listener == nil {
		if listener, err = listen(ctx, "--listen", c.Listen); err != nil {
			return err
		}
	}
	defer listener.Close()
	secure, err := c.secure(log)
	if err != nil {
		return err
	}
	if secure != nil {
		defer secure.reloadOnHangUp()()
	}
	var adminListener net.Listener
	if c.Admin != "" {
		if adminListener, err = listen(ctx, "--admin", c.Admin); err != nil {
			return err
		}
		defer adminListener.Close()
	}

	c.slower = c.added()
	raw, err := c.Open(ctx, log)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := raw.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("closing the store: %w", closeErr))
		}
	}()
	primary, withControls := withFailpoints(raw)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	meters := &dashboard.Meters{}
	answers := &storeState{log: log}
	store, err := httpapi.ObserveStore(tele.Store(primary, c.system()), registry, meters.Store, answers.seen)
	if err != nil {
		return err
	}
	connections := httpapi.NewConnections(c.MaxConnections)
	options := httpapi.Options{
		Registry: registry, Log: log, Version: readVersion().Version,
		MaxBody: c.MaxBody, RequestTimeout: c.RequestTimeout, SendTimeout: c.SendTimeout,
		Hosts: c.hosts(listener), Connections: connections, MaxRequests: c.MaxRequests,
		MaxLists: c.MaxLists, MaxPage: c.MaxPage, StrongLoads: int(c.MaxStrongLoads), IgnoreStrong: c.MaxStrongLoads == 0,
		StoreLatency: c.added(), StoreTrouble: answers.trouble, NoDocs: c.NoDocs, NoMetrics: c.AdminMetrics, Observe: meters.Request,
	}
	if !c.NoPage {
		options.Page = page.Handler()
	}
	if tele != nil {
		options.Finished = tele.Finished
	}
	var front, back switched // of --listen and --admin
	public := c.server(tele.Handler(&front), log, secure)
	connections.Limit(public)
	servers := []*http.Server{public}
	defer public.Close()
	failed := make(chan error, 2)
	admin := httpapi.AdminOptions{Registry: registry, Log: log}
	var private *http.Server
	if adminListener != nil {
		admin.Hosts = c.hosts(adminListener)
		private = c.server(&back, log, secure)
		httpapi.NewConnections(maxAdminConnections).Limit(private)
		servers = append(servers, private)
		defer private.Close()
	}
	serve := sync.OnceFunc(func() {
		go func() { failed <- serveOn(public, listener) }()
		if private != nil {
			go func() { failed <- serveOn(private, adminListener) }()
			log.Info("admin listener started", "url", urlOf(adminListener, secure))
		}
	})
	crashed := func(err error) error {
		for _, s := range servers {
			_ = s.Close()
		}
		return fmt.Errorf("serving: %w", err)
	}

	mode := c.opsMode(token, e, listener)
	name, err := c.nameOf(ctx, store)
	if final := (*exitError)(nil); err != nil && ctx.Err() == nil && !errors.As(err, &final) {
		log.Warn("store unreachable, requests are refused until it answers: the cache name contains the store's identity (set --cache-name to serve from Redis meanwhile)", "error", err)
		meanwhile := options
		meanwhile.Service, meanwhile.Registry = todo.NewService(todo.ServiceOptions{Store: unknownStore{}}), prometheus.NewRegistry()
		meanwhile.StoreTrouble = func() httpapi.StoreTrouble { return httpapi.StoreTrouble{Silent: started} }
		meanwhile.Ops = guarded(httpapi.WaitingOps(), mode, token)
		h, err := httpapi.New(meanwhile)
		if err != nil {
			return err
		}
		waiting := admin
		waiting.Waiting, waiting.Ops = true, httpapi.WaitingOps()
		front.to(h)
		back.to(withControls(httpapi.Admin(waiting)))
		serve()
		log.Info("waiting for the store", "url", urlOf(listener, secure), "store", c.StoreFlags.Describe())
		waitCtx, stop := context.WithCancelCause(ctx)
		go func() {
			select {
			case err := <-failed:
				stop(crashed(err))
			case <-waitCtx.Done():
			}
		}()
		name, err = c.awaitName(waitCtx, store, log)
		stop(nil)
		if ctx.Err() != nil {
			log.Info("shutting down", "reason", context.Cause(ctx).Error(), "within", c.ShutdownTimeout.String())
			return shutdown(servers, c.ShutdownTimeout)
		}
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}

	const cacheLabel = "todos"
	times := asideprom.NewTimes(cacheLabel)
	feed, err := c.feedOf(ctx, raw, name, log, e.demo)
	if err != nil {
		return err
	}
	var l2 driver.Tier
	observer, measure, err := tele.Cache(cacheLabel)
	if err != nil {
		return err
	}
	cache, closeCache, err := c.CacheFlags.open(name, log, func(o *aside.Options[string, todo.Todo]) {
		o.Feed, o.Node, l2 = feed, node, o.L2
		o.Observer = observer
		todo.SetLoaders(o, store, c.TagDays)
		o.OnLoad = func(took time.Duration, err error) { times.OnLoad(took, err); meters.Load(took) }
		o.OnL2 = func(op string, took time.Duration, err error) { times.OnL2(op, took, err); meters.L2(op, took, err) }
		if o.L2 != nil {
			registry.MustRegister(asideprom.NewL2Collector(cacheLabel, o.L2))
		}
	})
	if err != nil {
		return err
	}
	// This runs before the store closes, which running loads and writes still need.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		switch closeErr := closeCache(ctx); {
		case closeErr == nil:
		case errors.Is(closeErr, aside.ErrL2Unavailable):
			log.Warn("last invalidations not delivered to Redis: other servers may answer with older records until these expire", "ttl", c.TTL.String(), "error", closeErr)
		default:
			err = errors.Join(err, fmt.Errorf("closing the cache: %w", closeErr))
		}
	}()
	options.Service = todo.NewService(todo.ServiceOptions{Store: store, Cache: cache, CacheLoads: true, TagDays: c.TagDays})
	if cache != nil {
		registry.MustRegister(times, asideprom.NewCollector(cacheLabel, cache.Stats))
		options.CacheStats, admin.Clear = func() aside.Stats {
			s := cache.Stats()
			if hint := c.closedHint(s.DegradedReason); hint != "" {
				s.DegradedReason += " (" + hint + ")"
			}
			return s
		}, cache.Clear
		if err := measure(cache.Stats); err != nil {
			return err
		}
		options.FeedRequired = c.Feed == feedOn
		if feed != nil {
			registry.MustRegister(asideprom.NewFeedCollector(cacheLabel, cache.Stats))
		}
	}
	leaving := make(chan struct{})
	endStreams := sync.OnceFunc(func() { close(leaving) })
	defer endStreams()
	board := dashboard.Options{
		Meters: meters, Stats: options.CacheStats, Announce: announcer(l2, name, node), Done: leaving, Log: log, URL: nodeURL(listener, secure),
		Config: dashboard.Config{
			Node: node, NodeID: aside.NodeIDOf(node).String(), Version: readVersion().Version,
			Store: c.StoreFlags.Describe(), Cache: c.CacheFlags.Describe(),
			Docs: !c.NoDocs, Metrics: !c.AdminMetrics, Ops: mode, Story: guarded(e.story, mode, token) != nil, Started: started.UnixMilli(),
		},
	}
	dash, stopDashboard := startDashboard(board)
	defer stopDashboard()
	operators := ops.Handler(ops.Options{Cache: cache, CacheName: name, Tags: c.TagDays, Store: store, Nodes: dash.Nodes, NameOf: dash.NameOf, Done: leaving, Log: log})
	options.Ops, options.Story, admin.Ops = guarded(operators, mode, token), guarded(e.story, mode, token), operators
	if !c.NoPage {
		options.Dashboard = dash.Handler()
	}
	handler, err := httpapi.New(options)
	if err != nil {
		return err
	}
	front.to(handler)
	back.to(withControls(httpapi.Admin(admin)))
	serve()
	if e.attach != nil { // before the log says that it serves: whoever waits for that line may tell a story
		e.attach(urlOf(listener, secure), cache, dash)
	}
	log.Info("serving", "url", urlOf(listener, secure), "store", c.StoreFlags.Describe(), "cache", c.CacheFlags.Describe(), "cache_name", name,
		"version", readVersion().Version, "cpus", runtime.GOMAXPROCS(0))
	if ready != nil {
		ready(urlOf(listener, secure))
	}

	select {
	case err := <-failed:
		return crashed(err)
	case <-ctx.Done():
	}
	endStreams()
	handler.Leave()
	if delay := c.delay(ctx); delay > 0 {
		log.Info("shutdown delay: /readyz answers 503, requests are still served", "reason", context.Cause(ctx).Error(), "for", delay.String())
		select {
		case err := <-failed:
			return crashed(err)
		case <-time.After(delay):
		}
	}
	log.Info("shutting down", "reason", context.Cause(ctx).Error(), "within", c.ShutdownTimeout.String())
	err = shutdown(servers, c.ShutdownTimeout)
	if err == nil {
		log.Info("all requests finished")
	}
	return err
}

// shutdown closes the listeners, waits for running requests up to the limit, and
// aborts the others.
func shutdown(servers []*http.Server, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var err error
	for _, s := range servers {
		if e := s.Shutdown(ctx); e != nil {
			_ = s.Close()
			err = fmt.Errorf("requests were still running after %v and were aborted", limit)
		}
	}
	return err
}

// delay returns how long to continue after the signal that ended ctx.
func (f *HTTPFlags) delay(ctx context.Context) time.Duration {
	var stopped signalError
	if !errors.As(context.Cause(ctx), &stopped) || stopped.Signal != syscall.SIGTERM {
		return 0 // a person pressed Ctrl-C
	}
	if f.ShutdownDelay == notGiven {
		return shutdownDelay
	}
	return f.ShutdownDelay
}

// hosts returns the host names that requests on l may use.
func (f *HTTPFlags) hosts(l net.Listener) *httpapi.Hosts {
	if len(f.AllowedHosts) == 0 && !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		return httpapi.AnyHost()
	}
	h, err := httpapi.NewHosts(f.AllowedHosts)
	if err != nil {
		panic("flags were not validated: " + err.Error())
	}
	return h
}

// secure returns the certificate of the listeners, or nil without --tls-cert.
func (f *HTTPFlags) secure(log *slog.Logger) (*keyPair, error) {
	if f.TLSCert == "" {
		return nil, nil
	}
	p, err := newKeyPair("--tls-cert and --tls-key", f.TLSCert, f.TLSKey, log)
	if err != nil {
		return nil, &exitError{err, exitUsage}
	}
	return p, nil
}

// switched is a handler that can be replaced while the server runs.
type switched struct{ now atomic.Pointer[http.Handler] }

func (s *switched) to(h http.Handler) { s.now.Store(&h) }

func (s *switched) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.now.Load()).ServeHTTP(w, r) }

// serveOn serves requests on l, with TLS if s is configured for it.
func serveOn(s *http.Server, l net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Serve(l)
}

func (f *HTTPFlags) server(h http.Handler, log *slog.Logger, secure *keyPair) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: min(headerTimeout, f.ReadTimeout),
		ReadTimeout:       f.ReadTimeout,
		WriteTimeout:      f.ReadTimeout + f.RequestTimeout + f.SendTimeout, // net/http counts it from the end of the header
		IdleTimeout:       f.IdleTimeout,
		MaxHeaderBytes:    f.MaxHeader,
		// Broken connections and handshakes are faults of clients.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if secure != nil {
		s.TLSConfig = secure.serverTLS()
	}
	return s
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s %s: another program already listens on this address, perhaps another aside; stop it or choose another port (0 picks a free one)", flag, address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s %s: this user may not listen on this port; choose port 1024 or higher", flag, address)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

func urlOf(l net.Listener, secure *keyPair) string { return urlAt(l, secure, "localhost") }

// urlAt returns the URL of a listener, with host if it has no address of its own.
func urlAt(l net.Listener, secure *keyPair, host string) string {
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	address := l.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return fmt.Sprintf("%s://%s:%d", scheme, host, address.Port)
	}
	return scheme + "://" + address.String()
}
