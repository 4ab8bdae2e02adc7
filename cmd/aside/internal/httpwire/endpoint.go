package httpwire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Endpoint is a parsed URL, for connections and requests.
type Endpoint struct {
	// Path is the path of the URL, percent-encoded and without a slash at its end.
	Path string

	address string // host:port
	host    string // for the Host header
	tls     bool
}

// Parse parses an http or https URL. Its errors begin with a requirement on the URL, such
// as "must be", and never contain a password.
func Parse(raw string) (Endpoint, error) {
	// Before the parser: it takes a part of a password with / ? or # in it for the port,
	// and tells it in its error.
	if strings.Contains(raw, "@") {
		return Endpoint{}, errors.New("must not contain a user or a password: requests are sent without authentication (write an @ in a path as %40)")
	}
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error contains the URL, which may have a password.
		var detail *url.Error
		if errors.As(err, &detail) {
			err = detail.Err
		}
		return Endpoint{}, fmt.Errorf("is not a valid URL: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return Endpoint{}, errors.New("must be like http://127.0.0.1:8000/path")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Endpoint{}, errors.New("must end with its path, without a query or a fragment")
	}
	e := Endpoint{address: u.Host, host: u.Host, tls: u.Scheme == "https"}
	if u.Port() == "" {
		port := "80"
		if e.tls {
			port = "443"
		}
		e.address = strings.TrimSuffix(u.Host, ":") + ":" + port
	}
	e.Path = strings.TrimRight(u.EscapedPath(), "/")
	return e, nil
}

// Reach opens and closes a connection to the server, to report early that no server
// listens. It does no TLS handshake.
func (e Endpoint) Reach(ctx context.Context, timeout time.Duration) error {
	c, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", e.address)
	switch {
	case err == nil:
		_ = c.Close()
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no server listens on %s: start the server, or correct the address", e.address)
	case isTimeout(err):
		return fmt.Errorf("%s does not answer within %v: check the address, and whether a firewall lets connections through", e.address, timeout)
	}
	return fmt.Errorf("cannot connect to %s: %w", e.address, err)
}
