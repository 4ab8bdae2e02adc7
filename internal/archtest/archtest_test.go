package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/asidecache/aside"

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string // all that it reaches, without tests
	GoFiles    []string
}

// own lists the packages of the root module.
var own = sync.OnceValues(func() (map[string]pkg, error) {
	// go test repeats a cached result as long as the files that the test itself
	// opened are the same, and it is `go list` that reads the sources.
	if err := filepath.WalkDir(filepath.Join("..", ".."), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return filepath.SkipDir
		}
		return err
	}); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Doc,Imports,Deps,GoFiles", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.New(err.Error() + "\n" + stderr.String())
	}
	pkgs := map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs[p.ImportPath] = p
	}
})

func mustOwn(t *testing.T) map[string]pkg {
	t.Helper()
	pkgs, err := own()
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// path makes an import path of a directory of this module; what is none stays.
func path(dir string) string {
	if dir == "." {
		return module
	}
	return module + "/" + dir
}

func under(importPath, root string) bool {
	return importPath == root || strings.HasPrefix(importPath, root+"/")
}

const (
	redis      = "github.com/redis/rueidis"
	mongo      = "go.mongodb.org/mongo-driver/v2"
	bbolt      = "go.etcd.io/bbolt"
	otter      = "github.com/maypok86/otter/v2"
	prometheus = "github.com/prometheus"
)

// TestReach: what a package must not reach, not even through others, and why.
func TestReach(t *testing.T) {
	pkgs := mustOwn(t)
	for _, rule := range []struct {
		from    string
		must    bool // the package exists
		forbids []string
		because string
	}{
		{".", true, []string{redis, mongo, bbolt, prometheus},
			"users of the library link only what they choose"},
		{".", true, []string{"testing", "flag"},
			"they change the flags of a program that links them"},
		{".", true, []string{path("redisl2"), path("mongofeed"), path("asideprom"), path("asidetest"), path("internal/todo"), path("cmd")},
			"adapters and the service import the library, never the reverse"},
		{"internal/httpapi", true, []string{path("internal/boltstore"), path("internal/mongostore"), path("redisl2"), redis, mongo, bbolt},
			"the API knows todo.Service, which any store serves"},
		{"internal/todo", true, []string{path("internal/boltstore"), path("internal/mongostore"), path("internal/httpapi"), path("redisl2"), redis, mongo, bbolt},
			"the domain knows no technology"},
		{"internal/boltstore", true, []string{mongo, redis, path("internal/mongostore"), path("redisl2")}, "no adapter knows another"},
		{"internal/mongostore", true, []string{bbolt, redis, path("internal/boltstore"), path("redisl2")}, "no adapter knows another"},
		{"redisl2", true, []string{mongo, bbolt, prometheus, path("internal/todo"), path("mongofeed"), path("asideprom"), "testing"}, "no adapter knows another"},
		{"mongofeed", false, []string{redis, bbolt, prometheus, path("internal/todo"), path("redisl2"), path("asideprom"), "testing"}, "no adapter knows another"},
		{"asideprom", false, []string{redis, mongo, bbolt, path("internal/todo"), path("redisl2"), path("mongofeed"), "testing"}, "no adapter knows another"},
		{"cmd/aside", false, []string{"testing", path("internal/testserver"), path("asidetest")}, "a program links no tests"},
	} {
		p, ok := pkgs[path(rule.from)]
		if !ok {
			if rule.must {
				t.Errorf("package %s is gone; so is its rule: %s", rule.from, rule.because)
			}
			continue
		}
		for _, dep := range p.Deps {
			for _, forbidden := range rule.forbids {
				if under(dep, forbidden) {
					t.Errorf("%s reaches %s: %s", rule.from, dep, rule.because)
				}
			}
		}
	}
}

// TestImporters: who alone may import a package, tests aside.
func TestImporters(t *testing.T) {
	for _, rule := range []struct {
		of      string
		by      []string
		because string
	}{
		{otter, []string{"internal/l1"}, "the eviction engine can be exchanged in one place"},
		{redis, []string{"redisl2", "internal/testserver", "cmd/aside"}, "Redis is spoken in one place"},
		{bbolt, []string{"internal/boltstore"}, "the file's layout is known in one place"},
		{path("internal/testserver"), nil, "only tests start servers"},
	} {
		for _, p := range mustOwn(t) {
			for _, imported := range p.Imports {
				if !under(imported, rule.of) || under(p.ImportPath, rule.of) {
					continue
				}
				if !slices.ContainsFunc(rule.by, func(dir string) bool { return under(p.ImportPath, path(dir)) }) {
					t.Errorf("%s imports %s, which only %v may: %s", p.ImportPath, imported, rule.by, rule.because)
				}
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(mustOwn(t))) {
		if p := mustOwn(t)[name]; p.Doc == "" && len(p.GoFiles) > 0 {
			t.Errorf("package %s has no package comment", name)
		}
	}
}

// TestRootHasNoReplace: a replace works here and not for who imports the module.
func TestRootHasNoReplace(t *testing.T) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if strings.HasPrefix(strings.TrimSpace(line), "replace") {
			t.Errorf("%s has %s", filepath.Base(strings.TrimSpace(string(out))), strings.TrimSpace(line))
		}
	}
}
