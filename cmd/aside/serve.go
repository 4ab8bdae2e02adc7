package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideprom"
	"github.com/asidecache/aside/internal/httpapi"
	"github.com/asidecache/aside/internal/todo"
)

// ServeCmd is "aside serve".
type ServeCmd struct {
	HTTPFlags
	StoreFlags
	CacheFlags
}

// HTTPFlags set up the listeners.
type HTTPFlags struct {
	Listen          string        `help:"Address to serve on. Port 0 picks a free one and says which." default:"127.0.0.1:8000" env:"ASIDE_LISTEN" group:"HTTP"`
	Admin           string        `help:"Address of a second listener with POST /flush, /debug/pprof/ and /metrics. It asks nobody for a password, so it must be a loopback address. Off by default." placeholder:"HOST:PORT" env:"ASIDE_ADMIN" group:"HTTP"`
	AdminAnyAddress bool          `help:"Let --admin be another than a loopback address, in a network that keeps strangers out." env:"ASIDE_ADMIN_ANY_ADDRESS" group:"HTTP"`
	MaxBody         int64         `help:"Largest request body, in bytes." default:"1048576" env:"ASIDE_MAX_BODY" group:"HTTP"`
	MaxHeader       int           `help:"Largest request header, in bytes." default:"32768" env:"ASIDE_MAX_HEADER" group:"HTTP"`
	ReadTimeout     time.Duration `help:"Longest time for a request to arrive, its body included; its header has 5s at most." default:"30s" env:"ASIDE_READ_TIMEOUT" group:"HTTP"`
	RequestTimeout  time.Duration `help:"Longest time to work on a request." default:"15s" env:"ASIDE_REQUEST_TIMEOUT" group:"HTTP"`
	IdleTimeout     time.Duration `help:"How long an idle connection is kept." default:"2m" env:"ASIDE_IDLE_TIMEOUT" group:"HTTP"`
	ShutdownTimeout time.Duration `help:"How long requests under way may take to finish after the first SIGINT or SIGTERM. A second one ends the process at once." default:"20s" env:"ASIDE_SHUTDOWN_TIMEOUT" group:"HTTP"`
}

const (
	headerTimeout = 5 * time.Second
	// sendTime is what a client has to take in an answer, beyond the work for it.
	sendTime = 30 * time.Second
	// closeTime is for the cache to release what it holds, even if requests
	// used up the time for shutting down.
	closeTime = 5 * time.Second
)

// Help is shown by "aside serve --help".
func (*ServeCmd) Help() string {
	return `With no flags: an embedded store in ./aside-data, and a cache in memory.

    aside serve
    curl -i http://127.0.0.1:8000/todos/1

On real servers, with the passwords where other users cannot read them:

    export ASIDE_MONGO='mongodb://todo:secret@db1,db2,db3/?replicaSet=rs0'
    export ASIDE_REDIS='rediss://:secret@cache1:6379'
    aside serve --listen 0.0.0.0:8000

How was a request answered? Every read says so in the header Cache-Status.
What does the API look like? /docs shows it, /openapi.json describes it.
Is the server well? /healthz, /readyz and /metrics tell.`
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
	for name, n := range map[string]int64{"--max-body": f.MaxBody, "--max-header": int64(f.MaxHeader)} {
		if n < 1 {
			fault("%s must be at least 1, is %d", name, n)
		}
	}
	for name, d := range map[string]time.Duration{
		"--read-timeout": f.ReadTimeout, "--request-timeout": f.RequestTimeout, "--idle-timeout": f.IdleTimeout,
	} {
		if d <= 0 {
			fault("%s must be positive, is %v", name, d)
		}
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
	const cacheLabel = "todos"
	times := asideprom.NewTimes(cacheLabel)
	cache, closeCache, err := c.CacheFlags.open(&c.StoreFlags, log, func(o *aside.Options[string, todo.Todo]) {
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
	options := httpapi.Options{
		Service:  todo.NewService(todo.ServiceOptions{Store: store, Cache: cache}),
		Registry: registry, Log: log, Version: readVersion().Version,
		MaxBody: c.MaxBody, RequestTimeout: c.RequestTimeout,
	}
	admin := httpapi.AdminOptions{Registry: registry, Log: log}
	if cache != nil {
		registry.MustRegister(times, asideprom.NewCollector(cacheLabel, cache.Stats))
		options.CacheStats, admin.Clear = cache.Stats, cache.Clear
	}
	handler, err := httpapi.New(options)
	if err != nil {
		return err
	}

	public := c.server(handler, log)
	servers := []*http.Server{public}
	failed := make(chan error, 2)
	go func() { failed <- public.Serve(listener) }()
	if adminListener != nil {
		s := c.server(withControls(httpapi.Admin(admin)), log)
		s.WriteTimeout = 0 // a CPU profile takes as long as it is asked to
		servers = append(servers, s)
		go func() { failed <- s.Serve(adminListener) }()
		log.Info("serving the operator", "url", urlOf(adminListener))
	}
	log.Info("serving", "url", urlOf(listener), "store", c.StoreFlags.Describe(), "cache", c.CacheFlags.Describe(),
		"version", readVersion().Version, "cpus", runtime.GOMAXPROCS(0))
	if ready != nil {
		ready(urlOf(listener))
	}

	select {
	case err := <-failed:
		for _, s := range servers {
			_ = s.Close()
		}
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
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

func (f *HTTPFlags) server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: min(headerTimeout, f.ReadTimeout),
		ReadTimeout:       f.ReadTimeout,
		WriteTimeout:      f.ReadTimeout + f.RequestTimeout + sendTime, // counted from the end of the header
		IdleTimeout:       f.IdleTimeout,
		MaxHeaderBytes:    f.MaxHeader,
		// Broken connections and handshakes: the clients' trouble.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
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

func urlOf(l net.Listener) string {
	address := l.Addr().(*net.TCPAddr)
	if address.IP.IsUnspecified() {
		return fmt.Sprintf("http://localhost:%d", address.Port)
	}
	return "http://" + address.String()
}
