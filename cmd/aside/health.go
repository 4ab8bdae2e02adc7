package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// HealthCmd is "aside health".
type HealthCmd struct {
	URL     string        `name:"url" help:"URL of the health endpoint. /healthz: the process runs. /readyz: the service can answer requests." default:"http://127.0.0.1:8000/healthz" env:"ASIDE_HEALTH_URL"`
	Timeout time.Duration `help:"Timeout for the request." default:"2s"`
}

// Help is shown by "aside health --help".
func (*HealthCmd) Help() string {
	return `Sends one request to a running server. It is the health check of the container image, which has no
curl.

    aside health
    aside health --url http://127.0.0.1:8000/readyz

With /readyz it also shows which part is not well, since when, and why.

The exit code is 0 if the response is 200, 1 if it is not, and 2 for a mistake in the command line.`
}

// Notes stand after the flags.
func (*HealthCmd) Notes() string {
	return `The command accepts any TLS certificate, because a server's certificate is rarely valid for
127.0.0.1. It sends no secrets.`
}

// Run sends one request.
func (c *HealthCmd) Run(ctx context.Context, out io.Writer) error {
	if strings.Contains(c.URL, "@") {
		return &exitError{errors.New("--url must not contain a user or a password: the request is sent without authentication (write an @ in a path as %40)"), exitUsage}
	}
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
			return fmt.Errorf("%s did not answer within %s", c.URL, c.Timeout)
		}
		return fmt.Errorf("%s does not answer: %w", c.URL, err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxReadiness)) // the status says enough
	if speaksTLS(response, body) {
		return fmt.Errorf("%s: the server speaks TLS: write https:// in --url", c.URL)
	}
	var ready readyAnswer
	_ = json.Unmarshal(body, &ready) // another answer tells no parts
	parts := ready.unwell()
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.Join(append([]string{c.URL + " answered " + response.Status}, parts...), "\n"))
	}
	status := "ok"
	if ready.Status == "degraded" {
		status = ready.Status
	}
	_, err = fmt.Fprintln(out, printable.Text(strings.Join(append([]string{status}, parts...), "\n")))
	return err
}

// readyAnswer is the answer of /readyz.
type readyAnswer struct {
	Status       string
	Store, Cache readyPart
	Feed         *struct {
		Fed bool
		readyPart
	}
}

type readyPart struct{ Status, Reason, Since string }

// unwell returns a line for each part that is not well.
func (a *readyAnswer) unwell() (lines []string) {
	say := func(name, is string, p readyPart) {
		line := name + ": " + is
		if p.Since != "" {
			line += " since " + p.Since
		}
		if p.Reason != "" {
			line += ": " + p.Reason
		}
		lines = append(lines, line)
	}
	for _, part := range []struct {
		name string
		readyPart
	}{{"store", a.Store}, {"cache", a.Cache}} {
		if part.Status == "degraded" || part.Status == "unavailable" {
			say(part.name, part.Status, part.readyPart)
		}
	}
	if a.Feed != nil && !a.Feed.Fed {
		say("feed", "not fed", a.Feed.readyPart)
	}
	return lines
}
