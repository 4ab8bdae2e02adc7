package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	fileName   = regexp.MustCompile(`^(?:\./)?[\w./-]*[\w-]\.(?:go|sh|lua|pml|md|yaml|yml|mod|work)$`)
	flagName   = regexp.MustCompile(`--([a-z][a-z0-9-]+)`)
	metricName = regexp.MustCompile(`\baside_[a-z0-9_]+`)
	variable   = regexp.MustCompile(`\bASIDE_[A-Z0-9_]+`)
	identifier = regexp.MustCompile(`\b[A-Za-z_][A-Za-z0-9_]*\b`)
	mixedCase  = regexp.MustCompile(`[a-z][A-Z]|^[A-Z][a-z]|_[a-z]`)
	kebabEdges = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// gone are names that a page may say although nothing has them: files that a
// command writes, and names of other programs.
var gone = map[string]bool{
	"internal/peer/NAME.go": true,
	"faults.md":             true,
	"findings/NAME.sh":      true,
	"uptime_in_seconds":     true, // of Redis
	"GetOrSet":              true, // of FusionCache
	"NewMetric":             true, // of gocache
	"histogram_quantile":    true, // of PromQL

	"instantaneous_ops_per_sec": true, "rdb_bgsave_in_progress": true, "mem_fragmentation_ratio": true, // of Redis
	"Age": true, // of HTTP

	"pg_dump": true, "pg_hba": true, "idle_replication_slot_timeout": true, // of PostgreSQL
	"wait_time": true, "constant_throughput": true, "run_failures": true, // of locust
	"dropped_iterations": true, "http_req_duration": true, "cache_hits": true, // of k6
}

// foreign are flags of other commands than ours.
var foreign = map[string]bool{
	"wait": true, "archive": true, "viewsAsCollections": true, "jsonArray": true, "pretty": true,
	"save": true, "appendonly": true, "maxmemory": true, "no-raw": true,
}

// TestNames: what pages name in backticks exists: files, tests, flags, metrics,
// environment variables, and identifiers of our code.
//
// Caught: TestReadsTheFormatBefore, which had been renamed; a script that was gone.
func TestNames(t *testing.T) {
	all := mustTree(t)
	words := map[string]bool{}
	flags := map[string]bool{}
	var sources strings.Builder
	for name, text := range all.files {
		if path.Ext(name) == ".md" || text == "" || strings.HasPrefix(name, "tests/docs/") {
			continue
		}
		sources.WriteString(text)
		for _, w := range identifier.FindAllString(text, -1) {
			words[w] = true
		}
		if strings.HasPrefix(name, "cmd/aside/") || strings.HasPrefix(name, "bench/") {
			for _, w := range identifier.FindAllString(text, -1) {
				flags[strings.ToLower(kebabEdges.ReplaceAllString(w, "$1-$2"))] = true
			}
			for _, f := range flagName.FindAllStringSubmatch(text, -1) {
				flags[f[1]] = true
			}
		}
	}
	source := sources.String()
	seen := 0
	for _, p := range all.pages {
		if p.generated() || p.path == "CHANGELOG.md" { // release notes name what is gone
			continue
		}
		check := func(number int, span string) {
			seen++
			if gone[span] {
				return
			}
			if fileName.MatchString(span) {
				if !exists(all, p.path, span) {
					t.Errorf("%s:%d: there is no file %s", p.path, number, span)
				}
				return
			}
			for _, f := range flagName.FindAllStringSubmatch(span, -1) {
				if !flags[f[1]] && !foreign[f[1]] {
					t.Errorf("%s:%d: there is no flag --%s", p.path, number, f[1])
				}
			}
			for _, m := range append(metricName.FindAllString(span, -1), variable.FindAllString(span, -1)...) {
				if !strings.Contains(source, strings.TrimSuffix(m, "_bucket")) {
					t.Errorf("%s:%d: nothing is called %s", p.path, number, m)
				}
			}
			if strings.ContainsAny(span, "/:\"'<>") { // a path, an address, a header
				return
			}
			for _, w := range identifier.FindAllString(span, -1) {
				if mixedCase.MatchString(w) && !words[w] && !gone[w] && !words[strings.TrimSuffix(w, "_bucket")] && !strings.HasPrefix(w, "aside_") {
					t.Errorf("%s:%d: nothing is called %s", p.path, number, w)
				}
			}
		}
		for _, l := range p.text {
			for _, s := range spans.FindAllString(l.text, -1) {
				check(l.number, strings.Trim(s, "`"))
			}
		}
		for _, b := range p.blocks {
			if b.language != "sh" {
				continue
			}
			for i, s := range strings.Split(b.code, "\n") {
				for _, w := range identifier.FindAllString(s, -1) {
					if (strings.HasPrefix(w, "Test") || strings.HasPrefix(w, "Benchmark")) && len(w) > 9 && !strings.Contains(source, "func "+w) {
						t.Errorf("%s:%d: there is no %s", p.path, b.number+i, w)
					}
				}
				for _, w := range strings.Fields(s) {
					if strings.HasPrefix(w, "scripts/") && all.files[w] == "" {
						t.Errorf("%s:%d: there is no %s", p.path, b.number+i, w)
					}
				}
			}
		}
	}
	if seen < 500 {
		t.Errorf("saw %d names only", seen)
	}
}

