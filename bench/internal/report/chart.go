package report

import (
	"fmt"
	"slices"

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
	o.Title.Text, o.Title.Subtext = t.Title+": "+s.Title, column.Title
	o.Padding = charts.NewBox(50, 20, 80, 20)
	o.Legend.Show = charts.Ptr(false)
	o.CategoryAxis.Labels = names
	o.CategoryAxis.LabelCount = len(names)
	// A viewer without the font sets wider type, which must not run into the bars.
	o.CategoryAxis.LabelOffset = charts.OffsetInt{Left: -30}
	o.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0)}}
	o.SeriesList[0].Label.Show = charts.Ptr(true)
	o.SeriesList[0].Label.ValueFormatter = column.number
	p := charts.NewPainter(charts.PainterOptions{Font: charts.GetFont(charts.FontFamilyNotoSans), OutputFormat: charts.ChartOutputSVG, Width: 900, Height: 120 + 28*len(names)})
	if err := p.BarChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}
