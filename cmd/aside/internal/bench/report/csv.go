package report

import (
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/files"
)

// CSV writes PREFIX_stats.csv, PREFIX_stats_history.csv and PREFIX_failures.csv with the
// columns of locust 2. Times are in milliseconds, but, unlike locust's, not rounded. The
// history has one line for each interval. Its percentiles and totals are of the run so
// far, as in locust. Without successful requests, a cell is N/A.
func CSV(prefix string, r *bench.Report) error {
	for _, f := range []struct {
		suffix string
		write  func(*csv.Writer, *bench.Report)
	}{{"_stats.csv", stats}, {"_stats_history.csv", history}, {"_failures.csv", failures}} {
		if err := files.Write(prefix+f.suffix, func(w io.Writer) error {
			c := csv.NewWriter(w)
			f.write(c, r)
			c.Flush()
			return c.Error()
		}); err != nil {
			return err
		}
	}
	return nil
}

// csv.Writer keeps its errors, and CSV checks them.

func stats(w *csv.Writer, r *bench.Report) {
	_ = w.Write(append([]string{
		"Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
		"Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s",
	}, percentileNames()...))
	for _, row := range rows(r) {
		l := row.latency
		_ = w.Write(append([]string{
			row.method, row.name, whole(row.requests), whole(row.failures), msCell(l.Count(), l.Percentile(50)), msCell(l.Count(), l.Mean()),
			msCell(l.Count(), l.Min()), msCell(l.Count(), l.Max()), meanCell(row.bytes, l.Count()), number(r.PerSecond(row.requests)), number(r.PerSecond(row.failures)),
		}, percentileCells(l.Count(), l.Percentiles(bench.Percentiles[:]...))...))
	}
}

func history(w *csv.Writer, r *bench.Report) {
	columns := []string{"Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s"}
	columns = append(columns, percentileNames()...)
	_ = w.Write(append(columns, "Total Request Count", "Total Failure Count", "Total Median Response Time", "Total Average Response Time",
		"Total Min Response Time", "Total Max Response Time", "Total Average Content Size"))
	for _, p := range r.Timeline {
		t := p.Total
		per := func(n int64) string { return number(float64(n) / max(p.Took.Seconds(), 1e-9)) }
		cells := []string{
			whole(r.Start.Add(p.At).Unix()), whole(int64(p.Users)), "", aggregated, per(p.Succeeded + p.Failed), per(p.Failed),
		}
		cells = append(cells, percentileCells(t.Succeeded, t.Percentiles[:])...)
		_ = w.Write(append(cells, whole(t.Succeeded+t.Failed), whole(t.Failed), msCell(t.Succeeded, t.Percentiles[0]), msCell(t.Succeeded, t.Mean),
			msCell(t.Succeeded, t.Min), msCell(t.Succeeded, t.Max), meanCell(t.Bytes, t.Succeeded)))
	}
}

func failures(w *csv.Writer, r *bench.Report) {
	_ = w.Write([]string{"Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen"})
	for _, k := range r.Kinds() {
		f := r.Failed[k]
		seen := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
		_ = w.Write([]string{k.Op.Method(), nameOf(r, k.Op), k.String() + ": " + f.Example, whole(f.Count), seen(f.First), seen(f.Last)})
	}
}

func percentileNames() []string {
	var names []string
	for _, p := range bench.Percentiles {
		names = append(names, strconv.FormatFloat(p, 'f', -1, 64)+"%")
	}
	return names
}

func percentileCells(succeeded int64, ds []time.Duration) []string {
	var cells []string
	for _, d := range ds {
		cells = append(cells, msCell(succeeded, d))
	}
	return cells
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// notThere is what locust writes for a missing value.
const notThere = "N/A"

func msCell(succeeded int64, d time.Duration) string {
	if succeeded == 0 {
		return notThere
	}
	return number(float64(d.Microseconds()) / 1000)
}

func meanCell(sum, n int64) string {
	if n == 0 {
		return notThere
	}
	return number(float64(sum) / float64(n))
}
