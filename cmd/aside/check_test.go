package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/check"
	"github.com/asidecache/aside/tests/testserver"
)

// checked is the part of the report that the tests check.
type checked struct {
	Verdict, Broken, Unproven string
	Operations, Failed        int64
	Records                   int64
	Prefix                    string
	Staleness                 map[string]struct{ Reads, Stale int64 }
	Promises                  []struct {
		Name       history.Promise
		Violations int64
	}
	Violations []struct {
		Promise history.Promise
		Record  string
		Picture string
		History []struct{ Kind string }
	}
	Left  []string
	Drops *struct {
		Held int64 `json:"strong_reads_held"`
	}
	Latency map[string]struct{ Count int64 }
	Outside *struct {
		Store     string
		Updates   struct{ Count int64 }
		Deletes   struct{ Count int64 }
		Failed    int64
		Held      int64   `json:"reads_after_bound"`
		Bound     float64 `json:"bound_ms"`
		Staleness map[string]struct {
			Stale int64
			Max   float64 `json:"max_ms"`
		}
	}
}

func (c *checked) broken() (names []history.Promise) {
	for _, p := range c.Promises {
		if p.Violations > 0 {
			names = append(names, p.Name)
		}
	}
	return names
}

// checkJSON runs "aside check" against the nodes.
func checkJSON(t *testing.T, wantCode int, nodes []*process, args ...string) checked {
	t.Helper()
	args = append([]string{"check", "--json"}, args...)
	for _, p := range nodes {
		args = append(args, "--target", p.url)
	}
	var out, errOut bytes.Buffer
	code := run(args, &out, &errOut)
	var c checked
	if err := json.Unmarshal(out.Bytes(), &c); err != nil {
		t.Fatalf("exit code %d, %v: %s\n%s", code, err, &errOut, &out)
	}
	if code != wantCode {
		t.Fatalf("exit code %d, want %d: %s\n%s", code, wantCode, &errOut, &out)
	}
	return c
}

// records returns the ids in the nodes' database.
func (p *process) records() []string {
	p.t.Helper()
	var page struct{ Todos []struct{ ID string } }
	if err := json.Unmarshal([]byte(p.want(p.do("GET", "/todos", ""), 200).body), &page); err != nil {
		p.t.Fatal(err)
	}
	ids := []string{}
	for _, t := range page.Todos {
		ids = append(ids, t.ID)
	}
	return ids
}

// unhurried gives the nodes long timeouts, for a busy machine. After a timeout a node
// regards Redis as down, and does not cache the record of a write for a while. Then fewer
// promises can be tested.
var unhurried = []string{
	"ASIDE_REDIS_TIMEOUT=30s", "ASIDE_REDIS_SILENCE=30s", "ASIDE_LOAD_TIMEOUT=1m", "ASIDE_WRITE_TIMEOUT=1m", "ASIDE_REQUEST_TIMEOUT=2m",
}

// Three real nodes with one Redis and one database keep all promises. The check leaves the
// database unchanged.
func TestCheckOnRealServers(t *testing.T) {
	t.Run("MongoDB", func(t *testing.T) { checkHolds(t, "ASIDE_MONGO="+testserver.Mongo(t).URI()) })
	t.Run("PostgreSQL", func(t *testing.T) { checkHolds(t, "ASIDE_POSTGRES="+testserver.Postgres(t).URL()) })
}

func checkHolds(t *testing.T, store string) {
	env := append(unhurried, store, "ASIDE_REDIS="+testserver.Redis(t).URL())
	nodes := []*process{start(t, env, "serve"), start(t, env, "serve"), start(t, env, "serve", "--no-l1")}
	nodes[0].want(nodes[0].do("POST", "/todos", `{"id":"mine","name":"n"}`), 201)

	c := checkJSON(t, 0, nodes, "--ops", "6000", "--duration", "0", "--timeout", "2m", "--keys", "4", "--clients", "12")
	if c.Verdict != "held" || c.Operations != 6000 || c.Failed > 60 || c.Records < 4 || len(c.Left) != 0 {
		t.Errorf("%+v", c)
	}
	if s := c.Staleness["strong"]; s.Stale != 0 || s.Reads < 1000 {
		t.Errorf("strong reads: %+v", s)
	}
	if ids := nodes[1].records(); !slices.Equal(ids, []string{"mine"}) {
		t.Errorf("in the database: %v", ids)
	}
}

