package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// served is an "aside serve" process that this process has started.
type served struct {
	url, admin string
	cmd        *exec.Cmd
	ended      chan struct{} // closed when it has ended and its log is read
	last       lastWords     // valid when ended is closed
}

// lastWords is the end of what a server has logged: its error, if it printed one.
type lastWords struct {
	lines   []string
	isError bool
}

// maxLastWords is the number of lines that are kept.
const maxLastWords = 10

func (w *lastWords) add(line string) {
	text, isError := strings.CutPrefix(line, "aside: ")
	switch {
	case line == "" || w.isError && (line[0] == '{' || strings.HasPrefix(line, "Run \"aside ")): // not of the error
	case isError:
		w.lines, w.isError = []string{text}, true
	case len(w.lines) < maxLastWords:
		w.lines = append(w.lines, line)
	case !w.isError:
		w.lines = append(w.lines[1:], line)
	}
}

// String returns them without passwords.
func (w *lastWords) String() string {
	if len(w.lines) == 0 {
		return "it printed nothing"
	}
	return redact(strings.Join(w.lines, "\n"))
}

const (
	startTime  = 30 * time.Second
	flushTime  = 10 * time.Second
	flushPause = 250 * time.Millisecond
	stopTime   = 30 * time.Second
)

// startServe starts a server on a free port and waits until it serves.
func startServe(ctx context.Context, env, flags []string) (*served, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &served{ended: make(chan struct{})}
	s.cmd = exec.Command(self, serveArguments(flags)...)
	s.cmd.Env = env
	s.cmd.SysProcAttr = ownGroup()
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		serving := false
		for lines.Scan() {
			var entry struct{ Msg, URL string }
			_ = json.Unmarshal(lines.Bytes(), &entry)
			switch {
			case serving:
			case entry.Msg == "admin listener started":
				s.admin = entry.URL
			case entry.Msg == "serving":
				s.url, serving = entry.URL, true
				close(ready)
			}
			s.last.add(strings.TrimSpace(lines.Text()))
		}
		_ = s.cmd.Wait()
	}()
	select {
	case <-ready:
		return s, nil
	case <-s.ended:
		return nil, fmt.Errorf("aside serve did not start: %s", &s.last)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(startTime):
		err = fmt.Errorf("aside serve did not start within %v", startTime)
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	return nil, err
}

func serveArguments(flags []string) []string {
	return append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json", "--log-level", "info",
		"--cache-name", "bench-" + strings.ToLower(rand.Text()[:8]),
		// A feed leaves something for its next leader: a key in Redis for a week, and a slot
		// in PostgreSQL for ever. The name of this cache has no next one.
		"--feed", feedOff,
	}, flags...)
}

// serveEnvironment returns the environment for a server of a setting: that of this process,
// but cache, store and addresses come only from added. A certificate is for the address of
// a service, and clients of a server on a free port would refuse it.
func serveEnvironment(setting string, all, added []string) []string {
	env := slices.DeleteFunc(slices.Clone(all), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return name == "ASIDE_TLS_CERT" || name == "ASIDE_TLS_KEY" || benchSets(name) || hasNoUse(setting, name)
	})
	return append(env, added...)
}

// stop removes the server's keys from Redis and ends the server.
func (s *served) stop() error {
	if err := s.flush(); err != nil {
		slog.Warn("keys of this run not removed, they stay in Redis until they expire", "error", err)
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil { // the system has no signals
		_ = s.cmd.Process.Kill()
	}
	select {
	case <-s.ended:
	case <-time.After(stopTime):
		_ = s.cmd.Process.Kill()
		<-s.ended
		return fmt.Errorf("aside serve did not end within %v", stopTime)
	}
	if code := s.cmd.ProcessState.ExitCode(); code > 0 {
		return fmt.Errorf("aside serve ended with exit code %d: %s", code, &s.last)
	}
	return nil
}

// flush removes the server's keys. It retries for a while: after a high load the
// server may have stopped using Redis for a moment. An interrupt does not stop it.
func (s *served) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	for {
		status, err := post(ctx, s.admin+"/flush")
		switch {
		case err != nil:
			return err
		case status/100 == 2 || status == http.StatusConflict: // conflict: it has no cache
			return nil
		}
		select {
		case <-time.After(flushPause):
		case <-s.ended:
			return errors.New("aside serve has ended")
		case <-ctx.Done():
			return fmt.Errorf("POST /flush answered status %d", status)
		}
	}
}

func post(ctx context.Context, url string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return 0, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
