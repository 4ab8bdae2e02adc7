package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// Help fits a terminal of 80 columns, and examples keep their lines. Caught: the
// examples of "aside --help" in one paragraph; commands that were cut at the edge; a
// usage line that asked for three flags that exclude each other.
func TestHelp(t *testing.T) {
	narrow := []string{"COLUMNS=80", "ASIDE_REDIS=redis://:hunter2@h"}
	usage := map[string]string{
		"":        "Usage: aside <command> [flags]",
		"serve":   "Usage: aside serve [flags]",
		"load":    "Usage: aside load (--count=N | --archive=FILE | --jsonl=FILE) [flags]",
		"demo":    "Usage: aside demo [flags]",
		"bench":   "Usage: aside bench [flags] [-- <serve-flags> ...]",
		"check":   "Usage: aside check --target=URL [--target=URL ...] [flags]",
		"inspect": "Usage: aside inspect <id> [flags]",
		"drop":    "Usage: aside drop (<id> | --tag=TAG ...) [flags]",
		"top":     "Usage: aside top [flags]",
		"nodes":   "Usage: aside nodes [flags]",
		"health":  "Usage: aside health [flags]",
		"version": "Usage: aside version [flags]",
	}
	for command := range usage {
		for _, args := range [][]string{{command, "--help"}, {"help", command}} {
			args = slices.DeleteFunc(args, func(s string) bool { return s == "" })
			stdout, stderr, code := asideRun(t, narrow, args...)
			if code != 0 || stderr != "" || !strings.HasPrefix(stdout, usage[command]+"\n\n") {
				t.Errorf("%v: exit %d\n%s%s", args, code, stdout, stderr)
			}
			for line := range strings.Lines(stdout) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
					t.Errorf("%v: a line of %d columns: %s", args, n, line)
				}
			}
			if strings.Contains(stdout, "hunter2") {
				t.Errorf("%v shows a password", args)
			}
		}
	}
	for command, lines := range map[string][]string{
		"":      {"aside demo", "aside bench --duration 10s"},
		"serve": {"aside serve", "redis://host1?addr=host2 a cluster", "/metrics metrics for Prometheus"},
		"load":  {"aside load --count 1000"},
		"bench": {"aside bench --rate 2000 --users 50 --duration 10s", "--warm-up 5s -- --ttl 1m"},
		"check": {`--duration 60s --clients 32 --keys 8 --writes 10%`},
	} {
		for _, width := range []string{"80", "200"} {
			stdout, _, _ := asideRun(t, []string{"COLUMNS=" + width}, strings.Fields(command+" --help")...)
			for _, want := range lines {
				if !slices.ContainsFunc(strings.Split(stdout, "\n"), func(line string) bool {
					return strings.HasPrefix(line, "    ") && strings.Join(strings.Fields(line), " ") == want
				}) {
					t.Errorf("%q, %s columns: no line %q in\n%s", command, width, want, stdout)
				}
			}
		}
	}
	stdout, _, _ := asideRun(t, nil, "serve", "--help")
	if !strings.Contains(stdout, "$ASIDE_REDIS") || !strings.Contains(stdout, "127.0.0.1:8000") {
		t.Errorf("help:\n%s", stdout)
	}
}

// The source of every help text is plain: each command and flag has one, which ends
// with a period; the long texts have lines of at most 100 columns, and examples are
// indented, which keeps them on lines of their own. Caught: flags whose help was two
// halves of one sentence; paragraphs of 500 columns.
func TestHelpSources(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("aside"), kong.Description(description))
	if err != nil {
		t.Fatal(err)
	}
	sentence := func(what, help string) {
		if !strings.HasSuffix(help, ".") || strings.HasSuffix(help, "..") || strings.ToUpper(help[:1]) != help[:1] {
			t.Errorf("%s: the help is not a sentence: %q", what, help)
		}
	}
	long := func(what, text string) {
		for line := range strings.Lines(text) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > 100 {
				t.Errorf("%s: a line of %d columns: %s", what, n, line)
			}
			if example := strings.HasPrefix(strings.TrimSpace(line), "aside "); example && !strings.HasPrefix(line, "    ") {
				t.Errorf("%s: an example that is not indented: %s", what, line)
			}
		}
	}
	long("aside", description)
	flags := 0
	for _, command := range parser.Model.Children {
		sentence(command.Name, command.Help)
		long(command.Name, command.Detail)
		if c, ok := command.Target.Addr().Interface().(interface{ Notes() string }); ok {
			long(command.Name, c.Notes())
		}
		for _, group := range command.AllFlags(false) {
			for _, flag := range group {
				flags++
				sentence(command.Name+" --"+flag.Name, flag.Help)
			}
		}
		for _, argument := range command.Positional {
			sentence(command.Name+" "+argument.Name, argument.Help)
		}
	}
	if flags < 150 {
		t.Errorf("only %d flags were seen", flags)
	}
}