// exists reports whether a page may mean a file of the repository: by its path from
// the root, from the page, or by the end of its path.
func exists(all tree, from, name string) bool {
	name = strings.TrimPrefix(name, "./")
	for _, p := range []string{name, path.Join(path.Dir(from), name)} {
		if _, ok := all.files[p]; ok {
			return true
		}
	}
	for p := range all.files {
		if strings.HasSuffix(p, "/"+name) {
			return true
		}
	}
	return false
}

// TestMetricsAreListed: the reference has every metric of asideprom.
func TestMetricsAreListed(t *testing.T) {
	all := mustTree(t)
	listed := all.files["docs/reference/metrics.md"]
	n := 0
	for file, text := range all.files {
		if path.Dir(file) != "asideprom" || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range metricName.FindAllString(text, -1) {
			n++
			if !strings.Contains(listed, "`"+m+"`") {
				t.Errorf("docs/reference/metrics.md does not have %s of %s", m, file)
			}
		}
	}
	if n < 30 {
		t.Errorf("saw %d metrics only", n)
	}
}

// TestPagesInSources: the pages that scripts and models name exist.
//
// Caught: a script that wrote a page which had become a part of another.
func TestPagesInSources(t *testing.T) {
	all := mustTree(t)
	named := regexp.MustCompile(`\bdocs/[\w./-]+\.md\b`)
	for name, text := range all.files {
		switch path.Ext(name) {
		case ".go", ".sh", ".pml", ".lua", ".yaml":
		default:
			continue
		}
		for _, p := range named.FindAllString(text, -1) {
			if _, ok := all.files[p]; !ok {
				t.Errorf("%s names %s, which there is not", name, p)
			}
		}
	}
}

// TestFilesAreListed: the map of the library has each of its files, and functions
// are in the files that the page says.
//
// Caught: dispatch.go, which was new; readL1, which had moved to another file.
func TestFilesAreListed(t *testing.T) {
	all := mustTree(t)
	page := all.files["docs/reference/architecture.md"]
	for name := range all.files {
		if path.Ext(name) == ".go" && path.Dir(name) == "." && !strings.HasSuffix(name, "_test.go") && !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/reference/architecture.md does not have %s", name)
		}
	}
	in := regexp.MustCompile("`(\\w+)` in\\s+`(\\w+\\.go)`").FindAllStringSubmatch(page, -1)
	for _, m := range in {
		if !regexp.MustCompile(`(?m)^func (?:\(.*?\) )?` + m[1] + `[(\[]`).MatchString(all.files[m[2]]) {
			t.Errorf("docs/reference/architecture.md: %s is not in %s", m[1], m[2])
		}
	}
	if len(in) < 10 {
		t.Errorf("saw %d functions only", len(in))
	}
}
