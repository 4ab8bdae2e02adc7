package monitoring

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside/tests/testserver"
)

var update = flag.Bool("update", false, "write the files that are made from the lists")

// root is the repository.
const root = "../../../../"

// TestGenerated: the files are what the lists say. Run go generate to write them.
func TestGenerated(t *testing.T) {
	for name, want := range map[string][]byte{
		"docs/reference/metrics.md":              Reference(),
		"deploy/prometheus/aside.rules.yml":      Rules(RealScale),
		"deploy/prometheus/aside.rules.test.yml": RuleTests(),
		"deploy/prometheus/alertmanager.yml":     Alertmanager(),
		"deploy/grafana/aside.json":              Dashboard(),
	} {
		path := filepath.FromSlash(root + name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is out of date: run go generate ./... in cmd/aside", name)
		}
	}
}

// Promtool accepts the rules and the example of a configuration, and each alert fires
// with the series of its fault and not with those that are nearly as bad. Caught: a rule
// on a gauge that keeps its last value, which fired for ever.
func TestRules(t *testing.T) {
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", root + "deploy/prometheus/aside.rules.yml"},
		{"test", "rules", root + "deploy/prometheus/aside.rules.test.yml"},
		{"check", "config", "--lint-fatal", root + "deploy/prometheus/prometheus.yml"},
	} {
		if out, err := testserver.Promtool(t, args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Every metric is on the dashboard, every expression uses metrics of the list, and every
// alert has a page of the runbook, a test, and a name of its own.
func TestListsAgree(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range Metrics() {
		if listed[m.Name] {
			t.Errorf("%s is listed twice", m.Name)
		}
		listed[m.Name] = true
		if (m.Type == Counter) != strings.HasSuffix(m.Name, "_total") {
			t.Errorf("%s is a %s", m.Name, m.Type)
		}
	}
	shown := map[string]bool{}
	uses := func(where, expr string) {
		names := Names(expr)
		if len(names) == 0 && !strings.Contains(expr, "up{") {
			t.Errorf("%s uses no metric: %s", where, expr)
		}
		for _, n := range names {
			if strings.HasPrefix(n, "aside_") && !listed[n] {
				t.Errorf("%s uses %s, which is not in the list", where, n)
			}
		}
	}
	for _, r := range Rows {
		for _, p := range r.Panels {
			for _, l := range p.Lines {
				uses(p.Title, l.Expr)
				for _, n := range Names(l.Expr) {
					shown[n] = true
				}
			}
		}
	}
	for name := range listed {
		if !shown[name] {
			t.Errorf("no panel shows %s", name)
		}
	}
	runbook, err := os.ReadFile(filepath.FromSlash(root + "docs/guide/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	var alerts []string
	for _, a := range Alerts() {
		uses(a.Name, a.Expr)
		if slices.Contains(alerts, a.Name) {
			t.Errorf("there are two alerts %s", a.Name)
		}
		alerts = append(alerts, a.Name)
		if a.Severity != Page && a.Severity != Ticket || len(a.Fires) == 0 || len(a.Quiet) == 0 {
			t.Errorf("%s is not complete: %+v", a.Name, a)
		}
		_, section, found := strings.Cut(string(runbook), "\n## "+headingOf(string(runbook), a.Runbook)+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		if !found || !strings.Contains(section, "`"+a.Name+"`") {
			t.Errorf("docs/guide/operations.md has no section %s that names %s", a.Runbook, a.Name)
		}
	}
	for _, name := range regexp.MustCompile(`\bAside[A-Z]\w+`).FindAllString(string(runbook), -1) {
		if !slices.Contains(alerts, name) {
			t.Errorf("docs/guide/operations.md names %s, which is no alert", name)
		}
	}
}

// An alert explains others of the list, for the same job at least, and what is explained
// explains nothing of what explains it: Alertmanager would tell of neither. A page is not
// left out for a ticket.
func TestExplains(t *testing.T) {
	byName := map[string]Alert{}
	for _, a := range Alerts() {
		byName[a.Name] = a
	}
	for _, a := range Alerts() {
		for i, name := range a.Explains {
			of, ok := byName[name]
			switch {
			case !ok:
				t.Errorf("%s explains %s, which is no alert", a.Name, name)
				continue
			case slices.Contains(a.Explains[:i], name):
				t.Errorf("%s explains %s twice", a.Name, name)
			case of.Severity == Page && a.Severity != Page:
				t.Errorf("%s, a ticket, explains the page %s", a.Name, name)
			}
		}
		for equal, names := range a.explained(byName) {
			if !slices.Contains(strings.Split(equal, ", "), "job") {
				t.Errorf("%s explains %v of other jobs", a.Name, names)
			}
		}
		explained := slices.Clone(a.Explains) // and what these explain
		for i := 0; i < len(explained); i++ {
			for _, next := range byName[explained[i]].Explains {
				if !slices.Contains(explained, next) {
					explained = append(explained, next)
				}
			}
		}
		if slices.Contains(explained, a.Name) {
			t.Errorf("%s explains itself: %v", a.Name, explained)
		}
	}
}

// headingOf returns the heading that has an anchor.
func headingOf(page, anchor string) string {
	for line := range strings.Lines(page) {
		title, ok := strings.CutPrefix(strings.TrimSpace(line), "## ")
		plain := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(title), "")
		if ok && strings.ReplaceAll(plain, " ", "-") == anchor {
			return title
		}
	}
	return "?"
}