// Each flag of "aside serve" has a name in the environment, made of its own.
func TestEveryFlagHasItsVariable(t *testing.T) {
	stdout, _, _ := asideRun(t, []string{"COLUMNS=80"}, "serve", "--help")
	_, flags, _ := strings.Cut(stdout, "\nLog\n")
	flag := regexp.MustCompile(`(?m)^\s+--([a-z0-9-]+)`)
	names := flag.FindAllStringSubmatch(flags, -1)
	if len(names) < 50 {
		t.Errorf("%d flags", len(names))
	}
	for _, m := range names {
		if want := "$ASIDE_" + strings.ToUpper(strings.ReplaceAll(m[1], "-", "_")) + ")"; !strings.Contains(flags, want) {
			t.Errorf("--%s: no %s in the help", m[1], want)
		}
	}
}

// Each number and duration of "aside serve" has an upper limit, which is told under the
// flag's name: they are added and multiplied. Caught: with the largest --max-header each
// request got 431, with the largest --max-connections each connection was closed, and
// "aside: aside: invalid options: WriteTimeout" of --write-timeout, with exit code 1.
func TestEveryNumberHasALimit(t *testing.T) {
	var c cli
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	limited := 0
	for _, command := range parser.Model.Children {
		for _, f := range command.Flags {
			if command.Name != "serve" {
				continue
			}
			largest := ""
			switch f.Target.Interface().(type) {
			case time.Duration:
				largest = "2562047h47m16s"
			case int, int64:
				largest = "9223372036854775807"
			}
			if largest == "" || f.Name == "l1-size" { // --l1-bytes bounds it
				continue
			}
			limited++
			var out, errOut bytes.Buffer
			// A server that takes the number does not start, because of --listen.
			code := run([]string{"serve", "--listen=nowhere", "--" + f.Name + "=" + largest}, &out, &errOut)
			if code != exitUsage || !strings.Contains(errOut.String(), "--"+f.Name+" must be") {
				t.Errorf("--%s=%s: exit code %d, want %d and the flag's name in\n%s", f.Name, largest, code, exitUsage, &errOut)
			}
		}
	}
	if limited < 25 {
		t.Errorf("%d flags", limited)
	}
	for _, tt := range []struct{ args, says string }{
		{"bench --timeout=2562047h47m16s", "timeout must be at most"},
		{"bench --duration=2562047h47m16s", "duration must be at most"},
		{"bench --warm-up=2562047h47m16s", "warm-up must be at most"},
		{"bench --spawn-rate=1e-300", "spawn rate must be 0 or at least"},
		{"bench --rate=1e-300", "rate must be 0 or at least"},
		{"check --target=http://127.0.0.1:1 --timeout=2562047h47m16s", "timeout must be at most"},
		{"check --target=http://127.0.0.1:1 --duration=2562047h47m16s", "duration must be at most"},
		{"check --target=http://127.0.0.1:1 --max-staleness=2562047h47m16s", "staleness must be at most"},
		{"check --target=http://127.0.0.1:1 --outside=postgres://127.0.0.1:1/a --outside-bound=2562047h47m16s", "bound for outside writes must be at most"},
	} {
		var out, errOut bytes.Buffer
		// The last flag is wrong too, so that nothing is started.
		args := append(strings.Fields(tt.args), map[bool]string{true: "--users=0", false: "--clients=-1"}[strings.HasPrefix(tt.args, "bench")])
		if code := run(args, &out, &errOut); code != exitUsage || !strings.Contains(errOut.String(), tt.says) {
			t.Errorf("%s: exit code %d, want %d with %q in\n%s", tt.args, code, exitUsage, tt.says, &errOut)
		}
	}
}

