package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// root is a symbolic link to the repository. By "../.." the files would be outside of
// this module, and go test would repeat a cached result although they have changed.
const root = "testdata/repository/"

// page is a Markdown file. Lines of its code blocks are apart from the others.
type page struct {
	path   string // from the root, with slashes
	text   []line
	blocks []block
}

type line struct {
	number int
	text   string
}

// block is a fenced code block.
type block struct {
	number   int // of its first line
	language string
	code     string
}

// tree is what the files of the repository are.
type tree struct {
	pages []page
	files map[string]string // by path: the text of sources, "" for other files
}

var readTree = sync.OnceValues(func() (t tree, err error) {
	t.files = map[string]string{}
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", ".cache", "node_modules", "short-results":
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		t.files[rel] = ""
		switch filepath.Ext(name) {
		case ".md", ".go", ".lua", ".pml", ".sh", ".yaml", ".yml", ".mod", "":
		default:
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		t.files[rel] = string(b)
		if filepath.Ext(name) == ".md" && !strings.Contains(rel, "testdata/") {
			t.pages = append(t.pages, parse(rel, string(b)))
		}
		return nil
	})
	return t, err
})

func mustTree(t *testing.T) tree {
	t.Helper()
	all, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(all.pages) < 10 {
		t.Fatalf("found %d pages only", len(all.pages))
	}
	return all
}

func parse(path, content string) page {
	p := page{path: path}
	var open *block
	for i, s := range strings.Split(content, "\n") {
		if language, fence := strings.CutPrefix(strings.TrimSpace(s), "```"); fence {
			if open != nil {
				p.blocks = append(p.blocks, *open)
				open = nil
			} else {
				open = &block{number: i + 2, language: language}
			}
			continue
		}
		if open != nil {
			open.code += s + "\n"
		} else {
			p.text = append(p.text, line{i + 1, s})
		}
	}
	return p
}

// generated pages are written by a command.
func (p page) generated() bool { return strings.HasPrefix(p.path, "bench/results/") }

var (
	spans = regexp.MustCompile("`[^`]+`")
	links = regexp.MustCompile(`(?:\[[^\]]*\]\(|(?:href|src)=")([^)"\s]+)[)"]`)
)

// anchors are the names that headings of a page have on the forge.
func (p page) anchors() map[string]bool {
	all := map[string]bool{}
	for _, l := range p.text {
		_, title, ok := strings.Cut(l.text, "# ")
		if !ok || strings.Trim(l.text[:strings.Index(l.text, "# ")], "#") != "" {
			continue
		}
		title = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(title, "$1")
		title = strings.ToLower(strings.TrimSpace(title))
		title = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(title, "")
		all[strings.ReplaceAll(title, " ", "-")] = true
	}
	return all
}

// TestLinks: every relative link of every page leads to a file, and to a heading
// where it names one.
//
// Caught: links to pages that had moved; "#before-and-after" after its heading was
// gone.
func TestLinks(t *testing.T) {
	all := mustTree(t)
	dirs := map[string]bool{".": true}
	for f := range all.files {
		for d := filepath.Dir(f); d != "."; d = filepath.Dir(d) {
			dirs[d] = true
		}
	}
	byPath := map[string]page{}
	for _, p := range all.pages {
		byPath[p.path] = p
	}
	seen := 0
	for _, p := range all.pages {
		for _, l := range p.text {
			for _, m := range links.FindAllStringSubmatch(spans.ReplaceAllString(l.text, "x"), -1) {
				target, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				seen++
				to := p.path
				if target != "" {
					to = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), target))
				}
				if _, file := all.files[to]; !file && !dirs[to] {
					t.Errorf("%s:%d: there is no %s", p.path, l.number, to)
				} else if to := byPath[to]; anchor != "" && to.path != "" && !to.anchors()[anchor] {
					t.Errorf("%s:%d: %s has no heading #%s", p.path, l.number, to.path, anchor)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("saw %d links only", seen)
	}
}

// TestGuideHeads: each page of the guide begins with what it says, in two lines.
func TestGuideHeads(t *testing.T) {
	n := 0
	for _, p := range mustTree(t).pages {
		if !strings.HasPrefix(p.path, "docs/guide/") {
			continue
		}
		n++
		if len(p.text) < 5 || !strings.HasPrefix(p.text[0].text, "# ") || p.text[1].text != "" ||
			!strings.HasPrefix(p.text[2].text, "> ") || !strings.HasPrefix(p.text[3].text, "> ") || p.text[4].text != "" {
			t.Errorf("%s does not begin with a title, a blank line, and two lines of what it says, each after \"> \"", p.path)
		}
	}
	if n < 11 {
		t.Errorf("the guide has %d pages", n)
	}
}

// TestWidth: lines that a reader of the source can read, and cells that are no
// paragraphs. Addresses cannot be broken; release notes and measured tables are as
// they come.
func TestWidth(t *testing.T) {
	const most, mostInCell = 120, 180
	for _, p := range mustTree(t).pages {
		if p.generated() || p.path == "CHANGELOG.md" || p.path == "SECURITY.md" {
			continue
		}
		for _, l := range p.text {
			if !strings.HasPrefix(l.text, "|") {
				if n := len([]rune(l.text)); n > most && !strings.Contains(l.text, "](https://") {
					t.Errorf("%s:%d: %d characters, want at most %d", p.path, l.number, n, most)
				}
				continue
			}
			for _, cell := range strings.Split(links.ReplaceAllString(l.text, "link"), "|") {
				if n := len([]rune(strings.TrimSpace(cell))); n > mostInCell {
					t.Errorf("%s:%d: a cell of %d characters, want at most %d: %.40s...", p.path, l.number, n, mostInCell, cell)
				}
			}
		}
	}
}
