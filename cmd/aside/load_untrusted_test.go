package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/tests/testserver"
)

// Text from a file is escaped on the terminal, in reports and in errors. Caught: an escape
// sequence in the name of a collection, which set the title of the window; C1 control
// characters, which JSON need not escape.
func TestLoadPrintsNoEscapes(t *testing.T) {
	const evil = "x\x1b]0;owned\x07\u009b31m\u202ey"
	for name, tc := range map[string]struct {
		in   []byte
		args []string
	}{
		"the collection that is chosen": {dumptest.New("a."+evil).Add("a."+evil, dumptest.Doc("id", "1", "name", "n")).End("a." + evil).Bytes(), []string{"--archive", "-"}},
		"collections to choose from":    {dumptest.New("a."+evil, "a.b").End("a."+evil, "a.b").Bytes(), []string{"--archive", "-"}},
		"no such collection":            {dumptest.New("a." + evil).End("a." + evil).Bytes(), []string{"--archive", "-", "--collection", evil}},
		"only a system collection":      {dumptest.New("admin." + evil).End("admin." + evil).Bytes(), []string{"--archive", "-"}},
		"a collection without an end":   {dumptest.New("a."+evil, "a.todos").Add("a.todos", dumptest.Doc("id", "1", "name", "n")).End("a.todos").Bytes(), []string{"--archive", "-"}},
		"a wrong checksum":              {dumptest.New("a."+evil, "a.todos").Add("a.todos", dumptest.Doc("id", "1", "name", "n")).End("a.todos").EndWith("a."+evil, 7).Bytes(), []string{"--archive", "-"}},
		"no archive":                    {[]byte("[" + evil), []string{"--archive", "-"}},
		"a field of an archive": {dumptest.New("a.todos").Add("a.todos", dumptest.Doc("id", "1", "name", "n", evil, 1), dumptest.Doc("id", evil, "name", "n")).End("a.todos").Bytes(),
			[]string{"--archive", "-"}},
		"a field and an id in JSON": {[]byte(`{"id":"1","name":"n","` + strings.Map(func(r rune) rune {
			if r < ' ' { // JSON does not allow these
				return -1
			}
			return r
		}, evil) + `":1}` + "\n" + `{"id":"2` + "\u202e" + `","name":"n","completed":"` + "\u009b" + `"}` + "\n" + `{"id":"` + "\u009b" + `31m","name":"n"}` + "\n" + `{"id":"3", ` + "\u009b" + `}`), []string{"--jsonl", "-"}},
		"a file name": {nil, []string{"--jsonl", evil}},
	} {
		t.Run(name, func(t *testing.T) {
			out, progress, err := loaded(t, t.Context(), t.TempDir(), bytes.NewReader(tc.in), tc.args...)
			said := out + progress
			if err != nil {
				said += err.Error()
			}
			if !strings.Contains(said, "x\\x1b") && !strings.Contains(said, `\u009b`) && !strings.Contains(said, "which looks like JSON") {
				t.Errorf("it does not say what it met: %s", said)
			}
			for _, r := range said {
				if !unicode.IsPrint(r) && r != '\n' {
					t.Errorf("%U is in %q", r, said)
					break
				}
			}
		})
	}
}

// Unusual values are loaded as the service shows them, and reported. Caught: a date after
// the year 9999 was loaded silently, and made it impossible to show its page.
func TestLoadReportsUnusualValues(t *testing.T) {
	in := `[{"id":"1","name":"n","created_at":{"$date":{"$numberLong":"253402304399000"}}},` + "\n" + `{"id":"2","name":"n","version":2.0,"created_at":"9999-12-31T23:59:59-01:00"}]`
	dir := t.TempDir()
	out, _, err := loaded(t, t.Context(), dir, strings.NewReader(in), "--jsonl", "-")
	const want = `unusual value: created_at: a date outside of the years 1 to 9999, ignored: 2, the first at element 1 (id "1")`
	if err != nil || !strings.Contains(out, "2 inserted") || !strings.Contains(out, want) {
		t.Errorf("%v: %s", err, out)
	}
	if got, _ := stored(t, dir, "2"); !got.CreatedAt.IsZero() || got.Version != 2 {
		t.Errorf("got %+v", got)
	}
	large := `{"id":"1","name":"` + strings.Repeat("x", todo.MaxRecordBytes) + `"}`
	_, progress, err := loaded(t, t.Context(), t.TempDir(), strings.NewReader(large), "--jsonl", "-")
	if err == nil || !strings.Contains(progress, "is too large: id, name and description have 66817 bytes together, the maximum is 66816") || len(progress) > 1000 {
		t.Errorf("%v: %.1000s", err, progress)
	}
}

// A load waits for a writer of a pipe, and the first signal ends it. Caught: a process that
// had to be killed, since it opened the pipe before it handled signals.
func TestLoadFromAPipeEnds(t *testing.T) {
	for _, flag := range []string{"load --jsonl", "load --archive"} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, nil, append(strings.Fields(flag), pipe)...)
			errOut := &testsync.Buffer{}
			cmd.Stderr = errOut
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			testserver.Eventually(t, 20*time.Second, "it opens the pipe", func() bool { return strings.Contains(errOut.String(), "waiting for a writer of the pipe") })
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(20 * time.Second):
				_ = cmd.Process.Kill()
				<-ended
				t.Fatalf("%s: it did not end with %v", flag, sig)
			}
			if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(errOut.String(), "interrupted") {
				t.Errorf("%s, %v: exit code %d: %s", flag, sig, code, errOut)
			}
		}
	}
}

// The same for a bench that replays a pipe.
func TestBenchTraceFromAPipeEnds(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w := BenchWorkload{Trace: pipe}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.replay(ctx)
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != 130 || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("%v", err)
	}
	// Opening the pipe for writing waits for the reader, and so releases it.
	f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
