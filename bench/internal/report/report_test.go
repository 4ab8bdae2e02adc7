package report

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func example() Table {
	s := Section{
		Name: "main", Title: "Hits", Chart: "ns",
		Columns: []Column{
			{ID: "ns", Title: "ns/op", Spread: true}, {ID: "x", Title: "x fast", Decimals: 2, Spread: true},
			{ID: "allocs", Title: "allocs/op"}, {ID: "how", Title: "how"},
		},
		Rows: []Row{
			{Peer: "slow", Name: "slow | piped", Module: "example.com/slow", Version: "v1.0.0",
				Cells: map[string]Cell{"ns": Figure(2000, 1000.4, 3000), "allocs": Figure(7), "how": Text("by hand")}},
			{Peer: "none", Name: "none", Cells: map[string]Cell{}, Trouble: "did not start"},
			{Peer: "fast", Name: "fast", Module: "example.com/fast", Version: "v2.3.4",
				Cells: map[string]Cell{"ns": Figure(100, 100, 200), "allocs": Figure(0)}},
		},
	}
	for _, r := range s.Rows {
		r.Cells["x"] = r.Cells["ns"].Ratios(s.Rows[2].Cells["ns"])
	}
	s.Sort("ns", false)
	return Table{
		Name: "hits", Title: "Hits in memory", Command: "peers hits", Settings: []Setting{{"keys", "200,000"}},
		Machine:  Machine{Date: "2026-01-02 03:04 UTC", Commit: "0123", Processor: "P", Processors: 2, GOMAXPROCS: 2, Memory: "1 GiB", System: "S", Go: "go", Redis: "R", Load: "0"},
		Sections: []Section{s},
	}
}

// The page, to the letter. Run with -rewrite to accept a change.
func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := example().Markdown(&b); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "hits.md")
	if *rewrite {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

// A ratio is taken within each round, and only then is the median.
//
// Caught: the ratio of the medians, which is 15 here.
func TestFigures(t *testing.T) {
	rows := example().Sections[0].Rows
	if rows[0].Peer != "fast" || rows[1].Peer != "slow" || rows[2].Peer != "none" {
		t.Errorf("in the order %s, %s, %s", rows[0].Peer, rows[1].Peer, rows[2].Peer)
	}
	if x, ok := Figure(2000, 1000, 3000, 100).Ratios(Figure(100, 100, 200, 100)).Median(); !ok || x != 12.5 {
		t.Errorf("ratio %v, %v", x, ok)
	}
	for _, c := range []Cell{Figure(1).Ratios(Figure(1, 2)), Figure(1).Ratios(Figure(0)), Figure(), Text("t")} {
		if v, ok := c.Median(); ok {
			t.Errorf("a figure out of nothing: %v", v)
		}
	}
	s := example().Sections[0]
	s.Sort("ns", true)
	if s.Rows[0].Peer != "slow" || s.Rows[2].Peer != "none" {
		t.Errorf("the most comes after %s", s.Rows[0].Peer)
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	table := example()
	if err := table.Write(dir); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "hits.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Table
	if err := json.Unmarshal(b, &back); err != nil || back.Sections[0].Rows[1].Cells["ns"].Samples[2] != 3000 {
		t.Errorf("%+v, %v", back, err)
	}
	svg, err := os.ReadFile(filepath.Join(dir, "hits.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<svg", "slow | piped", "2,000", "ns/op"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("%q is not in the chart", want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "hits.md")); err != nil {
		t.Error(err)
	}
	table.Sections[0].Chart = "none of them"
	if err := table.Write(dir); err == nil {
		t.Error("drew a column that there is not")
	}
}

func TestHere(t *testing.T) {
	m := Here(context.Background(), "redis-server")
	if m.Processors < 1 || m.Go == "" || m.Date == "" {
		t.Errorf("%+v", m)
	}
	if m := Here(context.Background(), "/nonexistent"); m.Redis != unknown {
		t.Errorf("a server that there is not has version %q", m.Redis)
	}
	if Version("") != "" || Version("example.com/none") != unknown {
		t.Error("a version out of nothing")
	}
}

// A chart says each thing once.
//
// Caught: "Stale reads: Stale reads in 100,000", with "stale in 100,000" below it.
func TestChartTitle(t *testing.T) {
	for _, c := range []struct{ table, section, column, title, subtitle string }{
		{"Stale reads", "Stale reads in 100,000", "stale in 100,000", "Stale reads in 100,000", ""},
		{"A write", "16 goroutines", "writes/s", "A write: 16 goroutines", "writes/s"},
	} {
		title, subtitle := Table{Title: c.table}.chartTitle(Section{Title: c.section}, Column{Title: c.column})
		if title != c.title || subtitle != c.subtitle {
			t.Errorf("%q and %q, want %q and %q", title, subtitle, c.title, c.subtitle)
		}
	}
}

// What was written can be read, and written again with nothing measured.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	if err := example().Write(dir); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "hits.md"))
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read(dir, "hits")
	if err != nil {
		t.Fatal(err)
	}
	if err := back.Write(dir); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(filepath.Join(dir, "hits.md")); err != nil || string(after) != string(before) {
		t.Errorf("%v; the page became:\n%s", err, after)
	}
	if _, err := Read(dir, "none"); err == nil {
		t.Error("read a table that there is not")
	}
}
