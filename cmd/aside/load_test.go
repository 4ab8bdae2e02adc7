package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/asidecache/aside/cmd/aside/internal/boltstore"
	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// parseLoad parses the arguments of "aside load".
func parseLoad(t *testing.T, args ...string) (*LoadCmd, error) {
	t.Helper()
	var cmd LoadCmd
	parser, err := kong.New(&cmd, kong.Exit(func(int) { t.Fatal("the parser would exit") }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return &cmd, err
}

func TestLoadArguments(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--count 5", ""},
		{"--archive - --db test --collection todos", ""},
		{"--jsonl todos.jsonl --batch 10", ""},
		{"", "choose a source"},
		{"--count 5 --archive x", "can't be used together"},
		{"--jsonl y --archive x", "can't be used together"},
		{"--count=-5", "choose a source: --count N (1 or more)"},
		{"--count 0", "choose a source: --count N (1 or more)"},
		{"--count 5 --db test", "--db and --collection need --archive"},
		{"--jsonl x --collection test", "--db and --collection need --archive"},
		{"--count 5 --batch 0", "--batch must be"},
	} {
		_, err := parseLoad(t, strings.Fields(c.args)...)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("aside load %s: got %v, want %q", c.args, err, c.says)
		}
	}
}

// loaded runs "aside load" on an embedded store in dir.
func loaded(t *testing.T, ctx context.Context, dir string, in io.Reader, args ...string) (out, progress string, err error) {
	t.Helper()
	cmd, err := parseLoad(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	err = cmd.run(ctx, loadIO{in: in, out: &stdout, err: &stderr, open: func(context.Context) (todo.Store, error) {
		return boltstore.Open(dir, boltstore.Options{})
	}})
	return stdout.String(), stderr.String(), err
}

// stored reads a record back from the store in dir.
func stored(t *testing.T, dir, id string) (todo.Todo, int64) {
	t.Helper()
	s, err := boltstore.Open(dir, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	td, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return td, n
}

func testArchive(n int) *dumptest.Writer {
	w := dumptest.New("test.users", "test.todos").Add("test.users", dumptest.Doc("email", "a@example.org"))
	for i := range n {
		w.Add("test.todos", dumptest.Doc("id", fmt.Sprint(i), "name", "n", "description", "d", "tags", "x"))
	}
	return w
}

func TestLoadGenerated(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{"2500 inserted, 0 already there", "0 inserted, 2500 already there"} {
		out, progress, err := loaded(t, t.Context(), dir, nil, "--count", "2500", "--seed", "3")
		if err != nil || !strings.Contains(out, want) || !strings.Contains(out, "2500 records processed") {
			t.Errorf("got %q and %v, want %q", out, err, want)
		}
		if !strings.Contains(progress, "into embedded store") {
			t.Errorf("it does not say where to: %q", progress)
		}
	}
	want := load.NewGenerator(2500, 3).At(17)
	if got, n := stored(t, dir, "17"); n != 2500 || got.Name != want.Name || *got.Description != *want.Description {
		t.Errorf("got %+v of %d, want %+v of 2500", got, n, want)
	}
}

func TestLoadArchive(t *testing.T) {
	in := testArchive(30).End("test.users", "test.todos").Bytes()
	file := filepath.Join(t.TempDir(), "dump")
	if err := os.WriteFile(file, in, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, "-"} {
		dir := t.TempDir()
		out, progress, err := loaded(t, t.Context(), dir, bytes.NewReader(in), "--archive", name)
		if err != nil || !strings.Contains(out, "30 inserted, 0 already there, 0 faulty") {
			t.Errorf("%s: got %q and %v", name, out, err)
		}
		if !strings.Contains(progress, "loading test.todos from the archive: the only collection whose documents") {
			t.Errorf("%s: the choice is not said aloud: %q", name, progress)
		}
		if !strings.Contains(out, `"tags" in 30; they are not loaded`) {
			t.Errorf("%s: the fields left out are not named: %q", name, out)
		}
		if got, n := stored(t, dir, "7"); n != 30 || got.Name != "n" {
			t.Errorf("%s: got %+v of %d", name, got, n)
		}
	}
}

// TestLoadDamaged: records before the damage are in the store and counted. The error has
// the kind and the place of the damage, and the exit code is 1.
func TestLoadDamaged(t *testing.T) {
	cut := testArchive(30)
	at := cut.Len()
	wrongCRC := testArchive(30).End("test.users").EndWith("test.todos", 1).Bytes()
	for _, c := range []struct {
		name string
		in   []byte
		kind error
		says string
	}{
		{"cut", append(cut.Bytes()[:at:at], 9, 0), mongodump.ErrTruncated, fmt.Sprintf("at byte %d in test.todos", at)},
		{"wrong CRC", wrongCRC, mongodump.ErrCRC, "in test.todos"},
	} {
		dir := t.TempDir()
		out, _, err := loaded(t, t.Context(), dir, bytes.NewReader(c.in), "--archive", "-")
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.says)
		}
		var exit interface{ ExitCode() int }
		if errors.As(err, &exit) && exit.ExitCode() != 1 {
			t.Errorf("%s: exit code %d, want 1", c.name, exit.ExitCode())
		}
		// Caught: "run the same command again to load the rest", which it never can.
		if !strings.Contains(out, "30 inserted") || !strings.Contains(out, "load a whole copy of the source for the rest") || strings.Contains(out, "again") {
			t.Errorf("%s: got %q", c.name, out)
		}
		if _, n := stored(t, dir, "29"); n != 30 {
			t.Errorf("%s: %d records in the store, want 30", c.name, n)
		}
	}
}

