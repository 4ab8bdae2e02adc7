package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

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
}

// Why a server does not start is told, with all that is wrong. Caught: only "Run aside serve
// --help for usage" was.
func TestBenchCompareDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		flags []string
		says  []string
	}{
		{[]string{"--ttl", "soon"}, []string{"--ttl", `"soon"`}},
		{[]string{"--ttl", "0s"}, []string{"--ttl must be at least 1ms, is 0s"}},
		{[]string{"--ttl", "0s", "--l1-size", "0"}, []string{"--ttl must be at least 1ms, is 0s", "--l1-size must be at least 1, is 0"}},
		{[]string{"--page-token-file", "/nowhere"}, []string{"--page-token-file: open /nowhere"}},
	} {
		for _, ids := range [][]string{nil, {"--ids", "1-9"}} { // the server is asked for its ids, or not
			_, stderr, code := asideRun(t, nil, slices.Concat([]string{"bench", "--compare", "--data", dir}, ids, []string{"--"}, tt.flags)...)
			for _, want := range append(tt.says, "aside serve did not start: ") {
				if code != 1 || !strings.Contains(stderr, want) || strings.Contains(stderr, "for usage") || strings.Contains(stderr, "microseconds") || strings.Count(stderr, "aside: ") != 1 {
					t.Errorf("%q, %q: exit code %d, %q is missing, or more is said than that:\n%s", tt.flags, ids, code, want, stderr)
				}
			}
		}
	}
}

// The end of a log is its error, or its last lines. A password is not shown.
func TestBenchLastWords(t *testing.T) {
	for log, want := range map[string]string{
		"": "it printed nothing",
		"{\"msg\":\"a\"}\naside: b\nc\n{\"msg\":\"d\"}\nRun \"aside serve --help\" for usage.": "b\nc",
		"aside: a\naside: b":                   "b",
		"panic: a\n\nRun b":                    "panic: a\nRun b",
		"aside: redis://me:s3cr/et@b refused":  "redis://***@b refused",
		"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11":    "2\n3\n4\n5\n6\n7\n8\n9\n10\n11",
		"aside: 1" + strings.Repeat("\n2", 99): "1" + strings.Repeat("\n2", 9),
	} {
		var w lastWords
		for line := range strings.Lines(log) {
			w.add(strings.TrimSpace(line))
		}
		if got := w.String(); got != want {
			t.Errorf("%q: %q, want %q", log, got, want)
		}
	}
}

// With the variables that a server in production has, each setting gets those that it has a
// use for. Caught: without a cache, a password for Redis was refused; the certificate of the
// service was not for the address of the measured server.
func TestBenchCompareInProduction(t *testing.T) {
	redis := testserver.Redis(t)
	redis.Do("ACL", "SETUSER", "todo", "reset", "on", ">hunter2", "~*", "&*", "+@all")
	password := secretFile(t, "hunter2")
	ca := newAuthority(t)
	cert, key := ca.issue("todo.example.com", big.NewInt(2))
	env := []string{
		"ASIDE_REDIS=redis://todo@" + redis.Addr(), "ASIDE_REDIS_PASSWORD_FILE=" + password, "ASIDE_REDIS_TIMEOUT=10s",
		"ASIDE_TAG_DAYS=true", "ASIDE_FEED=on", "ASIDE_TLS_CERT=" + cert, "ASIDE_TLS_KEY=" + key, "ASIDE_ALLOWED_HOSTS=todo.example.com",
	}
	args := []string{"--data", benchStore(t), "--ids", "1-500", "--rounds", "1", "--requests", "1000", "--users", "2", "--duration", "0"}
	check := func(c benchComparison) {
		t.Helper()
		if len(c.Targets) != 3 || c.Failures != 0 || c.Requests != 3000 || c.Targets[1].Runs[0].Tiers["L2"].Answers == 0 {
			t.Errorf("%+v", c)
		}
	}
	check(mustCompare(t, env, args...))
	// The same as flags.
	check(mustCompare(t, env[:1], append(args, "--", "--redis-password-file", password, "--redis-timeout=10s", "--tag-days", "--feed", "on")...))
}

// No setting refuses what any variable of aside serve is set to, all at once. This finds the
// next variable that needs a cache or Redis.
func TestBenchServeAcceptsEveryVariable(t *testing.T) {
	var all, names []string
	var serve func(reflect.Type)
	serve = func(typ reflect.Type) {
		for field := range typ.Fields() {
			name, value := field.Tag.Get("env"), field.Tag.Get("default")
			switch kind := field.Type; {
			case field.Anonymous:
				serve(kind)
			case name == "":
			default:
				if field.Type.Kind() == reflect.Bool {
					value = "true"
				} else if field.Type == reflect.TypeFor[time.Duration]() {
					value = cmp.Or(value, "1m")
				}
				names = append(names, name)
				all = append(all, name+"="+cmp.Or(value, "x"))
			}
		}
	}
	serve(reflect.TypeFor[ServeCmd]())
	if len(names) < 50 {
		t.Fatalf("only %d variables: %q", len(names), names)
	}
	for setting := range settingFlags {
		t.Run(setting, func(t *testing.T) {
			c := BenchCmd{}
			c.Redis, c.Data, c.MongoDatabase, c.MongoCollection, c.PostgresTable = "redis://a", "dir", "d", "c", "t"
			c.ServeFlags = []string{"--tag-days", "--feed", "on", "--redis-password-file", "x", "--redis-tls-ca=x"}
			for _, v := range serveEnvironment(setting, append(all, "ASIDE_FEED=on"), c.environment(setting)) {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			parser, err := kong.New(&cli{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parser.Parse(serveArguments(c.serveFlags(setting))); err != nil {
				t.Error(err)
			}
		})
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
		got := serveEnvironment(setting, all, c.environment(setting))
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
