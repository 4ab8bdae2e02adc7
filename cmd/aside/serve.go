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
	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// ServeCmd is "aside serve".
type ServeCmd struct {
	HTTPFlags
	StoreFlags
	CacheFlags
}

// HTTPFlags set up the listeners.
type HTTPFlags struct {
	Listen       string   `help:"Address to serve on. Port 0 picks a free one and says which." default:"127.0.0.1:8000" env:"ASIDE_LISTEN" group:"HTTP"`
	AllowedHosts []string `help:"Names under which clients reach this server, as in their URLs and without a port, such as todo.example.com or *.example.com; * allows any. A request for another name is refused, so that no web page can make its own name point here. Names of this machine's loopback interface, and the address that a request came to, are always good. Default: only those if --listen is a loopback address, else any." placeholder:"NAME" env:"ASIDE_ALLOWED_HOSTS" group:"HTTP"`
	TLSCert      string   `name:"tls-cert" help:"Serve over TLS (HTTP/1.1 and HTTP/2), --admin too, with this certificate and those that it was signed with, in PEM form. Read again when it changes, and at SIGHUP." placeholder:"FILE" env:"ASIDE_TLS_CERT" group:"HTTP"`
	TLSKey       string   `name:"tls-key" help:"The key of --tls-cert." placeholder:"FILE" env:"ASIDE_TLS_KEY" group:"HTTP"`
	NoDocs       bool     `help:"Leave out /docs and /openapi.json." env:"ASIDE_NO_DOCS" group:"HTTP"`

	Admin           string `help:"Address of a second listener with POST /flush, /debug/pprof/ and /metrics. It asks nobody for a password, so it must be a loopback address. Off by default." placeholder:"HOST:PORT" env:"ASIDE_ADMIN" group:"HTTP"`
	AdminAnyAddress bool   `help:"Let --admin be another than a loopback address, in a network that keeps strangers out." env:"ASIDE_ADMIN_ANY_ADDRESS" group:"HTTP"`
	AdminMetrics    bool   `help:"Show /metrics on --admin alone." env:"ASIDE_ADMIN_METRICS" group:"HTTP"`

	MaxBody         int64         `help:"Largest request body, in bytes." default:"1048576" env:"ASIDE_MAX_BODY" group:"HTTP limits"`
	MaxHeader       int           `help:"Largest request header, in bytes." default:"32768" env:"ASIDE_MAX_HEADER" group:"HTTP limits"`
	MaxPage         int64         `help:"Bytes of records in one page or batch. It ends early where large records would pass that, and says how to go on." default:"1048576" env:"ASIDE_MAX_PAGE" group:"HTTP limits"`
	MaxLists        int           `help:"Pages and batches that are answered at one time; each may take some times --max-page of memory. Others get 503 and Retry-After." default:"32" env:"ASIDE_MAX_LISTS" group:"HTTP limits"`
	MaxRequests     int           `help:"Requests that are answered at one time. Others get 503 and Retry-After, but for /healthz and /readyz." default:"1024" env:"ASIDE_MAX_REQUESTS" group:"HTTP limits"`
	MaxConnections  int           `help:"Connections at one time. Others get 503 and Retry-After, but for /healthz and /readyz, and are closed." default:"4096" env:"ASIDE_MAX_CONNECTIONS" group:"HTTP limits"`
	MaxStrongLoads  strongLimit   `help:"Reads of the store a second that clients may cause by asking for the newest value (Cache-Control: no-cache or max-age=0). Above it such reads get 503 and Retry-After; those that Redis answers do not count. 0: the header is ignored, and nobody can ask. unlimited: no bound." default:"1000" env:"ASIDE_MAX_STRONG_LOADS" group:"HTTP limits"`
	ReadTimeout     time.Duration `help:"Longest time for a request to arrive, its body included; its header has 5s at most." default:"30s" env:"ASIDE_READ_TIMEOUT" group:"HTTP limits"`
	RequestTimeout  time.Duration `help:"Longest time to work on a request." default:"15s" env:"ASIDE_REQUEST_TIMEOUT" group:"HTTP limits"`
	SendTimeout     time.Duration `help:"Longest time for a client to take in an answer; then its connection is closed." default:"30s" env:"ASIDE_SEND_TIMEOUT" group:"HTTP limits"`
	IdleTimeout     time.Duration `help:"How long an idle connection is kept." default:"2m" env:"ASIDE_IDLE_TIMEOUT" group:"HTTP limits"`
	ShutdownDelay   time.Duration `help:"How long the server goes on after SIGTERM with /readyz at 503, so that balancers send their requests elsewhere before it stops to listen. Ctrl-C does not wait. Default: 5s, none for the demo." placeholder:"DURATION" default:"-1ns" env:"ASIDE_SHUTDOWN_DELAY" group:"HTTP limits"`
	ShutdownTimeout time.Duration `help:"After that: how long requests under way may take to finish. A second SIGINT or SIGTERM ends the process at once." default:"20s" env:"ASIDE_SHUTDOWN_TIMEOUT" group:"HTTP limits"`
}

