package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-analyze/charts"
)

// chartFile is the name of a section's chart.
func (t Table) chartFile(s Section) string {
	if len(t.Sections) == 1 {
		return t.Name + ".svg"
	}
	return fmt.Sprintf("%s-%s.svg", t.Name, s.Name)
}

// chart draws a section's column, one bar a row, in the order of the rows.
func (t Table) chart(s Section) ([]byte, error) {
	i := slices.IndexFunc(s.Columns, func(c Column) bool { return c.ID == s.Chart })
	if i < 0 {
		return nil, fmt.Errorf("report: no column %q to draw", s.Chart)
	}
	column := s.Columns[i]
	var names []string
	var values []float64
	for _, r := range slices.Backward(s.Rows) { // the first bar is the lowest
		if v, ok := r.Cells[s.Chart].Median(); ok {
			names, values = append(names, r.Name), append(values, v)
		}
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("report: column %q has no figures to draw", s.Chart)
	}
	o := charts.NewBarChartOptionWithData([][]float64{values})
	o.Horizontal = true
	o.Title.Text, o.Title.Subtext = t.chartTitle(s, column)
	o.Title.FontStyle.FontSize, o.Title.SubtextFontStyle.FontSize = 13, 10
	o.Padding = charts.NewBox(60, 20, 80, 10)
	o.Legend.Show = charts.Ptr(false)
	o.CategoryAxis.Labels = names
	o.CategoryAxis.LabelCount = len(names)
	o.CategoryAxis.LabelFontStyle.FontSize = 9
	// A viewer without the font sets wider type, which must not run into the bars.
	o.CategoryAxis.LabelOffset = charts.OffsetInt{Left: -50}
	// Each bar has its figure beside it, so the axis needs none.
	o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0), Show: charts.Ptr(false)}}
	o.SeriesList[0].Label.Show = charts.Ptr(true)
	o.SeriesList[0].Label.ValueFormatter = column.number
	p := charts.NewPainter(charts.PainterOptions{Font: charts.GetFont(charts.FontFamilyNotoSans), OutputFormat: charts.ChartOutputSVG, Width: 900, Height: 90 + 24*len(names)})
	if err := p.BarChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}

// chartTitle says each thing once: titles of sections and columns often repeat that
// of their table.
func (t Table) chartTitle(s Section, c Column) (title, subtitle string) {
	title = s.Title
	if !repeats(title, t.Title) {
		title = t.Title + ": " + title
	}
	if !repeats(title, c.Title) {
		subtitle = c.Title
	}
	return title, subtitle
}

// repeats reports whether every word of part is in whole.
func repeats(whole, part string) bool {
	words := strings.Fields(strings.ToLower(whole))
	for _, w := range strings.Fields(strings.ToLower(part)) {
		if !slices.Contains(words, w) {
			return false
		}
	}
	return true
}
