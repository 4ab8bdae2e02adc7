package asideprom_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asideprom"
)

func TestFeedCollector(t *testing.T) {
	stats := aside.Stats{Feed: aside.FeedStats{
		Attached: true, Fed: true, Leads: true, Changes: 1, OwnLeft: 2, Batches: 3, Clears: 4, Gaps: 5, WentBack: 6,
		Lag: 1500 * time.Millisecond, LastChange: time.UnixMilli(1_700_000_000_500),
	}}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(asideprom.NewFeedCollector("todos", func() aside.Stats { return stats }))
	reg.MustRegister(asideprom.NewFeedCollector("others", func() aside.Stats { return aside.Stats{} }))
	want := map[string][2]string{ // of todos, of others
		"aside_feed_fed": {"1", "0"}, "aside_feed_leads": {"1", "0"}, "aside_feed_lag_seconds": {"1.5", "0"},
		"aside_feed_last_change_timestamp_seconds": {"1.7000000005e+09", "0"},
		"aside_feed_changes_total":                 {"1", "0"}, "aside_feed_changes_left_total": {"2", "0"}, "aside_feed_batches_total": {"3", "0"},
		"aside_feed_clears_total": {"4", "0"}, "aside_feed_gaps_total": {"5", "0"}, "aside_feed_went_back_total": {"6", "0"},
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := f.GetName()
		kind := strings.ToLower(f.GetType().String())
		text := "# HELP " + name + " " + f.GetHelp() + "\n# TYPE " + name + " " + kind + "\n" +
			name + `{cache="others"} ` + want[name][1] + "\n" + name + `{cache="todos"} ` + want[name][0] + "\n"
		if err := testutil.GatherAndCompare(reg, strings.NewReader(text), name); err != nil {
			t.Error(err)
		}
		if isCounter := strings.HasSuffix(name, "_total"); isCounter != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not exported: %v", want)
	}
}