func TestLoadJSONLines(t *testing.T) {
	in := `{"id":"1","name":"n"}` + "\n" + `{"name":"n"}` + "\n" + `{"id":"3","name":"n","tags":[]}`
	dir := t.TempDir()
	out, progress, err := loaded(t, t.Context(), dir, strings.NewReader(in), "--jsonl", "-")
	if !errors.Is(err, load.ErrFaulty) {
		t.Errorf("got %v, want ErrFaulty", err)
	}
	if !strings.Contains(out, "2 inserted, 0 already there, 1 faulty") || !strings.Contains(out, `"tags" in 1`) {
		t.Errorf("got %q", out)
	}
	if !strings.Contains(progress, "skipped: record at line 2: id is missing") {
		t.Errorf("got %q", progress)
	}
}

// TestLoadOpensTheSourceFirst: if the source cannot be opened, no store is created.
func TestLoadOpensTheSourceFirst(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, args := range map[string][]string{
		"no such file":           {"--archive", missing},
		"a directory":            {"--jsonl", t.TempDir()},
		"no archive":             {"--archive", "-"},
		"no such collection":     {"--archive", "-", "--collection", "nope"},
		"choice that is unclear": {"--archive", "-"},
	} {
		in := map[string][]byte{
			"no archive":             []byte("{}"),
			"no such collection":     testArchive(3).End("test.users", "test.todos").Bytes(),
			"choice that is unclear": dumptest.New("a.b", "a.c").End("a.b", "a.c").Bytes(),
		}[name]
		dir := filepath.Join(t.TempDir(), "data")
		if _, _, err := loaded(t, t.Context(), dir, bytes.NewReader(in), args...); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the store was made: %v", name, err)
		}
	}
}

// TestLoadInterrupted: the exit code is that of an interrupt, even while the load waits for
// the first bytes on standard input.
func TestLoadInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	pr, pw := io.Pipe()
	defer pw.Close()
	for name, args := range map[string][]string{
		"waiting for input": {"--archive", "-"},
		"loading":           {"--count", "100000"},
	} {
		_, _, err := loaded(t, ctx, t.TempDir(), pr, args...)
		var exit interface{ ExitCode() int }
		if !errors.As(err, &exit) || exit.ExitCode() != 130 {
			t.Errorf("%s: got %v, want exit code 130", name, err)
		}
	}
}

func TestLoadHelp(t *testing.T) {
	help := new(LoadCmd).Help() + new(LoadCmd).Notes()
	for _, want := range []string{"not through the cache", "exit code"} {
		if !strings.Contains(help, want) {
			t.Errorf("the help does not say %q", want)
		}
	}
}
