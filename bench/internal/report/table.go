// Package report keeps what was measured, and writes it as JSON, as Markdown
// and as charts.
package report

import (
	"cmp"
	"slices"
)

// Table is one kind of measurement, on many peers.
type Table struct {
	Name     string    `json:"name"` // of its files
	Title    string    `json:"title"`
	Command  string    `json:"command"` // that makes it again
	Settings []Setting `json:"settings"`
	Machine  Machine   `json:"machine"`
	Sections []Section `json:"sections"`
}

// Setting is one line of what was done.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Section is one table of rows and columns.
type Section struct {
	Name    string   `json:"name"` // of its chart; unique in the Table
	Title   string   `json:"title"`
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
	// Chart is the column that is drawn; none if it is empty.
	Chart string `json:"chart,omitempty"`
}

// Column says how the cells of one kind are shown.
type Column struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Decimals int    `json:"decimals"`
	Spread   bool   `json:"spread,omitempty"` // the least and the most beside the median
}

// Row is one peer.
type Row struct {
	Peer    string          `json:"peer"`
	Name    string          `json:"name"`
	Module  string          `json:"module,omitempty"`
	Version string          `json:"version,omitempty"`
	Cells   map[string]Cell `json:"cells"` // by Column.ID
	// Trouble says why the row's figures are none, or not only the peer's.
	Trouble string `json:"trouble,omitempty"`
}

// Cell is a figure, measured once in each round, or a text.
type Cell struct {
	Samples []float64 `json:"samples,omitempty"`
	Text    string    `json:"text,omitempty"`
}

// Figure is a Cell of samples.
func Figure(samples ...float64) Cell { return Cell{Samples: samples} }

// Text is a Cell of text.
func Text(s string) Cell { return Cell{Text: s} }

// Median of the samples, the mean of the middle two if they are even; false if
// there are none.
func (c Cell) Median() (float64, bool) {
	n := len(c.Samples)
	if n == 0 {
		return 0, false
	}
	s := slices.Sorted(slices.Values(c.Samples))
	return (s[(n-1)/2] + s[n/2]) / 2, true
}

// Ratios divides the samples by those of another cell, round by round: what
// slowed a round down slowed both.
func (c Cell) Ratios(to Cell) Cell {
	if len(c.Samples) != len(to.Samples) {
		return Cell{}
	}
	r := Cell{Samples: make([]float64, len(c.Samples))}
	for i, v := range c.Samples {
		if to.Samples[i] == 0 {
			return Cell{}
		}
		r.Samples[i] = v / to.Samples[i]
	}
	return r
}

// Sort orders the rows by a column's medians, the least first, or the most;
// rows without one come last.
func (s *Section) Sort(column string, most bool) {
	slices.SortStableFunc(s.Rows, func(a, b Row) int {
		x, okX := a.Cells[column].Median()
		y, okY := b.Cells[column].Median()
		switch {
		case !okX || !okY:
			return cmp.Compare(btoi(okY), btoi(okX))
		case most:
			return cmp.Compare(y, x)
		}
		return cmp.Compare(x, y)
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
