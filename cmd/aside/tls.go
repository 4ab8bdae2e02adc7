package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// keyPair is a certificate and its key in two files. It reads them again when one of
// them has changed. A handshake checks for changes, at most once in lookEvery.
type keyPair struct {
	flags             string // their names, for messages
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	marks  [2]mark
	looked time.Time
}

const lookEvery = time.Second

// mark identifies a version of a file.
type mark struct {
	changed time.Time
	size    int64
}

func markOf(file string) mark {
	info, err := os.Stat(file)
	if err != nil {
		return mark{}
	}
	return mark{info.ModTime(), info.Size()}
}

// newKeyPair reads both files.
func newKeyPair(flags, certFile, keyFile string, log *slog.Logger) (*keyPair, error) {
	p := &keyPair{flags: flags, certFile: certFile, keyFile: keyFile, log: log}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.readLocked(time.Now()); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *keyPair) readLocked(now time.Time) error {
	marks := [2]mark{markOf(p.certFile), markOf(p.keyFile)}
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	p.looked, p.marks = now, marks
	if err != nil {
		return fmt.Errorf("%s: %w", p.flags, err)
	}
	p.cert = &cert
	return nil
}

// get returns the current certificate, or the previous one if the files are invalid.
func (p *keyPair) get() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookEvery {
		p.looked = now
		if marks := [2]mark{markOf(p.certFile), markOf(p.keyFile)}; marks != p.marks {
			p.reloadLocked(now)
		}
	}
	return p.cert
}

// reload reads the files even if they seem unchanged.
func (p *keyPair) reload() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reloadLocked(time.Now())
}

func (p *keyPair) reloadLocked(now time.Time) {
	if err := p.readLocked(now); err != nil {
		p.log.Warn("new certificate or key is invalid, keeping the previous one", "error", err)
		return
	}
	p.log.Info("certificate reloaded", "file", p.certFile, "expires", p.cert.Leaf.NotAfter.Format(time.RFC3339))
}

// reloadOnHangUp reloads the files on each SIGHUP, until stop is called.
func (p *keyPair) reloadOnHangUp() (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-ch:
				p.reload()
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		signal.Stop(ch)
		cancel()
		done.Wait()
	}
}

// serverTLS returns the TLS configuration of the listeners.
func (p *keyPair) serverTLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.get(), nil },
	}
}

// pair reports a certificate without a key, or a key without a certificate.
func pair(certFlag, cert, keyFlag, key string) error {
	switch {
	case cert != "" && key == "":
		return fmt.Errorf("%s needs %s, the key of that certificate", certFlag, keyFlag)
	case cert == "" && key != "":
		return fmt.Errorf("%s needs %s, the certificate of that key", keyFlag, certFlag)
	}
	return nil
}

// authorities reads the certificates of the authorities to trust.
func authorities(flag, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s contains no certificate in PEM form (-----BEGIN CERTIFICATE-----)", flag, file)
	}
	return pool, nil
}

// redisTLS returns the TLS configuration for Redis, or nil without TLS. If Redis
// requires a client certificate and there is none, it closes the connection without
// a clear error. So the configuration logs a warning.
func (f *CacheFlags) redisTLS(log *slog.Logger) (*tls.Config, error) {
	scheme, _, _ := strings.Cut(f.Redis, "://")
	if scheme != "rediss" && scheme != "valkeys" {
		if f.RedisTLSCert != "" || f.RedisTLSKey != "" || f.RedisTLSCA != "" {
			return nil, errors.New("--redis-tls-cert, --redis-tls-key and --redis-tls-ca need a --redis that begins with rediss:// (TLS)")
		}
		return nil, nil
	}
	if err := pair("--redis-tls-cert", f.RedisTLSCert, "--redis-tls-key", f.RedisTLSKey); err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if err := f.urlTLS(config); err != nil {
		return nil, err
	}
	if f.RedisTLSCA != "" {
		var err error
		if config.RootCAs, err = authorities("--redis-tls-ca", f.RedisTLSCA); err != nil {
			return nil, err
		}
	}
	if f.RedisTLSCert != "" {
		own, err := newKeyPair("--redis-tls-cert and --redis-tls-key", f.RedisTLSCert, f.RedisTLSKey, log)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own.get(), nil }
		return config, nil
	}
	var once sync.Once
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		once.Do(func() {
			log.Warn("Redis asks for a client certificate, but none is configured; if Redis requires it, it closes the connection: set --redis-tls-cert and --redis-tls-key, or set tls-auth-clients to no in Redis")
		})
		return &tls.Certificate{}, nil
	}
	return config, nil
}

// closedEarly is how errors end of a connection that the server closes.
var closedEarly = regexp.MustCompile(`(connection reset by peer|broken pipe|EOF)$`)

// closedHint says what may be wrong if the connection to Redis fails with this text; "" if
// nothing is known. A server that refuses a certificate, or wants TLS, closes the
// connection, often without a word.
func (f *CacheFlags) closedHint(text string) string {
	if f.Redis == "" || !closedEarly.MatchString(text) {
		return ""
	}
	scheme, _, _ := strings.Cut(f.Redis, "://")
	switch {
	case scheme != "rediss" && scheme != "valkeys":
		return "if this goes on: the port may want TLS, see rediss:// in --redis"
	case f.RedisTLSCert != "":
		return "if this goes on: the server may refuse the certificate in --redis-tls-cert"
	}
	return "if this goes on: the server may require a client certificate, see --redis-tls-cert"
}

// hinted returns a logger for redisl2 that adds closedHint to errors.
func (f *CacheFlags) hinted(log *slog.Logger) *slog.Logger {
	return slog.New(hints{log.Handler(), f.closedHint})
}

type hints struct {
	slog.Handler
	of func(text string) string
}

func (h hints) Handle(ctx context.Context, r slog.Record) error {
	hint := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" {
			hint = h.of(a.Value.String())
		}
		return hint == ""
	})
	if hint != "" {
		r = r.Clone()
		r.AddAttrs(slog.String("hint", hint))
	}
	return h.Handler.Handle(ctx, r)
}

func (h hints) WithAttrs(attrs []slog.Attr) slog.Handler {
	return hints{h.Handler.WithAttrs(attrs), h.of}
}
func (h hints) WithGroup(name string) slog.Handler { return hints{h.Handler.WithGroup(name), h.of} }

// urlTLS copies the TLS settings of the URL: the server name that the certificate must
// have, and skip_verify.
func (f *CacheFlags) urlTLS(config *tls.Config) error {
	rest := f.Redis
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = "rediss://" + rest[i+1:]
	}
	u, err := url.Parse(rest)
	if err != nil {
		return nil // redisl2 reports the error
	}
	q := u.Query()
	if !q.Has("addr") && !q.Has("master_set") { // as redisl2: else each server must have its own name
		config.ServerName = u.Hostname()
	}
	if q.Has("skip_verify") {
		skip := q.Get("skip_verify")
		config.InsecureSkipVerify = skip == ""
		if skip != "" {
			if config.InsecureSkipVerify, err = strconv.ParseBool(skip); err != nil {
				return errors.New("--redis: skip_verify must be true or false")
			}
		}
	}
	return nil
}
