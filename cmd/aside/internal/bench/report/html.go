package report

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/files"
	"github.com/asidecache/aside/cmd/aside/internal/uplot"
)

//go:embed page/page.html page/comparison.html page/page.css page/page.js
var assets embed.FS

func asset(name string) string {
	b, err := assets.ReadFile("page/" + name)
	if err != nil {
		panic("report: " + err.Error()) // it is embedded
	}
	return string(b)
}

var pages = template.Must(template.ParseFS(assets, "page/page.html", "page/comparison.html"))

// HTML writes the report as a self-contained page, which needs no network and no other
// file. Without scripts it shows everything except the charts.
func HTML(w io.Writer, r *bench.Report) error {
	p, err := pageOf(r)
	if err != nil {
		return err
	}
	return pages.ExecuteTemplate(w, "page.html", p)
}

// HTMLFile writes HTML to a file, as files.Write does.
func HTMLFile(path string, r *bench.Report) error {
	return files.Write(path, func(w io.Writer) error { return HTML(w, r) })
}

type page struct {
	Title, Heading, When, Load string
	Warnings                   []string
	Tiles                      []tile
	Thinned                    string
	OpenLoop                   bool
	Requests, ResponseTimes    []cells
	PercentileNames            []string
	Tiers                      []cells
	TierNote                   string
	Failures                   []failed
	Schedule                   []named
	Settings, Machine          []named
	Style                      template.CSS
	Data, Library, Script      template.JS
}

type tile struct {
	Name, Value string
	Bad         bool
}

type cells struct {
	Type, Name string
	Sum        bool
	Cells      []string
}

type failed struct {
	Count                              int64
	Method, Name, Message, First, Last string
}

type named struct{ Name, Value string }

func pageOf(r *bench.Report) (*page, error) {
	c := &r.Config
	data, thinned := chartsOf(r)
	encoded, err := json.Marshal(data) // it writes < as \u003c, so that no tag can end the script
	if err != nil {
		return nil, err
	}
	p := &page{
		Title: "aside bench: " + c.URL, Heading: c.URL,
		When:     r.Start.Format("Monday, 2 January 2006, 15:04:05 MST") + ", for " + r.Elapsed.Round(10*time.Millisecond).String(),
		Load:     load(c),
		OpenLoop: c.Rate > 0,
		Warnings: warnings(r), Tiles: tiles(r),
		Failures: failuresOf(r), Settings: settings(r), Machine: machine(r),
		Style:   template.CSS(uplot.Style() + asset("page.css")),
		Data:    template.JS(encoded),
		Library: template.JS(uplot.Script()),
		Script:  template.JS(asset("page.js")),
	}
	if thinned > 1 {
		p.Thinned = fmt.Sprintf("Each point stands for %d intervals of %v. It shows their mean rate and their highest latency.", thinned, r.Config.Interval)
	}
	for _, pc := range bench.Percentiles {
		p.PercentileNames = append(p.PercentileNames, fmt.Sprintf("%v%%ile (ms)", pc))
	}
	for _, row := range rows(r) {
		l, sum := row.latency, row.name == aggregated
		d := l.Percentiles(50, 95, 99)
		size := "n/a"
		if mean, ok := row.size(); ok {
			size = fmt.Sprintf("%.1f", mean)
		}
		p.Requests = append(p.Requests, cells{row.method, row.name, sum, []string{
			fmt.Sprint(row.requests), fmt.Sprint(row.failures), msOf(l, d[0]), msOf(l, d[1]), msOf(l, d[2]), msOf(l, l.Mean()), msOf(l, l.Min()), msOf(l, l.Max()),
			size, fmt.Sprintf("%.2f", r.PerSecond(row.requests)), fmt.Sprintf("%.2f", r.PerSecond(row.failures)),
		}})
		times := cells{Type: row.method, Name: row.name, Sum: sum}
		for _, d := range l.Percentiles(bench.Percentiles[:]...) {
			times.Cells = append(times.Cells, msOf(l, d))
		}
		p.ResponseTimes = append(p.ResponseTimes, times)
	}
	if ratio, known := r.HitRatio(); known {
		p.TierNote = fmt.Sprintf("Hit ratio %.4f. Coalesced %d, negative %d, stale %d.", ratio, r.Coalesced, r.Negative, r.Stale)
		reads := r.Latency(bench.Read).Count()
		for _, t := range bench.Tiers() {
			l := r.TierLatency(t)
			if l.Count() == 0 {
				continue
			}
			d := l.Percentiles(50, 95, 99)
			p.Tiers = append(p.Tiers, cells{Name: t.String(), Cells: []string{
				fmt.Sprint(l.Count()), fmt.Sprintf("%.1f %%", 100*float64(l.Count())/float64(reads)), ms(d[0]), ms(d[1]), ms(d[2]), ms(l.Max()),
			}})
		}
	}
	if o := r.OpenLoop(); o != nil {
		p.Schedule = scheduleOf(r, o)
	}
	return p, nil
}