// An error that is only the consequence of a signal is told as that. Caught: "reading the
// store's identity: context canceled", after Ctrl-C in the first moments of aside demo.
func TestInterrupted(t *testing.T) {
	canceled := fmt.Errorf("reading the store's identity: %w", context.Canceled)
	for sig, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if err := interrupted(ctx, canceled); err != canceled {
			t.Errorf("without a signal: %v", err)
		}
		cancel(signalError{sig})
		err := interrupted(ctx, canceled)
		var coder interface{ ExitCode() int }
		if !errors.As(err, &coder) || coder.ExitCode() != want || err.Error() != "interrupted: stopped by "+sig.String() {
			t.Errorf("%v: %v", sig, err)
		}
		if err := interrupted(ctx, io.ErrUnexpectedEOF); err != io.ErrUnexpectedEOF {
			t.Errorf("another error: %v", err)
		}
		if err := interrupted(ctx, nil); err != nil {
			t.Errorf("no error: %v", err)
		}
		own := &exitError{canceled, 1}
		if err := interrupted(ctx, own); err != own {
			t.Errorf("an error with its own code: %v", err)
		}
	}
}

// The flags and defaults that SECURITY.md names are those of the program.
func TestSecurityNamesFlags(t *testing.T) {
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	help, _, _ := asideRun(t, []string{"COLUMNS=80"}, "serve", "--help")
	flags := map[string]string{} // name: default
	for _, m := range regexp.MustCompile(`(?m)^\s+--([a-z0-9-]+)(?:="?([^\s"]+)"?)?`).FindAllStringSubmatch(help, -1) {
		flags[m[1]] = m[2]
	}
	named := 0
	for _, m := range regexp.MustCompile("`?--([a-z][a-z0-9-]+)(?:` \\((\\d+)( KiB| MiB| s| m)?)?").FindAllStringSubmatch(string(text), -1) {
		is, ok := flags[m[1]]
		if !ok {
			t.Errorf("SECURITY.md names --%s, which does not exist", m[1])
			continue
		}
		if m[2] == "" {
			continue
		}
		named++
		says, _ := strconv.Atoi(m[2])
		want := map[string]string{"": m[2], " KiB": fmt.Sprint(says << 10), " MiB": fmt.Sprint(says << 20), " s": m[2] + "s", " m": m[2] + "m"}[m[3]]
		if is != want {
			t.Errorf("SECURITY.md says %s%s for --%s, the default is %s", m[2], m[3], m[1], is)
		}
	}
	if named < 10 {
		t.Errorf("only %d defaults are named", named)
	}
}