// strongLimit is how many strong loads there may be in a second.
type strongLimit int

const unlimited strongLimit = -1

// UnmarshalText reads a number or "unlimited".
func (l *strongLimit) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	switch {
	case string(text) == "unlimited":
		n = int(unlimited)
	case err != nil || n < 0:
		return fmt.Errorf("must be a number from 0 on, or unlimited, is %q", text)
	}
	*l = strongLimit(n)
	return nil
}

const (
	headerTimeout = 5 * time.Second
	shutdownDelay = 5 * time.Second
	// closeTime is for the cache to release what it holds, even if requests
	// used up the time for shutting down.
	closeTime = 5 * time.Second
	// The operator's own requests are few.
	maxAdminConnections = 32
)

// Help is shown by "aside serve --help".
func (*ServeCmd) Help() string {
	return `With no flags: an embedded store in ./aside-data, and a cache in memory.

    aside serve
    curl -i http://127.0.0.1:8000/todos/1

On real servers, with the passwords where other users cannot read them:

    aside serve --listen 0.0.0.0:8000 \
        --mongo 'mongodb://todo@db1,db2,db3/?replicaSet=rs0' \
        --mongo-password-file /run/secrets/mongo \
        --redis rediss://todo@cache1 --redis-password-file /run/secrets/redis

The forms of --redis; what they leave out is port 6379 and database 0:

    redis://user@host:6379/0                              one server
    rediss://user@host:6379/0                             the same over TLS
    redis://host1?addr=host2                              a cluster
    redis://host1:26379?addr=host2:26379&master_set=m     Sentinel

What a running server tells:

    Cache-Status                    a header: how this read was answered
    /docs, /openapi.json            the API, to click through and for programs
    /healthz, /readyz, /metrics     is it alive, can it answer, the figures

It asks nobody for a password, and by default serves this machine alone. Before others can reach it, read SECURITY.md.`
}

// Validate is called by the parser.
func (c *ServeCmd) Validate() error {
	return errors.Join(c.CacheFlags.check(), c.HTTPFlags.check())
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
			fault("--admin must be a loopback address, such as 127.0.0.1:8001, is %q: it asks nobody for a password (--admin-any-address allows it)", f.Admin)
		}
	}
	if f.AdminMetrics && f.Admin == "" {
		fault("--admin-metrics needs --admin, or nobody could see /metrics")
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
		if n < 1 {
			fault("%s must be at least 1, is %d", name, n)
		}
	}
	for name, d := range map[string]time.Duration{
		"--read-timeout": f.ReadTimeout, "--request-timeout": f.RequestTimeout, "--idle-timeout": f.IdleTimeout, "--send-timeout": f.SendTimeout,
	} {
		if d <= 0 {
			fault("%s must be positive, is %v", name, d)
		}
	}
	if f.ShutdownDelay < 0 && f.ShutdownDelay != notGiven {
		fault("--shutdown-delay must not be negative, is %v", f.ShutdownDelay)
	}
	if f.ShutdownTimeout < 0 {
		fault("--shutdown-timeout must not be negative, is %v", f.ShutdownTimeout)
	}
	return errors.Join(errs...)
}

// Run serves until ctx ends.
func (c *ServeCmd) Run(ctx context.Context, log *slog.Logger) error {
	return c.run(ctx, log, nil)
}