// Nodes with one database but separate caches are incoherent, and the check detects it.
// With Redis, but different cache names, strong reads return records that another node has
// changed long ago. Without Redis, default reads do. Caught: clients that use only one node
// for each record.
//
// There are only two clients. With many writers of the same two records a slow database is
// overloaded. Then a write is nearly always running, and strong reads go to the database
// and are coherent.
func TestCheckSeesIncoherentCaches(t *testing.T) {
	mongo, redis := testserver.Mongo(t), testserver.Redis(t)
	env := append(unhurried, "ASIDE_MONGO="+mongo.URI())
	shared := append(env, "ASIDE_REDIS="+redis.URL())
	for name, tt := range map[string]struct {
		nodes     []*process
		want, not []history.Promise
	}{
		"names that differ": {
			[]*process{start(t, shared, "serve", "--cache-name", "a"), start(t, shared, "serve", "--cache-name", "b")},
			[]history.Promise{history.StrongReads, history.Linearizable, history.Bounded},
			[]history.Promise{history.Intact, history.OwnWrites},
		},
		"no Redis": {
			[]*process{start(t, env, "serve"), start(t, env, "serve")},
			[]history.Promise{history.Bounded},
			[]history.Promise{history.Intact, history.OwnWrites, history.StrongReads, history.Linearizable},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pictures := filepath.Join(t.TempDir(), "made", "by", "it")
			c := checkJSON(t, 1, tt.nodes, "--ops", "2000", "--duration", "0", "--clients", "2", "--keys", "2",
				"--timeout", "2m", "--max-staleness", "5ms", "--pictures", pictures)
			if c.Verdict != "broken" || c.Broken == "" || len(c.Left) != 0 {
				t.Errorf("%+v", c)
			}
			got := c.broken()
			for _, p := range tt.want {
				if !slices.Contains(got, p) {
					t.Errorf("%v are broken; want %q too", got, p)
				}
			}
			for _, p := range tt.not {
				if slices.Contains(got, p) {
					t.Errorf("%v are broken; %q is not", got, p)
				}
			}
			for _, v := range c.Violations {
				if len(v.History) == 0 || !strings.HasPrefix(v.Record, c.Prefix) {
					t.Errorf("%+v", v)
				}
				if _, err := os.Stat(v.Picture); err != nil || filepath.Dir(v.Picture) != pictures {
					t.Errorf("picture %q: %v", v.Picture, err)
				}
			}
		})
	}
}

// Writers past the nodes: a cache whose entries live for less than the bound shows what they
// wrote in time, by expiry alone. One whose entries live longer does not, and the check
// detects it. Neither leaves a record.
// Caught: an outside write in a form that reads could not be compared with; a check that
// opened the store, and wrote nothing there.
func TestCheckOutside(t *testing.T) {
	mongo, redis := testserver.Mongo(t), testserver.Redis(t)
	env := append(unhurried, "ASIDE_MONGO="+mongo.URI(), "ASIDE_REDIS="+redis.URL())
	outside := []string{"--outside", mongo.URI(), "--timeout", "2m", "--clients", "8", "--keys", "4", "--outside-writers", "2", "--promise", "strong-reads", "--promise", "bounded-staleness", "--promise", "intact"}

	brief := []*process{start(t, env, "serve", "--ttl", "300ms"), start(t, env, "serve", "--ttl", "300ms")}
	c := checkJSON(t, 0, brief, append(outside, "--duration", "12s", "--outside-bound", "4s")...)
	o := c.Outside
	if c.Verdict != "held" || len(c.Left) != 0 || o == nil || o.Updates.Count < 20 || o.Failed > 0 || o.Held == 0 || o.Bound != 4000 {
		t.Errorf("%+v, outside: %+v", c, o)
	}
	if o.Staleness["strong"].Stale+o.Staleness["default"].Stale == 0 {
		t.Errorf("nothing was stale, with a cache that nobody told: %+v", o)
	}
	if strings.Contains(o.Store, "@") || !strings.HasPrefix(o.Store, "mongodb://") {
		t.Errorf("the store is called %q", o.Store)
	}

	long := []*process{start(t, env, "serve", "--cache-name", "long"), start(t, env, "serve", "--cache-name", "long")}
	c = checkJSON(t, 1, long, append(outside, "--duration", "6s", "--outside-bound", "500ms")...)
	for _, p := range []history.Promise{history.StrongReads, history.Bounded} {
		if got := c.broken(); !slices.Contains(got, p) || slices.Contains(got, history.Intact) {
			t.Errorf("broken: %v; want %q, and not that records are mixed up", got, p)
		}
	}
	if ids := long[0].records(); len(ids) != 0 {
		t.Errorf("in the database: %v", ids)
	}

	// Too short to prove anything, and the wrong database.
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"too short":     {append(outside, "--duration", "1s", "--outside-bound", "1m"), "no read came later than 1m0s"},
		"another table": {append(outside, "--duration", "1s", "--outside-table", "others"), "is not that of the nodes"},
	} {
		var out, errOut bytes.Buffer
		if code := run(append([]string{"check", "--target", brief[0].url}, tt.args...), &out, &errOut); code != exitUnproven || !strings.Contains(errOut.String(), tt.says) {
			t.Errorf("%s: exit code %d, want %d with %q: %s", name, code, exitUnproven, tt.says, &errOut)
		}
	}
}

