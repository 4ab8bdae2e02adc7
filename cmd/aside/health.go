package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// HealthCmd is "aside health".
type HealthCmd struct {
	URL     string        `name:"url" help:"What to ask. /healthz: the process answers. /readyz: it also reaches its store." default:"http://127.0.0.1:8000/healthz" env:"ASIDE_HEALTH_URL"`
	Timeout time.Duration `help:"Longest time for the answer." default:"2s"`
}

// Help is shown by "aside health --help".
func (*HealthCmd) Help() string {
	return `Asks a running server once, for the health check of a container: such an image has no curl.

The exit code is 0 if the answer is 200, and 1 otherwise. It accepts any certificate, since the server's is seldom for 127.0.0.1; it sends no secrets.`
}

// Run asks once.
func (c *HealthCmd) Run(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := transport.RoundTrip(request) // no redirects
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%s did not answer in %s", c.URL, c.Timeout)
		}
		return fmt.Errorf("%s does not answer: %w", c.URL, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", c.URL, response.Status)
	}
	_, err = fmt.Fprintln(out, "ok")
	return err
}