// run serves until ctx ends. ready, if set, is called with the service's URL
// once requests are accepted.
func (c *ServeCmd) run(ctx context.Context, log *slog.Logger, ready func(url string)) (err error) {
	// First what can be refused without having touched anything.
	listener, err := listen(ctx, "--listen", c.Listen)
	if err != nil {
		return err
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
	store, err := httpapi.ObserveStore(primary, registry)
	if err != nil {
		return err
	}
	connections := httpapi.NewConnections(c.MaxConnections)
	options := httpapi.Options{
		Registry: registry, Log: log, Version: readVersion().Version,
		MaxBody: c.MaxBody, RequestTimeout: c.RequestTimeout, SendTimeout: c.SendTimeout,
		Hosts: c.hosts(listener), Connections: connections, MaxRequests: c.MaxRequests,
		MaxLists: c.MaxLists, MaxPage: c.MaxPage, StrongLoads: int(c.MaxStrongLoads), IgnoreStrong: c.MaxStrongLoads == 0,
		NoDocs: c.NoDocs, NoMetrics: c.AdminMetrics,
	}
	var front switched
	public := c.server(&front, log, secure)
	connections.Limit(public)
	servers := []*http.Server{public}
	defer public.Close()
	failed := make(chan error, 2)
	serve := sync.OnceFunc(func() { go func() { failed <- serveOn(public, listener) }() })
	crashed := func(err error) error {
		for _, s := range servers {
			_ = s.Close()
		}
		return fmt.Errorf("serving: %w", err)
	}

	name, err := c.nameOf(ctx, store)
	if final := (*exitError)(nil); err != nil && ctx.Err() == nil && !errors.As(err, &final) {
		log.Warn("the store does not answer, and the cache is named after it: requests are refused until it does (with --cache-name what Redis has would be served)", "error", err)
		meanwhile := options
		meanwhile.Service, meanwhile.Registry = todo.NewService(todo.ServiceOptions{Store: unknownStore{}}), prometheus.NewRegistry()
		h, err := httpapi.New(meanwhile)
		if err != nil {
			return err
		}
		front.to(h)
		serve()
		log.Info("waiting for the store", "url", urlOf(listener, secure), "store", c.StoreFlags.Describe())
		waiting, stop := context.WithCancelCause(ctx)
		go func() {
			select {
			case err := <-failed:
				stop(crashed(err))
			case <-waiting.Done():
			}
		}()
		name, err = c.awaitName(waiting, store, log)
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
	cache, closeCache, err := c.CacheFlags.open(name, log, func(o *aside.Options[string, todo.Todo]) {
		o.OnLoad, o.OnL2 = times.OnLoad, times.OnL2
	})
	if err != nil {
		return err
	}
	// Before the store closes: loads and writes under way need it.
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		switch closeErr := closeCache(ctx); {
		case closeErr == nil:
		case errors.Is(closeErr, aside.ErrL2Unavailable):
			log.Warn("Redis cannot be told of the last writes: other servers may answer with older records until those expire", "ttl", c.TTL.String(), "error", closeErr)
		default:
			err = errors.Join(err, fmt.Errorf("closing the cache: %w", closeErr))
		}
	}()
	options.Service = todo.NewService(todo.ServiceOptions{Store: store, Cache: cache})
	admin := httpapi.AdminOptions{Registry: registry, Log: log}
	if cache != nil {
		registry.MustRegister(times, asideprom.NewCollector(cacheLabel, cache.Stats))
		options.CacheStats, admin.Clear = cache.Stats, cache.Clear
	}
	handler, err := httpapi.New(options)
	if err != nil {
		return err
	}
	front.to(handler)
	serve()
	if adminListener != nil {
		admin.Hosts = c.hosts(adminListener)
		s := c.server(withControls(httpapi.Admin(admin)), log, secure)
		httpapi.NewConnections(maxAdminConnections).Limit(s)
		servers = append(servers, s)
		go func() { failed <- serveOn(s, adminListener) }()
		log.Info("serving the operator", "url", urlOf(adminListener, secure))
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
	handler.Leave()
	if delay := c.delay(ctx); delay > 0 {
		log.Info("leaving: /readyz says 503, requests are still served", "reason", context.Cause(ctx).Error(), "for", delay.String())
		select {
		case err := <-failed:
			return crashed(err)
		case <-time.After(delay):
		}
	}
	log.Info("shutting down", "reason", context.Cause(ctx).Error(), "within", c.ShutdownTimeout.String())
	err = shutdown(servers, c.ShutdownTimeout)
	if err == nil {
		log.Info("all requests are finished")
	}
	return err
}

// shutdown stops accepting, lets requests finish within the limit, and cuts off
// the rest.
func shutdown(servers []*http.Server, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var err error
	for _, s := range servers {
		if e := s.Shutdown(ctx); e != nil {
			_ = s.Close()
			err = fmt.Errorf("requests were still being served after %v, and were cut off", limit)
		}
	}
	return err
}

// delay is how long to go on after the signal that ended ctx.
func (f *HTTPFlags) delay(ctx context.Context) time.Duration {
	var stopped signalError
	if !errors.As(context.Cause(ctx), &stopped) || stopped.Signal != syscall.SIGTERM {
		return 0 // a person waits
	}
	if f.ShutdownDelay == notGiven {
		return shutdownDelay
	}
	return f.ShutdownDelay
}

// hosts are the names that requests on l may be for.
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

// secure is what the listeners show over TLS; nil without --tls-cert.
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

// switched is the handler of a server that serves before all of it is known.
type switched struct{ now atomic.Pointer[http.Handler] }

func (s *switched) to(h http.Handler) { s.now.Store(&h) }

func (s *switched) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.now.Load()).ServeHTTP(w, r) }

// serveOn serves with TLS if s is set up for it.
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
		WriteTimeout:      f.ReadTimeout + f.RequestTimeout + f.SendTimeout, // counted from the end of the header
		IdleTimeout:       f.IdleTimeout,
		MaxHeaderBytes:    f.MaxHeader,
		// Broken connections and handshakes: the clients' trouble.
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
		return nil, fmt.Errorf("%s %s: another program, perhaps another aside, serves on this address; stop it or choose another port (0 picks a free one)", flag, address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s %s: this user may not serve on this port; choose one from 1024 on", flag, address)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return l, nil
}

func urlOf(l net.Listener, secure *keyPair) string {
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	address := l.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return fmt.Sprintf("%s://localhost:%d", scheme, address.Port)
	}
	return scheme + "://" + address.String()
}