func tiles(r *bench.Report) []tile {
	l := r.Latency()
	d := l.Percentiles(50, 95, 99)
	ts := []tile{
		{"successful requests/s", fmt.Sprintf("%.1f", r.Rate()), false},
		{"requests", fmt.Sprint(r.Requests()), false},
		{"median, ms", msOf(l, d[0]), false}, {"95 %, ms", msOf(l, d[1]), false}, {"99 %, ms", msOf(l, d[2]), false},
		{"failed", fmt.Sprint(r.Failures()), r.Failures() > 0},
	}
	if ratio, ok := r.HitRatio(); ok {
		ts = append(ts, tile{"hit ratio", fmt.Sprintf("%.1f %%", 100*ratio), false})
	}
	return ts
}

func warnings(r *bench.Report) []string {
	var ws []string
	if r.Interrupted {
		ws = append(ws, "The run ended early.")
	}
	if r.CPUShare() > busy {
		ws = append(ws, fmt.Sprintf("The load generator used %.0f %% of its CPU. The server may be faster than this report shows.", 100*r.CPUShare()))
	}
	if r.Overtime >= overtime {
		ws = append(ws, fmt.Sprintf("With %d connections, the server does not reach %.10g requests/s. At the end it took %v to send the backlog.",
			r.Config.Users, r.Config.Rate, r.Overtime.Round(100*time.Millisecond)))
	}
	return ws
}

func failuresOf(r *bench.Report) []failed {
	var fs []failed
	const clock = "2006-01-02 15:04:05"
	for _, k := range r.Kinds() {
		f := r.Failed[k]
		fs = append(fs, failed{f.Count, k.Op.Method(), nameOf(r, k.Op), k.String() + ", first: " + f.Example, f.First.Format(clock), f.Last.Format(clock)})
	}
	return fs
}

func scheduleOf(r *bench.Report, o *bench.OpenLoop) []named {
	of := func(l bench.Latency) string {
		if l.Count() == 0 {
			return "n/a"
		}
		d := l.Percentiles(50, 99)
		return fmt.Sprintf("50 %% %s ms, 99 %% %s ms, max %s ms", ms(d[0]), ms(d[1]), ms(l.Max()))
	}
	return []named{
		{"Latencies", "start when the request was due: no coordinated omission"},
		{"Sent", fmt.Sprint(o.Sent)},
		{"Had to wait for a connection", fmt.Sprint(o.Late + o.Dropped)},
		{"Wait for a connection", of(o.Waited)},
		{"Dropped", fmt.Sprintf("%d, after %v", o.Dropped, r.Config.Timeout)},
		{"Largest backlog", fmt.Sprint(o.MaxBacklog)},
		{"From sending to the response", of(o.Served)},
		{"Delay of the generator itself", of(o.Lag)},
	}
}

func settings(r *bench.Report) []named {
	c := &r.Config
	list := []named{{"URL", c.URL}}
	if c.Rate > 0 {
		how := "at equal intervals"
		if c.Poisson {
			how = "at random times (Poisson)"
		}
		list = append(list, named{"Open loop", fmt.Sprintf("%.10g requests/s, %s, at most %d connections", c.Rate, how, c.Users)})
	} else {
		begin := "all at once"
		if c.SpawnRate > 0 {
			begin = fmt.Sprintf("at %.10g per second", c.SpawnRate)
		}
		list = append(list, named{"Closed loop", fmt.Sprintf("%d users, started %s", c.Users, begin)})
	}
	limit := "none"
	if c.Requests > 0 {
		limit = fmt.Sprint(c.Requests)
	}
	duration := "until another limit"
	if c.Duration > 0 {
		duration = c.Duration.String()
	}
	if c.AddedLatency != "" {
		list = append(list, named{"Latency that the server adds to its store", c.AddedLatency})
	}
	return append(list,
		named{"Workload", workloadOf(c)}, named{"Operations", c.Mix.String()}, named{"Seed of the operations", fmt.Sprint(c.Seed)},
		named{"Warm-up", c.WarmUp.String()}, named{"Duration", duration}, named{"Maximum number of requests", limit}, named{"Timeout", c.Timeout.String()},
		named{"Connections opened", fmt.Sprint(r.Connections)})
}

func machine(r *bench.Report) []named {
	m := r.Machine
	list := []named{{"System", m.System}, {"Go", m.Go}}
	if m.Processor != "" {
		list = append(list, named{"Processor", m.Processor})
	}
	list = append(list, named{"Processors used", fmt.Sprint(r.Processors)})
	if m.Memory > 0 {
		list = append(list, named{"Memory", fmt.Sprintf("%.1f GiB", float64(m.Memory)/(1<<30))})
	}
	if m.Load != "" {
		list = append(list, named{"Load average at the end", m.Load})
	}
	if r.CPU > 0 {
		list = append(list, named{"CPU of the load generator", fmt.Sprintf("%.0f %% of its processors, %.1f us per request",
			100*r.CPUShare(), float64(r.CPU.Nanoseconds())/1e3/float64(max(r.Requests(), 1)))})
	}
	return list
}