// Nodes that follow the feed of PostgreSQL keep all promises with writers past them, also
// where the version is raised by the database. Nodes that do not follow it break them.
// Caught: a read under the fence of a node's write, which showed an outside write before
// all others had to, taken for a promise that these go on doing so.
func TestCheckOutsidePostgres(t *testing.T) {
	db, redis := testserver.Postgres(t), testserver.Redis(t)
	env := append(unhurried, "ASIDE_POSTGRES="+db.URL(), "ASIDE_REDIS="+redis.URL())
	args := []string{"--outside", db.URL(), "--timeout", "2m", "--clients", "8", "--keys", "4"}
	serve := func(args ...string) []*process {
		args = append([]string{"serve"}, args...)
		return []*process{start(t, env, args...), start(t, env, args...)}
	}

	fed := serve("--feed", "on")
	for _, p := range fed {
		testserver.Eventually(t, 30*time.Second, "the node is fed", func() bool { return strings.Contains(p.do("GET", "/readyz", "").body, `"fed":true`) })
	}
	c := checkJSON(t, 0, fed, append(args, "--duration", "12s")...)
	if o := c.Outside; c.Verdict != "held" || len(c.Left) != 0 || o.Updates.Count < 100 || o.Failed > 0 || o.Held == 0 {
		t.Errorf("%+v, outside: %+v", c, o)
	} else {
		t.Logf("%d operations, %+v", c.Operations, o)
	}

	// Caught: the check made the table.
	var out, errOut bytes.Buffer
	if code := run([]string{"check", "--target", fed[0].url, "--outside", db.URL(), "--outside-table", "wrong", "--duration", "1s"}, &out, &errOut); code != exitUnproven ||
		!strings.Contains(errOut.String(), "is not that of the nodes") || !strings.Contains(errOut.String(), "there is no table wrong (") || db.Value("SELECT to_regclass('wrong') IS NULL") != "t" {
		t.Errorf("another table: exit code %d: %s; the table is missing: %s", code, &errOut, db.Value("SELECT to_regclass('wrong') IS NULL"))
	}

	unfed := serve("--feed", "off", "--cache-name", "unfed")
	c = checkJSON(t, 1, unfed, append(args, "--duration", "6s", "--outside-bound", "500ms")...)
	for _, p := range []history.Promise{history.StrongReads, history.Bounded} {
		if got := c.broken(); !slices.Contains(got, p) || slices.Contains(got, history.Intact) {
			t.Errorf("broken: %v; want %q, and not that records are mixed up", got, p)
		}
	}
}

