package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	runbooks = "https://github.com/asidecache/aside/blob/main/docs/guide/operations.md#"
	noEdit   = "Made by go generate ./... in cmd/aside, from internal/monitoring: edit that."
)

var metricName = regexp.MustCompile(`\b(?:aside|go|process)_[a-z0-9_]+`)

// Names returns the metrics that an expression uses.
func Names(expr string) (names []string) {
	for _, n := range metricName.FindAllString(expr, -1) {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			n = strings.TrimSuffix(n, suffix)
		}
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// Reference returns docs/reference/metrics.md.
func Reference() []byte {
	alerts := map[string][]string{}
	for _, a := range Alerts() {
		for _, n := range Names(a.Expr) {
			alerts[n] = append(alerts[n], fmt.Sprintf("[%s](../guide/operations.md#%s)", a.Name, a.Runbook))
		}
	}
	var b bytes.Buffer
	b.WriteString("# Metrics\n\n<!-- " + noEdit + " -->\n\n" +
		"What `asideprom` and `aside serve` export. The series of a cache have the label `cache`, and are also fields of\n" +
		"`Stats`. The guide says [how to register them, and what to alert on](../guide/metrics.md). The repository has\n" +
		"alert rules for Prometheus (`deploy/prometheus/aside.rules.yml`) and a dashboard for Grafana\n" +
		"(`deploy/grafana/aside.json`), made from the same list as this page.\n")
	for _, s := range Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		if s.Intro != "" {
			b.WriteString(s.Intro + "\n\n")
		}
		row := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
		head := []string{"metric", "type", "labels", "is", "alert"}
		if s.Column != "" {
			head = append(head, s.Column)
		}
		row(head...)
		row(slices.Repeat([]string{"---"}, len(head))...)
		for _, m := range s.Metrics {
			cells := []string{"`" + m.Name + "`", string(m.Type), code(m.Labels), m.Help, strings.Join(alerts[m.Name], ", ")}
			if s.Column != "" {
				cells = append(cells, code(m.Stats))
			}
			row(cells...)
		}
		if s.Outro != "" {
			b.WriteString("\n" + s.Outro + "\n")
		}
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("|  |"), []byte("| |"))
}

// code puts each of some names into backticks.
func code(names string) string {
	if names == "" {
		return ""
	}
	all := strings.Split(names, ", ")
	return "`" + strings.Join(all, "`, `") + "`"
}

// Rules returns the alert rules.
func Rules(s Scale) []byte {
	var b bytes.Buffer
	b.WriteString("# Alerts on aside. " + noEdit + "\n" +
		"#\n" +
		"# severity: page wakes somebody up, ticket can wait for the morning. Each alert's runbook_url leads to\n" +
		"# what to look at and what to do.\n" +
		"groups:\n")
	for _, g := range Groups {
		fmt.Fprintf(&b, "  # %s\n  - name: %s\n    rules:\n", g.Comment, g.Name)
		for _, a := range g.Alerts {
			fmt.Fprintf(&b, "      - alert: %s\n        expr: |\n", a.Name)
			for line := range strings.SplitSeq(s.expr(a.Expr), "\n") {
				b.WriteString("          " + line + "\n")
			}
			if a.For > 0 {
				fmt.Fprintf(&b, "        for: %s\n", promDuration(s.For(a.For)))
			}
			fmt.Fprintf(&b, "        labels:\n          severity: %s\n        annotations:\n", a.Severity)
			fmt.Fprintf(&b, "          summary: %q\n          description: %q\n          runbook_url: %s\n", a.Summary, a.Means, runbooks+a.Runbook)
		}
	}
	return b.Bytes()
}

// RuleTests returns the tests of the rules for promtool: each alert fires with its
// series, and not with those that are nearly as bad.
func RuleTests() []byte {
	var b bytes.Buffer
	b.WriteString("# Tests of aside.rules.yml. " + noEdit + "\n" +
		"#\n#   promtool test rules aside.rules.test.yml\n" +
		"rule_files:\n  - aside.rules.yml\nevaluation_interval: 5m\ntests:\n")
	for _, a := range Alerts() {
		for _, series := range [][]string{a.Fires, a.Quiet} {
			b.WriteString("  - interval: 1m\n    input_series:\n")
			for _, line := range series {
				i := strings.LastIndex(line, "} ") + 1
				fmt.Fprintf(&b, "      - series: '%s'\n        values: '%s'\n", line[:i], line[i+1:])
			}
			fmt.Fprintf(&b, "    alert_rule_test:\n      - alertname: %s\n        eval_time: 1h\n", a.Name)
			if &series[0] == &a.Quiet[0] {
				b.WriteString("        exp_alerts: []\n")
				continue
			}
			fmt.Fprintf(&b, "        exp_alerts:\n          - exp_labels:\n              severity: %s\n", a.Severity)
			summary := a.Summary
			for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
				fmt.Fprintf(&b, "              %s: %s\n", name, a.Labels[name])
				summary = strings.ReplaceAll(summary, "{{ $labels."+name+" }}", a.Labels[name])
			}
			fmt.Fprintf(&b, "            exp_annotations:\n              summary: %q\n              description: %q\n              runbook_url: %s\n", summary, a.Means, runbooks+a.Runbook)
		}
	}
	return b.Bytes()
}