// An invalid command line ends with exit code 2 and has no side effects. The message
// lists all mistakes, and no password.
func TestBadCommandLines(t *testing.T) {
	for _, tt := range []struct {
		args string
		env  []string
		says []string
	}{
		{"", nil, []string{`"serve"`, `"aside --help"`}},
		{"sevre", nil, []string{"sevre"}},
		{"serve --ttl soon", nil, []string{"--ttl", "duration", `"aside serve --help"`}},
		{"serve --stale-while-revalidate=-1s --refresh-ahead=1.5 --soft-timeout=-1s --failed-for=-1s", nil,
			[]string{"--stale-while-revalidate must", "--refresh-ahead must", "--soft-timeout must", "--failed-for must"}},
		{"serve --refresh-ahead=NaN --soft-timeout=1s", nil, []string{"--refresh-ahead must", "--soft-timeout needs --stale-for"}},
		{"serve --stale-for=1s --soft-timeout=5s", nil, []string{"--soft-timeout must be shorter than --load-timeout"}},
		{"serve --redis-soft-timeout=100ms --tag-days --no-cache", nil, []string{"--redis-soft-timeout must be shorter than --redis-timeout", "--tag-days needs a cache"}},
		{"serve --redis-soft-timeout=-1ms", nil, []string{"--redis-soft-timeout must not be negative"}},
		{"serve --ttl 0s --l1-size 0 --max-loads 0 --negative-ttl=-1s --l1-ttl=-1s --stale-for=-1s", nil,
			[]string{"--ttl must", "--l1-size must", "--max-loads must", "--negative-ttl must", "--l1-ttl must", "--stale-for must"}},
		{"serve --listen 8000 --max-body 0 --max-header 0 --read-timeout 0s --request-timeout 0s --idle-timeout 0s --shutdown-timeout=-1s", nil,
			[]string{"--listen must", "--max-body must", "--max-header must", "--read-timeout must", "--request-timeout must", "--idle-timeout must", "--shutdown-timeout must"}},
		{"serve --admin 0.0.0.0:8001", nil, []string{"--admin must be a loopback address"}},
		{"serve --admin example.com:8001", nil, []string{"--admin must be a loopback address"}},
		{"serve --no-l1", nil, []string{"--no-l1 without --redis"}},
		{"serve --on-redis-down panic", nil, []string{"--on-redis-down"}},
		{"serve", []string{"ASIDE_LOG_LEVEL=loud"}, []string{"ASIDE_LOG_LEVEL"}},
		{"serve redis://user:hunter2@h", nil, []string{"redis://***@h"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_REDIS=redis://user:hunter2@h:99999"}, []string{"--redis"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_REDIS=http://user:hunter2@h"}, []string{"--redis"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_MONGO=mongodb://user:hunter2@h:99999"}, []string{"--mongo"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_MONGO=user:hunter2@h"}, []string{"--mongo"}},
		{"demo", []string{"ASIDE_MONGO=mongodb://user:hunter2@h"}, []string{"embedded store"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_POSTGRES=postgres://user:hunter2@h:99999"}, []string{"--postgres"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_POSTGRES=postgres://user:hunter2/x@h"}, []string{"--postgres"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_POSTGRES=user:hunter2@h"}, []string{"--postgres"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_POSTGRES=mysql://user:hunter2@h"}, []string{"--postgres", "postgres://"}},
		{"serve --listen 127.0.0.1:0", []string{"ASIDE_POSTGRES=postgres://user:hunter2@h", "ASIDE_MONGO=mongodb://user:hunter2@h"}, []string{"--mongo and --postgres", "remove one"}},
		{"load --count 1 --mongo mongodb://h --postgres postgres://user:hunter2@h", nil, []string{"--mongo and --postgres", "remove one"}},
		{"demo", []string{"ASIDE_POSTGRES=postgres://user:hunter2@h"}, []string{"embedded store"}},
		{"demo --count 0 --ttl 0s", nil, []string{"--count must", "--ttl must"}},
		{"serve --listen 127.0.0.1:0", []string{"OTEL_TRACES_EXPORTER=hunter2"}, []string{"aside: OTEL_TRACES_EXPORTER must be otlp or none"}},
		{"serve --listen 127.0.0.1:0", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=hunter2@c:4318"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"}},
	} {
		stdout, stderr, code := asideRun(t, tt.env, strings.Fields(tt.args)...)
		if code != 2 {
			t.Errorf("%s %v: exit %d\n%s", tt.args, tt.env, code, stderr)
		}
		for _, want := range tt.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s %v: no %q in\n%s", tt.args, tt.env, want, stderr)
			}
		}
		if strings.Contains(stdout+stderr, "hunter2") {
			t.Errorf("%s %v: the password is shown:\n%s", tt.args, tt.env, stderr)
		}
	}
}

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"redis://user:hunter2@h:1/0":                                        "redis://h:1/0",
		"redis://:hunter2@h1:1?addr=h2:1&password=hunter2":                  "redis://h1:1",
		"mongodb://u:hunter2@a:1,b:2/db?tlsCertificateKeyFilePassword=secr": "mongodb://a:1,b:2/db",
		"mongodb://u:p@hunter2@a/db":                                        "mongodb://a/db",
		"mongodb://u:hun/ter2@a/db":                                         "mongodb://a/db",
		"postgres://u:hunter2@a,b/db?password=hunter2&sslpassword=hunter2":  "postgres://a,b/db",
		"mongodb://u:hun#ter2@a/db":                                         "mongodb://a/db",
		"postgres://u:hun?ter2@a/db?sslmode=off#x":                          "postgres://a/db",
		"hunter2@h": "(hidden)",
	} {
		if got := redactURL(in); got != want {
			t.Errorf("redactURL(%q) = %q, want %q", in, got, want)
		}
	}
	if got := redact("a redis://u:p@h b"); got != "a redis://***@h b" {
		t.Errorf("redact: %q", got)
	}
	if got := redact("a redis://u:p #@/ q@h b redis://u:p://q@h"); got != "a redis://***@h b redis://***@h" {
		t.Errorf("redact: %q", got)
	}
}

