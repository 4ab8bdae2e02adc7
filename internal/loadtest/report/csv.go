package report

import (
	"encoding/csv"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/asidecache/aside/internal/loadtest"
)

// CSV writes PREFIX_stats.csv, PREFIX_stats_history.csv and PREFIX_failures.csv
// with the columns of locust 2. Times are in milliseconds, as there, but not
// rounded to whole ones. The history has a line for each interval; its
// percentiles and totals are those from the start of the run, as locust's are.
func CSV(prefix string, r *loadtest.Report) error {
	for _, f := range []struct {
		suffix string
		write  func(*csv.Writer, *loadtest.Report)
	}{{"_stats.csv", stats}, {"_stats_history.csv", history}, {"_failures.csv", failures}} {
		if err := writeFile(prefix+f.suffix, func(w io.Writer) error {
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

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// The writers' errors are kept by csv.Writer, and looked at in CSV.

func stats(w *csv.Writer, r *loadtest.Report) {
	_ = w.Write(append([]string{
		"Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
		"Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s",
	}, percentileNames()...))
	for _, row := range rows(r) {
		l := row.latency
		_ = w.Write(append([]string{
			row.method, row.name, whole(row.requests), whole(row.failures), msCell(l.Percentile(50)), msCell(l.Mean()),
			msCell(l.Min()), msCell(l.Max()), number(row.size()), number(r.PerSecond(row.requests)), number(r.PerSecond(row.failures)),
		}, percentileCells(row.requests, l.Percentiles(loadtest.Percentiles[:]...))...))
	}
}

func history(w *csv.Writer, r *loadtest.Report) {
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
		cells = append(cells, percentileCells(t.Succeeded+t.Failed, t.Percentiles[:])...)
		_ = w.Write(append(cells, whole(t.Succeeded+t.Failed), whole(t.Failed), msCell(t.Percentiles[0]), msCell(t.Mean),
			msCell(t.Min), msCell(t.Max), number(float64(t.Bytes)/float64(max(t.Succeeded, 1)))))
	}
}

func failures(w *csv.Writer, r *loadtest.Report) {
	_ = w.Write([]string{"Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen"})
	for _, k := range r.Kinds() {
		f := r.Failed[k]
		seen := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
		_ = w.Write([]string{k.Op.Method(), nameOf(r, k.Op), k.String() + ": " + f.Example, whole(f.Count), seen(f.First), seen(f.Last)})
	}
}

func percentileNames() []string {
	var names []string
	for _, p := range loadtest.Percentiles {
		names = append(names, strconv.FormatFloat(p, 'f', -1, 64)+"%")
	}
	return names
}

func percentileCells(requests int64, ds []time.Duration) []string {
	var cells []string
	for _, d := range ds {
		if requests == 0 {
			cells = append(cells, "N/A")
			continue
		}
		cells = append(cells, msCell(d))
	}
	return cells
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

func number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

func msCell(d time.Duration) string { return number(float64(d.Microseconds()) / 1000) }
