package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

type benchComparison struct {
	Base        string
	Complete    int `json:"complete_rounds"`
	Interrupted bool
	Requests    int64
	Failures    int64
	Targets     []struct {
		Name   string
		Values map[string]struct{ Median float64 }
		Ratios map[string]struct{ N int }
		Runs   []*struct {
			Requests int64
			Tiers    map[string]struct{ Answers int64 }
		}
	}
}

func mustCompare(t *testing.T, env []string, args ...string) benchComparison {
	t.Helper()
	stdout, stderr, code := asideRun(t, env, append([]string{"bench", "--compare", "--json"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var c benchComparison
	if err := json.Unmarshal([]byte(stdout), &c); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	return c
}

// benchStore creates an embedded store with the ids 1 to 500.
func benchStore(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	if _, stderr, code := asideRun(t, nil, "load", "--count", "500", "--data", data); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	return data
}

// Bench starts servers itself: each setting answers only from its own tiers, the settings
// with Redis start with an empty cache, and Redis has no keys afterwards. Caught: keys
// that stayed in Redis.
func TestBenchCompareStartsServers(t *testing.T) {
	redis := testserver.Redis(t)
	env := []string{"ASIDE_REDIS=" + redis.URL(), "ASIDE_NO_L1=true", "ASIDE_LISTEN=127.0.0.1:1"}
	c := mustCompare(t, env, "--data", benchStore(t), "--settings", "no-cache,L1,L2,L1+L2",
		"--rounds", "1", "--ids", "1-500", "--requests", "2000", "--users", "4", "--duration", "0", "--", "--redis-timeout", "10s")
	if c.Base != "no-cache" || c.Complete != 1 || c.Failures != 0 || c.Requests != 4*2000 || len(c.Targets) != 4 {
		t.Fatalf("%+v", c)
	}
	for _, target := range c.Targets {
		// 2,000 random choices among 500 ids choose about 491 different ids. When an id
		// comes again, its fill may still be running.
		want := map[string][]string{"no-cache": {"bypass"}, "L1": {"L1", "miss"}, "L2": {"L2", "miss"}, "L1+L2": {"L1", "L2", "miss"}}[target.Name]
		for round, run := range target.Runs {
			sum := int64(0)
			for _, tier := range want {
				sum += run.Tiers[tier].Answers
			}
			if sum != 2000 || len(run.Tiers) > len(want) {
				t.Errorf("%s, round %d: %+v, want only %v", target.Name, round, run.Tiers, want)
			}
			if misses := run.Tiers["miss"].Answers; target.Name != "no-cache" && (misses < 480 || misses > 700) {
				t.Errorf("%s, round %d: %d misses, want about 491: it did not begin cold", target.Name, round, misses)
			}
		}
		if target.Name != c.Base && target.Ratios["requests_per_second"].N != 1 {
			t.Errorf("%s: ratios %+v", target.Name, target.Ratios)
		}
	}
	conn, err := net.Dial("tcp", redis.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The names under which the servers announced themselves end by themselves.
	testserver.Eventually(t, 30*time.Second, "no key remains in Redis", func() bool {
		fmt.Fprint(conn, "EVAL \"return #redis.call('KEYS', '*bench-*')\" 0\r\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return line == ":0\r\n"
	})
}

// A warm-up fills the tiers before each run. Without Redis there are two settings.
func TestBenchCompareWarm(t *testing.T) {
	c := mustCompare(t, nil, "--data", benchStore(t), "--rounds", "1", "--ids", "1-500", "--requests", "300", "--users", "1", "--warm-up", "once")
	if len(c.Targets) != 2 || c.Targets[1].Name != "L1" || c.Targets[1].Runs[0].Tiers["L1"].Answers < 295 {
		t.Errorf("%+v", c)
	}
}

// Any servers can be compared. An error of one of them is reported.
func TestBenchCompareURLs(t *testing.T) {
	a, n := records(t)
	b, m := records(t)
	c := mustCompare(t, nil, "--url", a, "--url", b, "--rounds", "3", "--ids", "1-9", "--requests", "50", "--users", "2")
	if c.Base != a || c.Complete != 3 || n.Load() != 150 || m.Load() != 150 || c.Targets[1].Name != b {
		t.Errorf("%+v; the servers saw %d and %d", c, n.Load(), m.Load())
	}
	stdout, stderr, code := asideRun(t, nil, "bench", "--compare", "--url", a, "--url", b, "--rounds", "1", "--ids", "0-9", "--requests", "50", "--users", "2")
	if code != 1 || !strings.Contains(stdout, "with status 404") || !strings.Contains(stdout, "Ratios to "+a) || !strings.Contains(stderr, "requests failed") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestBenchCompareEmptyStore(t *testing.T) {
	dir := t.TempDir()
	_, stderr, code := asideRun(t, nil, "bench", "--compare", "--data", dir, "--ids", "1-77")
	if code != 1 || !strings.Contains(stderr, "has no record 77") || !strings.Contains(stderr, "aside load --count 77") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	_, stderr, code = asideRun(t, nil, "bench", "--compare", "--data", dir, "--", "--ttl", "soon")
	if code != 1 || !strings.Contains(stderr, "aside serve did not start") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// A setting without Redis ignores the Redis of the environment. Caught: a variable that was
// passed to the server.
func TestBenchServeEnvironment(t *testing.T) {
	c := BenchCmd{}
	c.Redis, c.Data = "redis://a", "dir"
	for setting, want := range map[string]string{
		"no-cache": "ASIDE_DATA=dir ASIDE_MONGO= ASIDE_MONGO_COLLECTION= ASIDE_MONGO_DATABASE= ASIDE_POSTGRES= ASIDE_POSTGRES_TABLE= PATH=/bin",
		"L1":       "ASIDE_DATA=dir ASIDE_MONGO= ASIDE_MONGO_COLLECTION= ASIDE_MONGO_DATABASE= ASIDE_POSTGRES= ASIDE_POSTGRES_TABLE= PATH=/bin",
		"L2":       "ASIDE_DATA=dir ASIDE_MONGO= ASIDE_MONGO_COLLECTION= ASIDE_MONGO_DATABASE= ASIDE_POSTGRES= ASIDE_POSTGRES_TABLE= ASIDE_REDIS=redis://a PATH=/bin",
	} {
		all := []string{
			"PATH=/bin", "ASIDE_REDIS=redis://b", "ASIDE_NO_CACHE=true", "ASIDE_NO_L1=true", "ASIDE_CACHE_NAME=x", "ASIDE_LISTEN=:1",
			"ASIDE_ADMIN=:2",
		}
		for field := range reflect.TypeFor[StoreFlags]().Fields() {
			if name := field.Tag.Get("env"); name != "" {
				all = append(all, name+"=x")
			}
		}
		got := serveEnvironment(all, c.environment(setting))
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s\nwant %s", setting, s, want)
		}
	}
}

// The servers get the store that the flags name, with the password from its file, and not in
// their arguments. Caught: the embedded store was measured in place of it.
func TestBenchServeSecrets(t *testing.T) {
	password := secretFile(t, "s3cr/et")
	for _, tt := range []struct {
		store StoreFlags
		want  string
	}{
		{StoreFlags{MongoFile: secretFile(t, "mongodb://me:s3cr%2Fet@db1/")}, "ASIDE_MONGO=mongodb://me:s3cr%2Fet@db1/"},
		{StoreFlags{Mongo: "mongodb://me@db1/", MongoPassFile: password}, "ASIDE_MONGO=mongodb://me:s3cr%2Fet@db1/"},
		{StoreFlags{PostgresFile: secretFile(t, "postgres://me:s3cr%2Fet@db1/todos")}, "ASIDE_POSTGRES=postgres://me:s3cr%2Fet@db1/todos"},
		{StoreFlags{Postgres: "postgres://me@db1/todos", PostgresPassFile: password}, "ASIDE_POSTGRES=postgres://me:s3cr%2Fet@db1/todos"},
	} {
		c := BenchCmd{}
		c.Compare, c.StoreFlags = true, tt.store
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		if env := c.environment("L1"); !slices.Contains(env, tt.want) {
			t.Errorf("%+v: %q", tt.store, env)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--postgres-file", "/nowhere"}, "--postgres-file: open /nowhere"},
		{[]string{"--mongo", "mongodb://db1", "--mongo-password-file", password}, "--mongo must name the user"},
		{[]string{"--mongo", "mongodb://db1", "--postgres-file", password}, "--mongo and --postgres are both given"},
		{[]string{"--", "--postgres-file", "/nowhere"}, "--postgres-file is not allowed after --"},
		{[]string{"--", "--mongo-password-file=/nowhere"}, "--mongo-password-file is not allowed after --"},
	} {
		stdout, stderr, code := asideRun(t, nil, append([]string{"bench", "--compare"}, tt.args...)...)
		if code != exitUsage || !strings.Contains(stderr, tt.want) || strings.Contains(stdout+stderr, "s3cr") {
			t.Errorf("%q: exit code %d, want %d with %q: %s", tt.args, code, exitUsage, tt.want, stderr)
		}
	}
}

// A database whose URL is in a file is measured. The ids are asked of it too.
func TestBenchComparePostgresFile(t *testing.T) {
	file := secretFile(t, testserver.Postgres(t).URL())
	if _, stderr, code := asideRun(t, nil, "load", "--count", "30", "--postgres-file", file); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, env := range [][]string{nil, {"ASIDE_POSTGRES_FILE=" + file}} {
		args := []string{"--rounds", "1", "--requests", "100", "--users", "1", "--duration", "0"}
		if env == nil {
			args = append(args, "--postgres-file", file)
		}
		if c := mustCompare(t, env, args...); c.Complete != 1 || c.Failures != 0 || c.Requests != 200 {
			t.Errorf("%q: %+v", env, c)
		}
	}
}

// Ctrl-C on a terminal reaches the whole process group. It ends the comparison, the rounds
// before are reported, and no server keeps running. Caught: a server in the same group,
// which ended before its keys were removed.
func TestBenchCompareInterrupted(t *testing.T) {
	data := benchStore(t)
	page := filepath.Join(t.TempDir(), "page.html")
	cmd := command(t, nil, "bench", "--compare", "--data", data, "--ids", "1-500", "--users", "2", "--duration", "300ms", "--rounds", "1000", "--html", page)
	var out bytes.Buffer
	progress := &testsync.Buffer{}
	cmd.Stdout, cmd.Stderr = &out, progress
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	testserver.Eventually(t, 30*time.Second, "the second round", func() bool { return strings.Contains(progress.String(), "round 2 of 1000, L1") })
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || strings.Contains(progress.String(), "stay in Redis") {
		t.Errorf("%v: %s", err, progress)
	}
	if !strings.Contains(out.String(), "of 1000 rounds completed, ended early") || !strings.Contains(out.String(), "Ratios to no-cache") {
		t.Errorf("report:\n%s", &out)
	}
	if b, err := os.ReadFile(page); err != nil || !strings.Contains(string(b), "rounds completed") {
		t.Errorf("page: %v", err)
	}
	// A running server locks the file of the store.
	if _, stderr, code := asideRun(t, nil, "load", "--count", "1", "--data", data); code != 0 {
		t.Errorf("a server is left: %s", stderr)
	}
}
