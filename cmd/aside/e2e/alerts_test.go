package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/monitoring"
	"github.com/asidecache/aside/tests/testserver"
)

// alertScale makes minutes seconds.
var alertScale = monitoring.Scale{
	Short: 5 * time.Second, Long: 15 * time.Second,
	For: func(time.Duration) time.Duration { return time.Second },
}

const alertPatience = 60 * time.Second

// alarm is a fault, with the alerts that it makes fire.
type alarm struct {
	job   string
	fires []string
	node  *node
	again func() // repeated until the end, in a goroutine of its own
}

// Each alert of deploy/prometheus fires by its fault: servers with one fault each, all at
// once, and one Prometheus, which scrapes them every second. Meanwhile each expression of
// the dashboard can be evaluated, and the list of the metrics is what the servers export.
// Caught: an alert on a metric that had got another name.
func TestAlertsFire(t *testing.T) {
	alarms := startAlarms(t)

	ctx, stop := context.WithCancel(t.Context())
	var again sync.WaitGroup
	t.Cleanup(func() { stop(); again.Wait() })
	config := "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\nscrape_configs:\n"
	wanted := map[string]bool{}
	for _, a := range alarms {
		config += fmt.Sprintf("  - {job_name: aside-%s, static_configs: [{targets: [\"127.0.0.1:%d\"]}]}\n", a.job, a.node.port)
		for _, name := range a.fires {
			wanted[name+" of aside-"+a.job] = true
		}
		if a.again != nil {
			again.Go(func() {
				for ctx.Err() == nil {
					a.again()
				}
			})
		}
	}
	for _, a := range monitoring.Alerts() {
		if !slices.ContainsFunc(alarms, func(f alarm) bool { return slices.Contains(f.fires, a.Name) }) {
			t.Errorf("no fault makes %s fire", a.Name)
		}
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"prometheus.yml": config, "rules.yml": string(monitoring.Rules(alertScale))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	p := testserver.Prometheus(t, filepath.Join(dir, "prometheus.yml"))
	if !testsync.Poll(alertPatience, func() bool {
		for _, f := range p.Alerts() {
			name := f.Labels["alertname"] + " of " + f.Labels["job"]
			if f.State != "firing" || !wanted[name] {
				continue
			}
			delete(wanted, name)
			t.Logf("%s after %v: %s", name, time.Since(began).Round(time.Second/10), f.Annotations["summary"])
			if strings.Contains(f.Annotations["summary"], "no value") || !strings.Contains(f.Annotations["runbook_url"], "operations.md#") {
				t.Errorf("%s: %v", name, f.Annotations)
			}
		}
		time.Sleep(200 * time.Millisecond) // Prometheus evaluates once a second
		return len(wanted) == 0
	}) {
		t.Errorf("these did not fire within %v: %v", alertPatience, slices.Sorted(maps.Keys(wanted)))
	}

	every := strings.NewReplacer("$S", `job=~".*"`, "$C", `job=~".*"`, "$__rate_interval", "10s")
	for _, r := range monitoring.Rows {
		for _, panel := range r.Panels {
			seen := 0
			for _, l := range panel.Lines {
				series, err := p.Query(every.Replace(l.Expr))
				if err != nil {
					t.Errorf("panel %q: %s: %v", panel.Title, l.Expr, err)
				}
				seen += len(series)
			}
			if seen == 0 {
				t.Errorf("panel %q shows nothing", panel.Title)
			}
		}
	}
	checkExported(t, alarms)
}

// checkExported compares what servers export with the list.
func checkExported(t *testing.T, alarms []alarm) {
	exported := map[string]monitoring.Metric{}
	for _, a := range alarms {
		_, answer, err := send(http.MethodGet, a.node.URL()+"/metrics", "")
		if err != nil {
			continue // this one is gone
		}
		for line := range strings.Lines(string(answer)) {
			words := strings.SplitN(strings.TrimSpace(line), " ", 4)
			if len(words) < 4 || words[0] != "#" || !strings.HasPrefix(words[2], "aside_") {
				continue
			}
			m := exported[words[2]]
			m.Name = words[2]
			switch words[1] {
			case "HELP":
				m.Help = words[3]
			case "TYPE":
				m.Type = monitoring.Type(words[3])
			}
			exported[m.Name] = m
		}
	}
	for _, m := range monitoring.Metrics() {
		got, ok := exported[m.Name]
		if !ok {
			t.Errorf("no server exports %s", m.Name)
		} else if got.Type != m.Type || got.Help != m.Help {
			t.Errorf("%s is listed as %s, %q, and exported as %s, %q", m.Name, m.Type, m.Help, got.Type, got.Help)
		}
		delete(exported, m.Name)
	}
	for name := range exported {
		t.Errorf("%s is exported, and not in the list of cmd/aside/internal/monitoring", name)
	}
}

// startAlarms starts a server for each fault, and begins the fault.
func startAlarms(t *testing.T) (alarms []alarm) {
	n := 0
	unique := func() string { n++; return fmt.Sprint("r", n) }
	embedded := func(job string, args ...string) *node {
		return startNode(t, job, append([]string{"--data", t.TempDir(), "--cache-name", job}, args...)...)
	}
	proxied := func(url, addr string) (string, *testserver.Proxy) {
		p := testserver.Toxiproxy(t, addr)
		return strings.Replace(url, addr, p.Addr(), 1), p
	}
	pause := func() { time.Sleep(20 * time.Millisecond) }
	get := func(n *node, id string, headers ...string) { n.Do(http.MethodGet, "/todos/"+id, "", headers...) }
	post := func(n *node, id string) {
		n.Do(http.MethodPost, "/todos", fmt.Sprintf(`{"id":%q,"name":"n"}`, id))
	}
	add := func(a alarm) { alarms = append(alarms, a) }
	strong := []string{"Cache-Control", "no-cache"}

	{
		gone := embedded("gone")
		gone.Kill()
		add(alarm{job: "gone", fires: []string{"AsideDown", "AsideNodeDown"}, node: gone})
	}
	{
		redis := testserver.Redis(t)
		url, proxy := proxied(redis.URL(), redis.Addr())
		cut := embedded("redis-gone", "--redis", url)
		proxy.Cut()
		i := 0
		add(alarm{
			job: "redis-gone", fires: []string{"AsideRedisNotUsed", "AsideNodeWithoutRedis", "AsideInvalidationsWait"}, node: cut,
			again: func() { i++; post(cut, fmt.Sprint(i)); time.Sleep(200 * time.Millisecond) },
		})
	}
	{
		redis := testserver.Redis(t)
		url, proxy := proxied(redis.URL(), redis.Addr())
		slow := embedded("redis-slow", "--redis", url, "--redis-timeout", "2s", "--redis-silence", "10s")
		proxy.Latency(80 * time.Millisecond)
		i := 0
		add(alarm{job: "redis-slow", fires: []string{"AsideRedisSlow"}, node: slow, again: func() { i++; get(slow, fmt.Sprint(i)); pause() }})
	}
	{
		const readers = 1200 // more than wait for one slot
		slow := embedded("store-slow", "--max-loads", "1", "--max-requests", "3000")
		slow.Arm("load.before", `{"action":"hang","for":"700ms","times":-1}`)
		round := 0
		add(alarm{
			job: "store-slow", fires: []string{"AsideLoadsRefused", "AsideDatabaseSlow", "AsideReadsFail", "AsideServerErrors"}, node: slow,
			again: func() {
				round++
				var all sync.WaitGroup
				for i := range readers {
					all.Go(func() { get(slow, fmt.Sprintf("%d-%d", round, i)) })
				}
				all.Wait()
			},
		})
	}
	{
		fails := embedded("store-fails")
		fails.Arm("load.before", `{"action":"deadline","times":-1}`)
		fails.Arm("write.after", `{"action":"unknown","times":-1}`)
		i := 0
		add(alarm{
			job: "store-fails", fires: []string{"AsideLoadsFail", "AsideReadsFail", "AsideServerErrors", "AsideWritesUnknown"}, node: fails,
			again: func() { i++; get(fails, fmt.Sprint("g", i)); post(fails, fmt.Sprint("w", i)); pause() },
		})
	}
	{
		redis := testserver.Redis(t)
		loses := embedded("keys-lost", "--redis", redis.URL())
		loses.Arm("write.before", `{"action":"hang","for":"200ms","times":-1}`)
		add(alarm{
			job: "keys-lost", fires: []string{"AsideFencesLost", "AsideUnusableEntries"}, node: loses,
			again: func() {
				id := unique()
				var write sync.WaitGroup
				write.Go(func() { post(loses, id) })
				time.Sleep(100 * time.Millisecond)
				redis.Do("DEL", "aside:keys-lost:0:"+id)
				write.Wait()
				redis.Do("SET", "aside:keys-lost:0:"+id, "Vgarbage", "PX", "10000")
				get(loses, id, strong...)
			},
		})
	}
	{
		redis := testserver.Redis(t)
		flushed := embedded("flushed", "--redis", redis.URL())
		add(alarm{
			job: "flushed", fires: []string{"AsideL1FlushedOften"}, node: flushed,
			again: func() { redis.Do("CLIENT", "KILL", "TYPE", "normal"); time.Sleep(400 * time.Millisecond) },
		})
	}
	{
		redis := testserver.Redis(t, "--tracking-table-max-keys", "100")
		reader := embedded("reads", "--redis", redis.URL())
		for i := range 150 {
			for range 2 { // the second one finds it in Redis, which remembers that
				get(reader, fmt.Sprint(i), strong...)
			}
		}
		tracked := embedded("tracked", "--redis", redis.URL()) // looks at the table now
		add(alarm{job: "tracked", fires: []string{"AsideTrackingTableFull"}, node: tracked})
	}
	fed := func(job string) (*node, *testserver.PostgresServer, *testserver.Proxy) {
		pg := testserver.OwnPostgres(t)
		url, proxy := proxied(pg.URL(), pg.Addr())
		n := startNode(t, job, "--postgres", url, "--feed", "on")
		testsync.Eventually(t, job+" is fed", func() bool { f, err := n.feed(); return err == nil && f.Fed })
		return n, pg, proxy
	}
	{
		cut, _, proxy := fed("not-fed")
		proxy.Cut()
		add(alarm{job: "not-fed", fires: []string{"AsideFeedNotFollowed"}, node: cut})
	}
	{
		lags, pg, proxy := fed("lags")
		proxy.Latency(2500 * time.Millisecond)
		i := 0
		add(alarm{
			job: "lags", fires: []string{"AsideFeedLags"}, node: lags,
			again: func() {
				i++
				pg.Exec(fmt.Sprintf("INSERT INTO todos (id, name) VALUES ('past-%d', 'n')", i))
				time.Sleep(200 * time.Millisecond)
			},
		})
	}
	{
		t.Setenv("GOMEMLIMIT", "32MiB") // of this node only: it is the last one
		add(alarm{job: "memory", fires: []string{"AsideMemoryNearLimit"}, node: embedded("memory")})
	}
	return alarms
}
