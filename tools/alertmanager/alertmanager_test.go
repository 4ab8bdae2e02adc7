package alertmanager

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/types"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"gopkg.in/yaml.v2"
)

const (
	file  = "../../deploy/prometheus/alertmanager.yml"
	rules = "../../deploy/prometheus/aside.rules.test.yml"
)

// alerts reads the labels of each alert from the tests of the rules, which promtool holds
// against the rules.
func alerts(t *testing.T) map[string]model.LabelSet {
	t.Helper()
	raw, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name     string `yaml:"alertname"`
				Expected []struct {
					Labels map[model.LabelName]model.LabelValue `yaml:"exp_labels"`
				} `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(raw, &tests); err != nil {
		t.Fatal(err)
	}
	all := map[string]model.LabelSet{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			for _, e := range a.Expected {
				all[a.Name] = e.Labels
				all[a.Name][model.AlertNameLabel] = model.LabelValue(a.Name)
			}
		}
	}
	if len(all) < 19 {
		t.Fatalf("only %d alerts are tested", len(all))
	}
	return all
}

// One cause is told once: of the alerts that a fault makes fire, one is told, and others
// only if they are worse, or are of another cache, server or job.
// Caught: a rule that compares a label which one of the two alerts lacks; a rule that is not
// limited to one server; a lost fence that was not told while Redis was gone.
func TestOneCauseIsToldOnce(t *testing.T) {
	c, err := config.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	labels := alerts(t)
	redis := "RedisNotUsed NodeWithoutRedis InvalidationsWait RedisSlow L1FlushedOften FeedNotFollowed DatabaseSlow"
	for _, tt := range []struct{ fault, fire, told string }{
		{"Redis is gone", redis, "RedisNotUsed"},
		{"Redis is gone, and the database is overloaded", redis + " LoadsRefused ReadsFail ServerErrors LoadsFail", "RedisNotUsed LoadsRefused"},
		{"Redis has lost its keys, and is gone", redis + " FencesLost", "RedisNotUsed FencesLost"},
		{"one node has no Redis", "NodeWithoutRedis InvalidationsWait L1FlushedOften", "NodeWithoutRedis"},
		{"two nodes are in trouble", "NodeWithoutRedis L1FlushedOften@instance", "NodeWithoutRedis L1FlushedOften@instance"},
		{"Redis is slow", "RedisSlow L1FlushedOften", "RedisSlow"},
		{"the database is overloaded", "LoadsRefused ReadsFail ServerErrors LoadsFail DatabaseSlow", "LoadsRefused"},
		{"the database is gone", "ReadsFail ServerErrors LoadsFail WritesUnknown", "ReadsFail WritesUnknown"},
		{"only writes fail", "ServerErrors WritesUnknown", "ServerErrors WritesUnknown"},
		{"the database is slow", "DatabaseSlow LoadsFail", "DatabaseSlow"},
		{"no server answers", "Down NodeDown ServerErrors ReadsFail MemoryNearLimit", "Down MemoryNearLimit"},
		{"no server of one job answers, and one of another", "Down NodeDown@job", "Down NodeDown@job"},
		{"nobody follows the feed", "FeedNotFollowed FeedLags", "FeedNotFollowed"},
		{"two caches are in trouble", "RedisNotUsed NodeWithoutRedis@cache", "RedisNotUsed NodeWithoutRedis@cache"},
		{"the table of Redis is full", "TrackingTableFull UnusableEntries", "TrackingTableFull UnusableEntries"},
	} {
		fire := map[string]model.LabelSet{}
		for _, name := range strings.Fields(tt.fire) {
			alert, other, _ := strings.Cut(name, "@")
			l := labels["Aside"+alert].Clone()
			if l == nil {
				t.Fatalf("there is no alert Aside%s", alert)
			}
			if other != "" {
				l[model.LabelName(other)] += "-other"
			}
			fire[name] = l
		}
		var told []string
		muted := inhibited(t, c, slices.Collect(maps.Values(fire)))
		for _, name := range strings.Fields(tt.fire) {
			if !muted(fire[name]) {
				told = append(told, name)
			}
		}
		want := strings.Fields(tt.told)
		slices.Sort(told)
		slices.Sort(want)
		if !slices.Equal(told, want) {
			t.Errorf("%s: told are %v, want %v", tt.fault, told, want)
		}
	}
}

// inhibited returns what Alertmanager says of an alert while these fire.
func inhibited(t *testing.T, c *config.Config, fire []model.LabelSet) func(model.LabelSet) bool {
	t.Helper()
	log, registry := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	marker := types.NewMarker(registry)
	all, err := mem.NewAlerts(t.Context(), marker, time.Hour, 0, nil, log, registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Close)
	now := time.Now()
	for _, l := range fire {
		a := &types.Alert{Alert: model.Alert{Labels: l, StartsAt: now, EndsAt: now.Add(time.Hour)}, UpdatedAt: now}
		if err := all.Put(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	ih := inhibit.NewInhibitor(all, c.InhibitRules, marker, log)
	go ih.Run()
	t.Cleanup(ih.Stop)
	ih.WaitForLoading()
	return func(l model.LabelSet) bool { return ih.Mutes(context.Background(), l) }
}

// Each alert goes to the receiver of its severity, and the rules name no alert that does
// not exist. Caught: pages that went to the receiver of tickets; an alert with a new name.
func TestRoutesAndNames(t *testing.T) {
	c, err := config.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := alerts(t)
	for name, l := range all {
		receiver := c.Route.Receiver
		for _, r := range c.Route.Routes {
			if matches(r.Matchers, l) {
				receiver = r.Receiver
			}
		}
		if receiver != string(l["severity"]) {
			t.Errorf("%s, a %s, goes to %s", name, l["severity"], receiver)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\bAside\w+`).FindAllString(string(text), -1) {
		if all[name] == nil {
			t.Errorf("there is no alert %s", name)
		}
	}
}

func matches(of config.Matchers, l model.LabelSet) bool {
	for _, m := range of {
		if !m.Matches(string(l[model.LabelName(m.Name)])) {
			return false
		}
	}
	return true
}