// No part of a password is shown that has a character in it that ends the user and the
// password for a driver. Caught: "into postgres://u:SECRET" of a password with # or ?,
// "database=PW@h:1/db" of one with /, `invalid port ":SECRET"` of a server's URL.
func TestPasswordsThatAreNotEncoded(t *testing.T) {
	for _, password := range []string{"SECRET#PW", "SECRET?PW", "SECRET/PW", "12#PW", "12?PW", "12/PW", "SECRET PW?PW", "SECRET@?PW"} {
		at := "://u:" + password + "@127.0.0.1:1/db"
		data := "--data=" + t.TempDir()
		for _, args := range [][]string{
			{"load", "--count=1", "--postgres=postgres" + at},
			{"load", "--count=1", "--mongo=mongodb" + at},
			{"load", "postgres" + at},
			{"serve", "--listen=127.0.0.1:0", "--log-level=debug", data, "--redis=redis" + at},
			{"check", "--target=http://127.0.0.1:1", "--duration=1s", "--outside=postgres" + at},
			{"check", "--target=http://127.0.0.1:1", "--duration=1s", "--outside=mongodb" + at},
			{"check", "--duration=1s", "--target=http" + at},
			{"bench", "--duration=1s", "--url=http" + at},
			{"inspect", "1", "--admin=http" + at},
			{"drop", "1", "--admin=http" + at},
			{"health", "--url=http" + at},
		} {
			var out, errOut bytes.Buffer
			code := run(args, &out, &errOut)
			said := out.String() + errOut.String()
			if code != exitUsage || strings.Contains(said, "SECRET") || strings.Contains(said, "PW") || strings.Contains(said, "u:12") {
				t.Errorf("%q: exit code %d, want %d and no password in\n%s", args, code, exitUsage, said)
			}
			if strings.Contains(args[len(args)-1], "=http") || args[1] == "postgres"+at {
				continue
			}
			if !strings.Contains(said, "percent-encode") {
				t.Errorf("%q: no %q in\n%s", args, "percent-encode", said)
			}
		}
	}
}

// No escape sequence reaches the terminal, neither from the command line nor from a
// server. Caught: all commands but load printed errors unescaped.
func TestErrorsHaveNoEscapes(t *testing.T) {
	const evil = "\x1b]0;title\x07\u202e"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTeapot)
		_ = json.NewEncoder(w).Encode(map[string]any{"status": 418, "code": "x" + evil, "detail": "d" + evil})
	}))
	t.Cleanup(server.Close)
	for _, args := range [][]string{
		{"serve", "--nothing" + evil},
		{"serve", "--data", t.TempDir(), "--listen", "127.0.0.1:0" + evil},
		{"load", "--jsonl", "none" + evil},
		{"bench", "--trace", "none" + evil},
		{"check", "--target", server.URL},
	} {
		var out, errOut bytes.Buffer
		if code := run(args, &out, &errOut); code == 0 || strings.ContainsAny(out.String()+errOut.String(), "\x1b\x07\u202e") {
			t.Errorf("%q: exit code %d: %q", args, code, errOut.String())
		}
		if !strings.Contains(errOut.String(), `\x1b`) {
			t.Errorf("%q: the message does not show the escapes: %q", args, errOut.String())
		}
	}
}