// Alertmanager returns the example of a configuration of Alertmanager.
func Alertmanager() []byte {
	var b bytes.Buffer
	b.WriteString("# An example: Alertmanager for the alerts of aside.rules.yml, with one notice for one cause.\n# " + noEdit + "\n" +
		`#
#   alertmanager --config.file=deploy/prometheus/alertmanager.yml
#
# In a configuration of your own: add the routes and the inhibit_rules to yours.
route:
  # What happens at one time to the servers of one job is one notice.
  group_by: [job, severity]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 12h
  receiver: ticket
  routes:
    - matchers: ['severity = "page"']
      receiver: page
      repeat_interval: 1h
receivers:
  # Put the way to your pager and to your tickets here.
  - name: page
    webhook_configs:
      - url: http://127.0.0.1:9099/page
  - name: ticket
    webhook_configs:
      - url: http://127.0.0.1:9099/ticket
# While the source fires, the targets are not told: it is their cause, or says more.
inhibit_rules:
`)
	byName := map[string]Alert{}
	for _, a := range Alerts() {
		byName[a.Name] = a
	}
	for _, a := range Alerts() {
		explained := a.explained(byName)
		for _, equal := range slices.Sorted(maps.Keys(explained)) {
			fmt.Fprintf(&b, "  - source_matchers: ['alertname = %q']\n    target_matchers: ['alertname =~ %q']\n    equal: [%s]\n",
				a.Name, strings.Join(explained[equal], "|"), equal)
		}
	}
	return b.Bytes()
}

// explained returns what an alert explains, by the labels that both alerts have: a label
// that one of them lacks would keep them apart.
func (a *Alert) explained(byName map[string]Alert) map[string][]string {
	by := map[string][]string{}
	for _, name := range a.Explains {
		var both []string
		for label := range a.Labels {
			if _, ok := byName[name].Labels[label]; ok {
				both = append(both, label)
			}
		}
		slices.Sort(both)
		equal := strings.Join(both, ", ")
		by[equal] = append(by[equal], name)
	}
	return by
}

// object is one of JSON.
type object = map[string]any

// schemaVersion is that of Grafana's types, with which tools/dashboard checks what is made.
const schemaVersion = 42

// Dashboard returns the dashboard for Grafana.
func Dashboard() []byte {
	const perRow, height, width = 4, 8, 24
	source := object{"type": "prometheus", "uid": "${datasource}"}
	panels, id, y := []any{}, 0, 0
	next := func() int { id++; return id }
	for _, r := range Rows {
		panels = append(panels, object{
			"id": next(), "type": "row", "title": r.Question, "collapsed": false, "panels": []any{},
			"gridPos": object{"h": 1, "w": width, "x": 0, "y": y},
		})
		y++
		for i, p := range r.Panels {
			lines := (len(r.Panels) + perRow - 1) / perRow
			inLine := (len(r.Panels) + lines - 1) / lines
			var targets []any
			for j, l := range p.Lines {
				targets = append(targets, object{
					"refId": string(rune('A' + j)), "datasource": source, "expr": selectors.Replace(l.Expr),
					"legendFormat": l.Legend, "editorMode": "code", "range": true,
				})
			}
			panels = append(panels, object{
				"id": next(), "type": "timeseries", "title": p.Title, "description": p.What, "datasource": source, "targets": targets,
				"gridPos": object{"h": height, "w": width / inLine, "x": i % inLine * (width / inLine), "y": y + i/inLine*height},
				"fieldConfig": object{
					"defaults":  object{"unit": p.Unit, "min": 0, "custom": object{"lineWidth": 1, "fillOpacity": 5, "showPoints": "never"}},
					"overrides": []any{},
				},
				"options": object{"legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []any{}}, "tooltip": object{"mode": "multi", "sort": "desc"}},
			})
		}
		y += (len(r.Panels) + perRow - 1) / perRow * height
	}
	choice := func(name, label, query string) object {
		return object{
			"name": name, "label": label, "type": "query", "datasource": source, "definition": query,
			"query": object{"query": query, "refId": "Prometheus-" + name}, "refresh": 2, "sort": 1,
			"multi": true, "includeAll": true, "allValue": ".*", "current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
		}
	}
	d := object{
		"uid": "aside", "title": "aside", "tags": []string{"aside", "cache"}, "schemaVersion": schemaVersion, "version": 1,
		"description": "The questions of an engineer on call, in the order in which one asks. " + noEdit,
		"editable":    true, "graphTooltip": 1, "refresh": "10s", "timezone": "browser",
		"time": object{"from": "now-1h", "to": "now"},
		"links": []any{object{
			"title": "Runbook", "type": "link", "icon": "doc", "targetBlank": true, "url": strings.TrimSuffix(runbooks, "#"), "tags": []string{},
			"tooltip": "What to look at and what to do, by symptom", "asDropdown": false, "includeVars": false, "keepTime": false,
		}},
		"annotations": object{"list": []any{object{
			"name": "Alerts", "datasource": source, "enable": true, "iconColor": "red",
			"expr": `ALERTS{alertstate="firing",alertname=~"Aside.*",job=~"$job"}`, "titleFormat": "{{alertname}}", "textFormat": "{{instance}}",
		}}},
		"templating": object{"list": []any{
			object{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1},
			choice("job", "Job", "label_values(aside_loads_total, job)"),
			choice("instance", "Server", `label_values(aside_loads_total{job=~"$job"}, instance)`),
			choice("cache", "Cache", `label_values(aside_loads_total{job=~"$job"}, cache)`),
		}},
		"panels": panels,
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		panic(err) // it has only strings, numbers and lists
	}
	return b.Bytes()
}

var selectors = strings.NewReplacer(
	"$S", `job=~"$job",instance=~"$instance"`,
	"$C", `job=~"$job",instance=~"$instance",cache=~"$cache"`,
)
