package report

import (
	"bufio"
	"cmp"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/bench"
	"github.com/asidecache/aside/cmd/aside/internal/files"
)

// CSV writes the four files of locust's --csv: PREFIX_stats.csv, PREFIX_stats_history.csv,
// PREFIX_failures.csv and PREFIX_exceptions.csv. Columns, number formats, quotes and line
// ends are those of locust 2.47, so that a program that reads locust's files reads these.
// For the same latencies the figures are the same too: percentiles are whole milliseconds,
// two digits above 100 ms.
//
// These figures mean something else than in locust. Latencies are of successful requests
// only, and N/A where all requests failed. In the history, which has one line for each
// interval, requests and failures per second are those of the interval; in locust they are
// a mean of up to ten seconds that ended two seconds before. There are no exceptions: a fault of a request is a failure.
func CSV(prefix string, r *bench.Report) error {
	for _, f := range []struct {
		suffix string
		write  func(*lines, *bench.Report)
	}{{"_stats.csv", stats}, {"_stats_history.csv", history}, {"_failures.csv", failures}, {"_exceptions.csv", exceptions}} {
		if err := files.Write(prefix+f.suffix, func(w io.Writer) error {
			l := lines{bufio.NewWriter(w)}
			f.write(&l, r)
			return l.w.Flush()
		}); err != nil {
			return err
		}
	}
	return nil
}

// lines writes lines as Python's csv module does: it quotes fewer fields than
// encoding/csv, and ends lines with CR LF without changing a line end inside a field.
type lines struct{ w *bufio.Writer } // it keeps its error, and CSV flushes it

func (l *lines) write(cells ...string) {
	for i, cell := range cells {
		if i > 0 {
			_ = l.w.WriteByte(',')
		}
		if strings.ContainsAny(cell, ",\"\r\n") {
			cell = `"` + strings.ReplaceAll(cell, `"`, `""`) + `"`
		}
		_, _ = l.w.WriteString(cell)
	}
	_, _ = l.w.WriteString("\r\n")
}

func stats(w *lines, r *bench.Report) {
	w.write(append([]string{
		"Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
		"Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s",
	}, percentileNames()...)...)
	all := rows(r)
	sum := len(all) - 1 // stays the last
	slices.SortStableFunc(all[:sum], func(a, b row) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.method, b.method))
	})
	for _, row := range all {
		t := bench.TotalsOf(row.latency, row.failures, row.bytes)
		cells := append([]string{row.method, row.name, whole(row.requests), whole(row.failures)}, summary(t)...)
		cells = append(cells, float(r.PerSecond(row.requests)), float(r.PerSecond(row.failures)))
		w.write(append(cells, percentiles(t)...)...)
	}
}

func history(w *lines, r *bench.Report) {
	columns := []string{"Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s"}
	columns = append(columns, percentileNames()...)
	w.write(append(columns, "Total Request Count", "Total Failure Count", "Total Median Response Time", "Total Average Response Time",
		"Total Min Response Time", "Total Max Response Time", "Total Average Content Size")...)
	for _, p := range r.Timeline {
		t := p.Total
		per := func(n int64) string { return strconv.FormatFloat(float64(n)/max(p.Took.Seconds(), 1e-9), 'f', 6, 64) }
		cells := []string{
			whole(r.Start.Add(p.At).Unix()), whole(int64(p.Users)), "", aggregated, per(p.Succeeded + p.Failed), per(p.Failed),
		}
		cells = append(cells, percentiles(t)...)
		cells = append(cells, whole(t.Succeeded+t.Failed), whole(t.Failed))
		w.write(append(cells, summary(t)...)...)
	}
}

func failures(w *lines, r *bench.Report) {
	w.write("Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen")
	for _, k := range r.Kinds() {
		f := r.Failed[k]
		seen := func(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
		w.write(k.Op.Method(), nameOf(r, k.Op), k.String()+": "+f.Example, whole(f.Count), seen(f.First), seen(f.Last))
	}
}

func exceptions(w *lines, _ *bench.Report) { w.write("Count", "Message", "Traceback", "Nodes") }

func percentileNames() []string {
	var names []string
	for _, p := range bench.Percentiles {
		names = append(names, strconv.FormatFloat(p, 'f', -1, 64)+"%")
	}
	return names
}

// summary is the median, mean, minimum, maximum and mean size. Without a request locust
// writes zeros here. Locust has latencies of failed requests, so it has none for requests
// that all failed: they have no latency here, and 0 would be the best there is.
func summary(t bench.Totals) []string {
	switch {
	case t.Succeeded == 0 && t.Failed > 0:
		return []string{"N/A", "N/A", "N/A", "N/A", "0"}
	case t.Succeeded == 0:
		return []string{"0", "0.0", "0", "0", "0"}
	}
	// The rounded median can lie outside.
	median := whole(rounded(t.Percentiles[0]))
	switch ms := float64(rounded(t.Percentiles[0])); {
	case ms > millis(t.Max):
		median = float(millis(t.Max))
	case ms < millis(t.Min):
		median = float(millis(t.Min))
	}
	return []string{median, float(millis(t.Sum) / float64(t.Succeeded)), float(millis(t.Min)), float(millis(t.Max)), float(float64(t.Bytes) / float64(t.Succeeded))}
}

func percentiles(t bench.Totals) []string {
	var cells []string
	for _, d := range t.Percentiles {
		if t.Succeeded == 0 {
			cells = append(cells, "N/A")
		} else {
			cells = append(cells, whole(rounded(d)))
		}
	}
	return cells
}

// rounded is what locust keeps of a latency: whole milliseconds below 100 ms, above that
// two digits. Halves go to the even number.
func rounded(d time.Duration) int64 {
	unit := time.Millisecond
	for limit := 100 * time.Millisecond; d >= limit && unit < time.Second; limit *= 10 {
		unit *= 10
	}
	return int64(math.RoundToEven(float64(d)/float64(unit))) * int64(unit/time.Millisecond)
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// float formats a number as Python's repr does.
func float(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
