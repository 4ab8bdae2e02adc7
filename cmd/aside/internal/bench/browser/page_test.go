package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/bench/compare"
	"github.com/asidecache/aside/cmd/aside/internal/bench/ids"
	"github.com/asidecache/aside/cmd/aside/internal/bench/report"
	"github.com/asidecache/aside/cmd/aside/internal/browsertest"
)

// tiered is a server that answers from each tier in turn and fails one in fifty requests.
func tiered(t *testing.T) (url string) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := n.Add(1)
		switch {
		case i%50 == 0:
			http.Error(w, "<b>no</b>", http.StatusServiceUnavailable)
			return
		case i%10 < 6:
			w.Header().Set("Cache-Status", "aside; hit; detail=L1")
		case i%10 < 8:
			<-time.After(time.Millisecond)
			w.Header().Set("Cache-Status", "aside; hit; detail=L2")
		default:
			<-time.After(4 * time.Millisecond)
			w.Header().Set("Cache-Status", "aside; fwd=miss; detail=load")
		}
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s.URL + "/todos</script><script>throw 1</script>"
}

func measured(t *testing.T, c bench.Config) *bench.Report {
	t.Helper()
	c.Workload = ids.Uniform(ids.Range{First: 1, Last: 1000}, 1)
	r, err := bench.Run(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The page is complete without a network, in light and dark colors: every chart shows the
// measured data, and so do the tables. Caught: a script from another site; a request for a
// favicon; a color that the canvas does not support; a missing series; a text that ended the
// script; a light chart on a dark background.
func TestReportPage(t *testing.T) {
	b := browsertest.Open(t)
	url := tiered(t)
	for name, c := range map[string]bench.Config{
		"closed": {URL: url, Users: 8, Duration: 1200 * time.Millisecond, Interval: 40 * time.Millisecond, Mix: bench.Mix{Create: 0.05, Update: 0.05, Delete: 0.02, Own: 0.1}},
		"open":   {URL: url, Users: 2, Rate: 2000, Requests: 1500, Interval: 40 * time.Millisecond},
	} {
		r := measured(t, c)
		file := filepath.Join(t.TempDir(), "report.html")
		if err := report.HTMLFile(file, r); err != nil {
			t.Fatal(err)
		}
		for _, scheme := range []string{"light", "dark"} {
			visit(t, b, file, scheme)
			charts := map[string]int{ // and how many lines
				"throughput": 1, "latency": 4, "tiers": 3, "failures": 1, "users": 1, "distribution": 1, "percentiles": 4,
			}
			if name == "open" {
				charts["users"], charts["percentiles"] = 2, 5
			}
			for chart, lines := range charts {
				points := len(r.Timeline)
				if chart == "distribution" || chart == "percentiles" {
					points = browsertest.Evaluate[int](t, b, "charts."+chart+".data[0].length")
					if points < 5 {
						t.Errorf("%s, %s, %s: %d points", name, scheme, chart, points)
					}
				}
				if got := browsertest.Evaluate[[]int](t, b, fmt.Sprintf("charts.%s.data.map((d) => d.length)", chart)); len(got) != lines+1 {
					t.Errorf("%s, %s, %s: %d lines, want %d", name, scheme, chart, len(got)-1, lines)
				} else if got[0] != points || got[lines] != points {
					t.Errorf("%s, %s, %s: %v points, want %d", name, scheme, chart, got, points)
				}
				visible := 1
				if chart == "percentiles" || chart == "users" {
					visible = lines // it may cover the others
				}
				if pixels := browsertest.Evaluate[int](t, b, fmt.Sprintf(inked, chart, visible)); pixels < 100 {
					t.Errorf("%s, %s, %s: %d pixels in the color of line %d", name, scheme, chart, pixels, visible)
				}
			}
			sum := browsertest.Evaluate[float64](t, b, "JSON.parse(document.getElementById('data').textContent).timeline.tiers.L1.reduce((a, b) => a + b)")
			if most := float64(r.Hits(bench.TierL1)); sum < 0.8*most || sum > most {
				t.Errorf("%s: the charts have %v hits in L1, the report %v", name, sum, most)
			}
			last := "document.querySelector('#request-statistics tr.sum').cells"
			if got, want := browsertest.Evaluate[string](t, b, last+"[2].textContent+' '+"+last+"[3].textContent"), fmt.Sprint(r.Requests(), " ", r.Failures()); got != want {
				t.Errorf("%s: the table has %q, want %q", name, got, want)
			}
			if n := browsertest.Evaluate[int](t, b, "document.querySelectorAll('#failures-statistics tr, #settings dt, #machine dt, #schedule dt').length"); n < 12 {
				t.Errorf("%s: %d lines of failures, settings and machine", name, n)
			}
			if wide := browsertest.Evaluate[bool](t, b, "document.documentElement.scrollWidth > innerWidth"); wide {
				t.Errorf("%s: the page is wider than the window", name)
			}
			readable(t, b, scheme)
			b.Picture(t, name+"-"+scheme)
		}
		// Switch to the logarithmic scale and back.
		before := browsertest.Evaluate[float64](t, b, "charts.latency.scales.y.min")
		browsertest.Evaluate[bool](t, b, "document.getElementById('log').click() || true")
		if after := browsertest.Evaluate[float64](t, b, "charts.latency.scales.y.min"); before != 0 || after <= 0 {
			t.Errorf("%s: the latency's axis begins at %v, and at %v where it is logarithmic", name, before, after)
		}
		b.Quiet(t, "file://"+file)
	}
}

// inked counts the pixels of a chart with the color of one of its lines.
const inked = `(() => {
	const chart = charts.%s, nth = %d, canvas = chart.ctx.canvas;
	const hex = chart.series[nth].stroke(chart, nth);
	const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
	const { data } = chart.ctx.getImageData(0, 0, canvas.width, canvas.height);
	let n = 0;
	for (let i = 0; i < data.length; i += 4) {
		if (data[i + 3] > 80 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 24) n++;
	}
	return n;
})()`

// A run without any response has a page too.
func TestEmptyReportPage(t *testing.T) {
	b := browsertest.Open(t)
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	file := filepath.Join(t.TempDir(), "report.html")
	if err := report.HTMLFile(file, measured(t, bench.Config{URL: s.URL, Users: 1, Requests: 3})); err != nil {
		t.Fatal(err)
	}
	visit(t, b, file, "light")
	if got := browsertest.Evaluate[string](t, b, "document.getElementById('percentiles').textContent"); got != "No request succeeded." {
		t.Errorf("in place of the chart it says %q", got)
	}
	b.Quiet(t, "file://"+file)
}

// The page of a comparison has a chart for each metric, with a dot for each round.
func TestComparisonPage(t *testing.T) {
	b := browsertest.Open(t)
	url := tiered(t)
	r, err := compare.Run(context.Background(), compare.Config{
		Rounds:  3,
		Targets: []compare.Target{{Name: "first", URL: url}, {Name: "second", URL: url}, {Name: "<third>", URL: url}},
		Load:    bench.Config{Users: 4, Requests: 300, Workload: ids.Uniform(ids.Range{First: 1, Last: 100}, 1)},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "comparison.html")
	if err := report.ComparisonHTMLFile(file, r); err != nil {
		t.Fatal(err)
	}
	for _, scheme := range []string{"light", "dark"} {
		visit(t, b, file, scheme)
		plots := len(compare.Metrics())
		for selector, want := range map[string]int{
			"svg.plot": plots, "svg .round": plots * 2 * 3, "svg .median": plots * 2, "#rounds tr": 1 + 9, "#medians tr": 1 + 3,
		} {
			if got := browsertest.Evaluate[int](t, b, fmt.Sprintf("document.querySelectorAll(%q).length", selector)); got != want {
				t.Errorf("%d of %s, want %d", got, selector, want)
			}
		}
		// Nothing is drawn outside of its picture.
		if out := browsertest.Evaluate[int](t, b, `[...document.querySelectorAll("svg circle, svg text")].filter((e) => {
			const box = e.getBoundingClientRect(), all = e.closest("svg").getBoundingClientRect();
			return box.left < all.left - 1 || box.right > all.right + 1 || box.bottom > all.bottom + 1;
		}).length`); out != 0 {
			t.Errorf("%d dots or texts are outside of their picture", out)
		}
		readable(t, b, scheme)
		b.Picture(t, "comparison-"+scheme)
	}
	b.Quiet(t, "file://"+file)
}

// visit opens a file in light or dark colors.
func visit(t *testing.T, b *browsertest.Tab, file, scheme string) {
	t.Helper()
	b.Show(t, scheme, 1240, 1600)
	b.Visit(t, "file://"+file)
}

// readable fails the test for text with a contrast below 4.5 to 1, the minimum of WCAG 2.
func readable(t *testing.T, b *browsertest.Tab, scheme string) {
	t.Helper()
	for _, text := range browsertest.Evaluate[[]string](t, b, `(() => {
		const luminance = (c) => {
			const [r, g, b] = c.match(/[\d.]+/g).slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
			return 0.2126 * r + 0.7152 * g + 0.0722 * b;
		};
		const behind = (e) => {
			for (; e; e = e.parentElement) {
				const c = getComputedStyle(e).backgroundColor;
				if (!/, 0\)$|transparent/.test(c)) return c;
			}
			return "rgb(255, 255, 255)";
		};
		const faint = [];
		for (const e of document.querySelectorAll("h1, h2, p, b, span, figcaption, small, th, td, dt, dd, svg text")) {
			if (!e.textContent.trim() || !e.getClientRects().length) continue;
			const style = getComputedStyle(e);
			const [x, y] = [luminance(e.closest("svg") ? style.fill : style.color), luminance(behind(e))].sort((a, b) => b - a);
			const ratio = (x + 0.05) / (y + 0.05);
			if (ratio < 4.5) faint.push(e.tagName + " " + e.textContent.trim().slice(0, 30) + ": " + ratio.toFixed(2));
		}
		return faint;
	})()`) {
		t.Errorf("%s: too faint: %s", scheme, text)
	}
}

// The page fits a window of a desktop and of a phone.
func TestReportFits(t *testing.T) {
	b := browsertest.Open(t)
	url, _, _ := strings.Cut(tiered(t), "<")
	r := measured(t, bench.Config{
		URL: url, Users: 20, SpawnRate: 10, Duration: 4 * time.Second, Interval: 100 * time.Millisecond, Mix: bench.Mix{Update: 0.05},
	})
	file := filepath.Join(t.TempDir(), "report.html")
	if err := report.HTMLFile(file, r); err != nil {
		t.Fatal(err)
	}
	visit(t, b, file, "light")
	for _, width := range []int64{1240, 400} {
		b.Show(t, "light", width, 900)
		b.Until(t, "document.documentElement.scrollWidth <= innerWidth") // charts follow the window after it has changed
		if width == 1240 {
			b.Picture(t, "bench-report")
		}
	}
}
