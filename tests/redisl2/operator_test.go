package redisl2_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// What docs/guide/maintenance.md says of redis-cli: reading changes nothing, a record
// that is removed is dropped by all nodes, a lease that is removed costs one fill, and a
// fence that is removed is lost. Clear spares fences, FLUSHALL does not.
func TestWhatAnOperatorMayDo(t *testing.T) {
	srv := testserver.Redis(t)
	p := newPrimary("v", "l", "f", "g", "h")
	a, b := newNode(t, p, srv.URL()), newNode(t, p, srv.URL())
	kind := func(k string) string {
		t.Helper()
		s, err := srv.Do("GETRANGE", prefix+k, "0", "0").ToString()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	warm := func(k string) { t.Helper(); a.warm(k); b.warm(k) }
	dropped := func(what, k string) {
		t.Helper()
		for _, n := range []*node{a, b} {
			testsync.Eventually(t, what+" reaches the memory of a node", func() bool { _, i := n.read(k, aside.Default); return i.Source != aside.SourceL1 })
		}
	}

	warm("v")
	for _, read := range [][]string{
		{"GET"}, {"STRLEN"}, {"PTTL"}, {"TYPE"}, {"MEMORY", "USAGE"}, {"OBJECT", "IDLETIME"},
	} {
		if err := srv.Do(append(read, prefix+"v")...).Error(); err != nil {
			t.Error(read, err)
		}
	}
	a.want("v", 1, aside.SourceL1)
	for _, remove := range [][]string{{"UNLINK", prefix + "v"}, {"DEL", prefix + "v"}, {"EXPIRE", prefix + "v", "100"}, {"FLUSHALL"}} {
		warm("v")
		srv.Do(remove...)
		dropped(remove[0], "v")
	}

	// A lease: the load's value is not stored.
	arrived, leave := make(chan struct{}), make(chan struct{})
	p.afterRead = func(k string) {
		if k == "l" {
			arrived <- struct{}{}
			<-leave
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); a.read("l", aside.Default) }()
	<-arrived
	if k := kind("l"); k != "L" {
		t.Fatalf("kind %q", k)
	}
	srv.Do("UNLINK", prefix+"l")
	close(leave)
	<-done
	p.afterRead = nil
	testsync.Eventually(t, "the fill is refused", func() bool { return a.Stats().FillsRefused == 1 })
	if k := kind("l"); k != "" {
		t.Errorf("stored all the same: %q", k)
	}

	// Fences.
	during := func(k string, f func()) {
		t.Helper()
		if err := a.Write(context.Background(), k, func(context.Context, *aside.WriteTx[string, rec]) error {
			if kind(k) != "F" {
				t.Errorf("%s is %q", k, kind(k))
			}
			f()
			p.put(k)
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	for _, tc := range []struct {
		key  string
		f    func()
		lost uint64
	}{
		{"f", func() {
			if err := b.Clear(t.Context()); err != nil {
				t.Error(err)
			}
		}, 0},
		{"g", func() { srv.Do("UNLINK", prefix+"g") }, 1},
		{"h", func() { srv.Do("FLUSHALL") }, 2},
	} {
		during(tc.key, tc.f)
		if n := a.Stats().FencesLost; n != tc.lost {
			t.Errorf("%s: %d fences lost, want %d", tc.key, n, tc.lost)
		}
	}
}

// The line of docs/guide/maintenance.md that clears a cache removes all of its keys, whatever
// their ids, and no others. The one of operations.md counts the keys of each cache. Caught:
// xargs, which divides and unquotes its input.
func TestPipesOfAnOperator(t *testing.T) {
	srv := testserver.Redis(t)
	bin := redisCLI(t, srv)
	ids := []string{
		"plain", "a b", " ", "tab\t", "it's", `a"b`, `"a"`, `back\slash`, `\`, `\n`, "line\nbreak", "\r\n", "grün ☃", "\x00\xff", "$HOME `id` *", "#", "",
	}
	p := newPrimary(ids...)
	n := newNode(t, p, srv.URL())
	for _, id := range append(slices.Clone(ids), "there is none") {
		if _, err := n.Read(t.Context(), id, p, aside.Default); err != nil && id != "there is none" {
			t.Fatal(err)
		}
	}
	const other = "aside:other:0:a b"
	srv.Do("SET", other, "x")
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept := func() []string {
		t.Helper()
		keys, err := srv.Do("KEYS", "*").AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	all := kept()
	if len(all) < len(ids)+2 {
		t.Fatalf("%q", all)
	}
	pipe := func(page, pattern string) string {
		t.Helper()
		line := pipeOf(t, page, pattern)
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, "NAME", "t"))
		cmd.Env = append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return string(out)
	}

	out := pipe("operations.md", "aside:*")
	if got, want := strings.Fields(out), []string{"1", "other", fmt.Sprint(len(all) - 1), "t"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	out = pipe("maintenance.md", "aside:NAME:*")
	if keys := kept(); !slices.Equal(keys, []string{other}) || !strings.Contains(out, "errors: 0") {
		t.Errorf("these keys are left, want only %q: %q\n%s", other, keys, out)
	}
}

// pipeOf returns the line of a page that lists the keys of a pattern.
func pipeOf(t *testing.T, page, pattern string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/guide/" + page)
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile("redis-cli [^`\n]*--scan --pattern '" + regexp.QuoteMeta(pattern) + "' [^`\n]+")
	lines := line.FindAllString(strings.ReplaceAll(string(text), `\|`, "|"), -1) // it is escaped in tables
	if len(lines) != 1 {
		t.Fatalf("%s has %d such lines, want 1: %q", page, len(lines), lines)
	}
	return lines[0]
}

// redisCLI returns a directory with a redis-cli that asks srv.
func redisCLI(t *testing.T, srv *testserver.RedisServer) string {
	t.Helper()
	path, err := exec.LookPath("redis-cli")
	if err != nil {
		if path, err = exec.LookPath("valkey-cli"); err != nil {
			testserver.Missing(t, "redis-cli is not on PATH: install redis-tools or valkey")
		}
	}
	host, port, _ := strings.Cut(srv.Addr(), ":")
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' -h %s -p %s \"$@\"\n", path, host, port)
	if err := os.WriteFile(filepath.Join(dir, "redis-cli"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
