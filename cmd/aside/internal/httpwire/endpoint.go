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

// Endpoint is a URL taken apart for connections and requests.
type Endpoint struct {
	// Path is the URL's, percent-encoded and without a slash at its end.
	Path string

	address string // host:port
	host    string // as the Host header has it
	tls     bool
}

// Parse reads an http or https URL. Its errors begin with what the URL must be,
// and never repeat a password that is in it.
func Parse(raw string) (Endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the URL, with whatever password is in it.
		var detail *url.Error
		if errors.As(err, &detail) {
			err = detail.Err
		}
		return Endpoint{}, fmt.Errorf("cannot be read: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return Endpoint{}, errors.New("must be like http://127.0.0.1:8000/path")
	case u.User != nil:
		return Endpoint{}, errors.New("must not hold a user or a password: requests are sent without")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return Endpoint{}, errors.New("must end with its path: what is asked for is put behind it")
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

// Reach connects to the server once and hangs up, to tell early that nobody is
// there. It does not shake hands.
func (e Endpoint) Reach(ctx context.Context, timeout time.Duration) error {
	c, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", e.address)
	switch {
	case err == nil:
		_ = c.Close()
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s: start the server, or give its address", e.address)
	case isTimeout(err):
		return fmt.Errorf("%s does not answer within %v: check the address, and whether a firewall lets connections through", e.address, timeout)
	}
	return fmt.Errorf("cannot connect to %s: %w", e.address, err)
}
