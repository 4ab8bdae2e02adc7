package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Write writes the table's files into dir: NAME.json, NAME.md and the charts.
func (t Table) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	write := func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(dir, name), content, 0o644)
	}
	b, err := json.MarshalIndent(t, "", "\t")
	if err != nil {
		return err
	}
	if err := write(t.Name+".json", append(b, '\n')); err != nil {
		return err
	}
	for _, s := range t.Sections {
		if s.Chart == "" {
			continue
		}
		svg, err := t.chart(s)
		if err != nil {
			return fmt.Errorf("chart of %s: %w", s.Title, err)
		}
		if err := write(t.chartFile(s), svg); err != nil {
			return err
		}
	}
	var md strings.Builder
	if err := t.Markdown(&md); err != nil {
		return err
	}
	return write(t.Name+".md", []byte(md.String()))
}

// Read reads a table that Write wrote.
func Read(dir, name string) (t Table, err error) {
	b, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("%s.json: %w", name, err)
	}
	return t, nil
}