// While clients drop records by key and by tag, all promises hold: on one server with the
// embedded store and without Redis, and on three with PostgreSQL and Redis, where writers
// past them change records too, and nobody but the drops tells the cache. If the drops go to
// servers of another cache, the check detects it.
// Caught: drops that went to one node alone; --admin that was not used.
func TestCheckDrops(t *testing.T) {
	drops := []string{"--drop-keys", "3%", "--drop-tags", "3%", "--timeout", "2m"}
	t.Run("embedded", func(t *testing.T) {
		p := start(t, nil, "serve", "--data", t.TempDir(), "--tag-days", "--admin", "127.0.0.1:0", "--max-strong-loads", "unlimited")
		c := checkJSON(t, 0, []*process{p}, append(drops, "--admin", p.admin, "--ops", "4000", "--duration", "0", "--clients", "8")...)
		if c.Verdict != "held" || c.Failed != 0 || len(c.Left) != 0 || c.Latency["drop by key"].Count < 50 || c.Latency["drop by tag"].Count < 50 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("demo, without an admin listener", func(t *testing.T) {
		p := start(t, nil, "demo", "--redis-server", "off", "--tag-days")
		c := checkJSON(t, 0, []*process{p}, append(drops, "--ops", "1000", "--duration", "0", "--clients", "4")...)
		if c.Verdict != "held" || c.Latency["drop by tag"].Count < 10 {
			t.Errorf("%+v", c)
		}
	})
	t.Run("PostgreSQL and Redis", func(t *testing.T) {
		db, redis := testserver.Postgres(t), testserver.Redis(t)
		env := append(unhurried, "ASIDE_POSTGRES="+db.URL(), "ASIDE_REDIS="+redis.URL(), "ASIDE_TAG_DAYS=1", "ASIDE_FEED=off", "ASIDE_MAX_STRONG_LOADS=unlimited")
		var nodes []*process
		var right, wrong []string
		for range 3 {
			p := start(t, env, "serve", "--admin", "127.0.0.1:0")
			nodes, right = append(nodes, p), append(right, "--admin", p.admin)
		}
		for range 2 {
			other := start(t, env, "serve", "--admin", "127.0.0.1:0", "--cache-name", "other")
			wrong = append(wrong, "--admin", other.admin)
		}
		// The bound is never reached, and so are TTLs.
		args := slices.Concat(drops, []string{"--outside", db.URL(), "--outside-bound", "4m", "--duration", "8s", "--clients", "8", "--keys", "4"})
		c := checkJSON(t, 0, nodes, append(args, right...)...)
		if o := c.Outside; c.Verdict != "held" || len(c.Left) != 0 || c.Drops == nil || c.Drops.Held < 20 || o.Updates.Count < 20 || o.Failed > 0 {
			t.Errorf("%+v, drops: %+v, outside: %+v", c, c.Drops, o)
		} else {
			t.Logf("%d operations, %d reads held by drops, %+v", c.Operations, c.Drops.Held, o)
		}
		c = checkJSON(t, 1, nodes[:2], append(args, wrong...)...)
		if got := c.broken(); !slices.Contains(got, history.StrongReads) || slices.Contains(got, history.Intact) {
			t.Errorf("broken: %v; want %q, and not that records are mixed up", got, history.StrongReads)
		}
	})
}

// A password for --outside comes from a file or the environment, and is never printed.
// Caught: an error of the driver that quoted the connection string.
func TestCheckOutsideSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	password, uri := write("password", "s3cr/et@\n"), write("uri", "mongodb://me:s3cr%2Fet%40@127.0.0.1:1/db?replicaSet=r\n")
	for _, tt := range []struct {
		f    OutsideFlags
		name string
	}{
		{OutsideFlags{Outside: "mongodb://me@127.0.0.1:1/db", OutsidePassFile: password, OutsideTable: "t"}, "mongodb://127.0.0.1:1/db (collection t)"},
		{OutsideFlags{OutsideFile: uri, OutsideTable: "t"}, "mongodb://127.0.0.1:1/db (collection t)"},
		{OutsideFlags{Outside: "postgres://me@127.0.0.1:1/db", OutsidePassFile: password, OutsideTable: "t"}, "postgres://127.0.0.1:1/db (table t)"},
		{OutsideFlags{Outside: "mongodb://127.0.0.1:1", OutsideDatabase: "d", OutsideTable: "t"}, "mongodb://127.0.0.1:1 (d.t)"},
	} {
		o := tt.f.config()
		store, err := tt.f.open(t.Context(), o, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%+v: %v", tt.f, err)
			continue
		}
		store.Close()
		if o.Name != tt.name || o.Store == nil || o.Raises != strings.HasPrefix(tt.name, "postgres") {
			t.Errorf("%+v: %q, want %q", tt.f, o.Name, tt.name)
		}
	}
	const target = "--target=http://127.0.0.1:1"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--outside=mysql://me:s3cr%2Fet@db1"}, "--outside: must begin with mongodb://"},
		{[]string{"--outside=db1:27017"}, "--outside: must begin with mongodb://"},
		{[]string{"--outside=mongodb://me:s3cr/et@@db1/?x=%"}, "--outside: mongostore: "},
		{[]string{"--outside=postgres://me:s3cr/et@db1:x/todos"}, "--outside: pgstore: "},
		{[]string{"--outside=mongodb://me:s3cr%2Fet@db1", "--outside-password-file=" + password}, "--outside has a password and --outside-password-file gives another one"},
		{[]string{"--outside=mongodb://db1", "--outside-password-file=" + password}, "--outside must name the user"},
		{[]string{"--outside=mongodb://db1", "--outside-file=" + uri}, "give --outside or --outside-file, not both"},
		{[]string{"--outside-password-file=" + password}, "--outside-password-file needs --outside"},
		{[]string{"--outside-file=" + filepath.Join(dir, "none")}, "--outside-file: open"},
		{[]string{"--outside=mongodb://db1", "--outside-writers=0"}, "--outside-writers must not be 0"},
		{[]string{"--outside=mongodb://db1", "--outside-writers=-1"}, "outside writers must be 1 to"},
		{[]string{"--outside=mongodb://db1", "--outside-rate=-1"}, "--outside-rate must not be negative"},
		{[]string{"--outside=mongodb://db1", "--outside-rate=NaN"}, "rate of outside writes"},
		{[]string{"--outside=mongodb://db1", "--outside-bound=-1s"}, "bound for outside writes must not be negative"},
		{[]string{"--outside=mongodb://db1", "--keys=1"}, "keys must be at least 2"},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"check", target}, tt.args...), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), tt.want) || strings.Contains(errOut.String()+out.String(), "s3cr") {
			t.Errorf("%v: exit code %d, want %d with %q: %s", tt.args, code, exitUsage, tt.want, &errOut)
		}
	}
	o := (&OutsideFlags{}).config()
	if o.Rate >= 0 || o.Bound != 1 {
		t.Errorf("zero in flags: %+v", o)
	}
}

