package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// Markdown writes the table as a page.
func (t Table) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nMade by `%s`; do not edit. [What it hides](../README.md#%s).\n\n", t.Title, t.Command, t.Name)
	line := func(cells ...string) {
		for i, c := range cells {
			cells[i] = strings.ReplaceAll(c, "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	line("", "")
	line("---", "---")
	for _, s := range slices.Concat(t.Machine.settings(), t.Settings) {
		line(s.Name, s.Value)
	}
	for _, s := range t.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		if s.Chart != "" {
			fmt.Fprintf(&b, "![%s](%s)\n\n", s.Title, t.chartFile(s))
		}
		titles, rules := []string{"peer"}, []string{"---"}
		for _, c := range s.Columns {
			titles, rules = append(titles, c.Title), append(rules, "---:")
		}
		line(titles...)
		line(rules...)
		for _, r := range s.Rows {
			cells := []string{r.Name}
			for _, c := range s.Columns {
				cells = append(cells, c.show(r.Cells[c.ID]))
			}
			line(cells...)
		}
		for _, r := range s.Rows {
			if r.Trouble != "" {
				fmt.Fprintf(&b, "\n%s: %s\n", r.Name, r.Trouble)
			}
		}
	}
	b.WriteString("\n## Versions\n\n")
	line("module", "version")
	line("---", "---")
	for _, v := range t.versions() {
		line("`"+v.Name+"`", v.Value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// versions lists the modules of all rows.
func (t Table) versions() (list []Setting) {
	for _, s := range t.Sections {
		for _, r := range s.Rows {
			v := Setting{r.Module, r.Version}
			if r.Module != "" && !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
	}
	slices.SortFunc(list, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// show returns a cell as text: the median, and the least and the most if they
// are wanted.
func (c Column) show(cell Cell) string {
	median, ok := cell.Median()
	switch {
	case cell.Text != "":
		return cell.Text
	case !ok:
		return "-"
	case !c.Spread || len(cell.Samples) < 2:
		return c.number(median)
	}
	return fmt.Sprintf("%s (%s-%s)", c.number(median), c.number(slices.Min(cell.Samples)), c.number(slices.Max(cell.Samples)))
}

func (c Column) number(v float64) string {
	return humanize.FormatFloat("#,###."+strings.Repeat("#", c.Decimals), v)
}