// If something cannot be checked, there is a message and a separate exit code.
func TestCheckCannot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	l.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	a, b := start(t, nil, "serve", "--data", t.TempDir()), start(t, nil, "serve", "--data", t.TempDir())

	for name, tt := range map[string]struct {
		args []string
		says []string
	}{
		"two databases":   {[]string{"--target", a.url, "--target", b.url}, []string{b.url, "does not share a database with " + a.url}},
		"a wrong path":    {[]string{"--target", a.url + "/todos"}, []string{a.url + "/todos", "is not a todo API", "method_not_allowed"}},
		"another service": {[]string{"--target", a.url, "--target", other.URL}, []string{other.URL, "is not a todo API", "404"}},
		// Caught: with the default timeout it was said after ten seconds.
		"nobody": {[]string{"--target", nobody}, []string{nobody, "no target answers", "no server listens"}},
		"one is missing": {[]string{"--target", a.url, "--target", nobody, "--timeout", "1s", "--ops", "50"},
			[]string{"nothing was checked on " + nobody, "connection refused"}},
		"nothing to see": {[]string{"--target", a.url, "--ops", "50", "--strong", "0%", "--promise", "strong-reads", "--promise", "linearizable"},
			[]string{"nothing was checked about P2 strong reads: --strong is 0%", "nothing was checked about P2 linearizable: --strong is 0%"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if code := run(append([]string{"check"}, tt.args...), &out, &errOut); code != exitUnproven {
				t.Errorf("exit code %d, want %d", code, exitUnproven)
			}
			for _, want := range tt.says {
				if !strings.Contains(errOut.String(), want) {
					t.Errorf("%q is missing in: %s", want, &errOut)
				}
			}
		})
	}
	for _, p := range []*process{a, b} {
		if ids := p.records(); len(ids) != 0 {
			t.Errorf("%v were left", ids)
		}
	}
}

func TestCheckMistakes(t *testing.T) {
	const target = "--target=http://127.0.0.1:1"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "at least one target is required"},
		{[]string{"--target=127.0.0.1:8000"}, "target 1: url"},
		{[]string{target, "--target=http://me:secret@h/"}, "target 2: url must not contain a user"},
		{[]string{target, target + "/"}, "target 2: http://127.0.0.1:1/ is given twice"},
		{[]string{target, "--writes=110%"}, "--writes"},
		{[]string{target, "--strong=half"}, "share"},
		{[]string{target, "--clients=0"}, "--clients must not be 0"},
		{[]string{target, "--clients=-1"}, "clients must be 1"},
		{[]string{target, "--keys=-1"}, "keys must be 1"},
		{[]string{target, "--timeout=0"}, "--timeout must not be 0"},
		{[]string{target, "--duration=-1s"}, "duration must not be negative"},
		{[]string{target, "--ops=-1"}, "operations must not be negative"},
		{[]string{target, "--promise=fast"}, "--promise must be one of strong-reads, "},
		{[]string{target, "--drop-keys=60%", "--drop-tags=60%"}, "drops by key and by tag must together be a share from 0 to 1"},
		{[]string{target, "--drop-keys=1%", "--admin=http://127.0.0.1:2", "--admin=http://127.0.0.1:3"}, "one admin URL for each target"},
		{[]string{target, "--drop-keys=1%", "--admin=127.0.0.1:2"}, "admin 1: url is not a valid URL"},
		{[]string{target, "--admin=http://127.0.0.1:2"}, "--admin is for --drop-keys and --drop-tags"},
		{[]string{target, "--drop-keys=1%", "--token-file=/does/not/exist"}, "--token-file: open"},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"check"}, tt.args...), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), tt.want) || strings.Contains(errOut.String(), "secret") {
			t.Errorf("%v: exit code %d, want %d with %q: %s", tt.args, code, exitUsage, tt.want, &errOut)
		}
	}
}

// All mistakes are reported at once. Zero in a flag means none, not the default. The help
// names every promise.
func TestCheckFlags(t *testing.T) {
	c := CheckCmd{Targets: []string{"http://h"}, Clients: 1, Keys: 1, Timeout: 1, Promises: []string{"intact", "own-writes"}}
	config, err := c.config()
	if err != nil || config.Writes >= 0 || config.Strong >= 0 || config.MaxStale <= 0 || config.MaxStale > time.Microsecond ||
		!slices.Equal(config.Promises, []history.Promise{history.Intact, history.OwnWrites}) {
		t.Errorf("%+v, %v", config, err)
	}
	c = CheckCmd{Targets: []string{"x", "y"}, Promises: []string{"p"}, Ops: -1}
	err = c.Validate()
	for _, want := range []string{"target 1", "target 2", "--clients", "--keys", "--timeout", "--promise", "operations"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	for text, want := range map[string]share{"10%": 0.1, "0.1": 0.1, " 100 % ": 1, "0": 0, "1e-3": 0.001} {
		var s share
		if err := s.UnmarshalText([]byte(text)); err != nil || math.Abs(float64(s-want)) > 1e-9 {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "%", "-1%", "101%", "1.1", "NaN", "10%%", "ten"} {
		var s share
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, s)
		}
	}
	help, _, code := asideRun(t, nil, "check", "--help")
	words := strings.Join(strings.Fields(help), " ")
	for _, want := range append(promiseNames(), "writes to the database", "exit code", "10%") {
		if code != 0 || !strings.Contains(words, want) {
			t.Errorf("%q is missing in the help:\n%s", want, help)
		}
	}
}

// An interrupt ends the run early. The history is still checked and reported, and the
// records are deleted.
func TestCheckInterrupted(t *testing.T) {
	p := start(t, nil, "serve", "--data", t.TempDir())
	cmd := command(t, nil, "check", "--target", p.url, "--clients", "4", "--duration", "10m")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	testserver.Eventually(t, 20*time.Second, "records", func() bool { return len(p.records()) > 2 })
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, &errOut)
	}
	for _, want := range []string{"ended early", " 0 failed", "P2 strong reads", "1 target, 4 clients, 8 records"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
	if ids := p.records(); len(ids) != 0 {
		t.Errorf("%v were left", ids)
	}
}

func TestCheckProgress(t *testing.T) {
	var live, lines bytes.Buffer
	show, end := checkLive(&live)
	end() // nothing was shown, so no line must be ended
	if live.Len() > 0 {
		t.Errorf("%q", &live)
	}
	show(check.Progress{Elapsed: time.Second, Operations: 100})
	show(check.Progress{Elapsed: 2 * time.Second, Operations: 400, Errors: 3, Violations: 2})
	end()
	if s := checkLine()(check.Progress{Elapsed: time.Second, Outside: 7, OutsideErrors: 1}); !strings.HasSuffix(s, "  7 outside (1 failed)") {
		t.Errorf("with outside writers: %q", s)
	}
	if s := live.String(); strings.Count(s, "\n") != 1 || strings.Count(s, "\r\x1b[2K") != 2 || !strings.HasSuffix(s, "\n") ||
		!strings.Contains(s, "100/s") || !strings.Contains(s, "400 operations  300/s  3 failed  2 VIOLATIONS") {
		t.Errorf("on a terminal: %q", s)
	}
	show, end = checkLines(&lines)
	for i := range 2 * checkEvery {
		show(check.Progress{Elapsed: time.Duration(i) * time.Second})
	}
	end()
	if s := lines.String(); strings.Count(s, "\n") != 2 || strings.ContainsAny(s, "\r\x1b") || strings.Contains(s, "NaN") {
		t.Errorf("elsewhere: %q", s)
	}
}
