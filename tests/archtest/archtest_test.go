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

	TestImports, XTestImports []string
}

// own lists the packages of all modules of the workspace.
var own = sync.OnceValues(func() (map[string]pkg, error) {
	// go test repeats a cached result as long as the files of this module that the
	// test itself opened are the same, and it is `go list` that reads the sources. The
	// link makes them files of this module.
	if err := filepath.WalkDir(filepath.Join("..", "docs", "testdata", "repository")+string(filepath.Separator), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	}); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Doc,Imports,Deps,GoFiles,TestImports,XTestImports", module+"/...")
	cmd.Env = append(os.Environ(), "GOWORK=") // all modules of the workspace
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
	postgres   = "github.com/jackc"
	prometheus = "github.com/prometheus"
	otel       = "go.opentelemetry.io"
	otelSDK    = "go.opentelemetry.io/otel/sdk"
)

// TestReach: what a package must not reach, not even through others, and why.
func TestReach(t *testing.T) {
	pkgs := mustOwn(t)
	service := "cmd/aside/internal/"
	for _, rule := range []struct {
		from    string
		forbids []string
		because string
	}{
		{".", []string{redis, mongo, postgres, bbolt, prometheus, otel, otter},
			"users of the library link only what they choose"},
		{".", []string{"testing", "flag"},
			"they change the flags of a program that links them"},
		{".", []string{path("redisl2"), path("asideprom"), path("asideotel"), path("mongofeed"), path("pgfeed"), path("asidetest"), path("cmd"), path("tests")},
			"adapters and the service import the library, never the reverse"},
		{"driver", []string{module}, "the library and every L2 import it"},
		{"redisl2", []string{mongo, postgres, bbolt, prometheus, path("cmd"), path("tests"), path("asideprom"), "testing"}, "no adapter knows another"},
		{"asideprom", []string{redis, mongo, postgres, bbolt, otel, path("cmd"), path("tests"), path("redisl2"), path("asideotel"), "testing"}, "no adapter knows another"},
		{"asideotel", []string{redis, mongo, postgres, bbolt, prometheus, otelSDK, path("cmd"), path("tests"), path("redisl2"), path("asideprom"), "testing"}, "no adapter knows another, and the program chooses its SDK"},
		{"mongofeed", []string{redis, bbolt, postgres, prometheus, path("cmd"), path("tests"), path("asideprom"), path("redisl2"), path("pgfeed"), otter, "testing"}, "no adapter knows another"},
		{"pgfeed", []string{redis, mongo, bbolt, prometheus, path("cmd"), path("tests"), path("redisl2"), path("asideprom"), otter, "testing"}, "no adapter knows another"},
		{service + "httpapi", []string{path(service + "boltstore"), path(service + "mongostore"), path(service + "pgstore"), path("redisl2"), redis, mongo, postgres, bbolt},
			"the API knows todo.Service, which any store serves"},
		{service + "todo", []string{path(service + "boltstore"), path(service + "mongostore"), path(service + "pgstore"), path(service + "httpapi"), path("redisl2"), redis, mongo, postgres, bbolt},
			"the domain knows no technology"},
		{service + "boltstore", []string{mongo, postgres, redis, path(service + "mongostore"), path(service + "pgstore"), path("redisl2")}, "no adapter knows another"},
		{service + "mongostore", []string{bbolt, postgres, redis, path(service + "boltstore"), path(service + "pgstore"), path("redisl2")}, "no adapter knows another"},
		{service + "pgstore", []string{mongo, bbolt, redis, path(service + "boltstore"), path(service + "mongostore"), path("redisl2")}, "no adapter knows another"},
		{"cmd/aside", []string{"testing", path("tests")}, "a program links no tests"},
	} {
		p, ok := pkgs[path(rule.from)]
		if !ok {
			t.Errorf("package %s is gone; so is its rule: %s", rule.from, rule.because)
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

// TestImporters: who alone may import a package. Rules of tests hold for tests too.
func TestImporters(t *testing.T) {
	for _, rule := range []struct {
		of      string
		by      []string
		tests   bool
		because string
	}{
		{redis, []string{"redisl2", "tests/testserver"}, false, "Redis is spoken in one place"},
		{bbolt, []string{"cmd/aside/internal/boltstore"}, false, "the file's layout is known in one place"},
		{path("tests/testserver"), []string{"cmd/aside/internal/browsertest"}, false, "only tests start servers"},
		{path("cmd/aside/internal/browsertest"), nil, false, "only tests start browsers"},
		{path("internal"), []string{".", "asidetest", "redisl2", "tests", "internal"}, true,
			"the reference system uses the library as its readers would, who cannot import what is internal"},
	} {
		used := false
		for _, p := range mustOwn(t) {
			imports := p.Imports
			if rule.tests {
				imports = slices.Concat(imports, p.TestImports, p.XTestImports)
			}
			for _, imported := range imports {
				if !under(imported, rule.of) || under(p.ImportPath, rule.of) {
					continue
				}
				used = true
				if !slices.ContainsFunc(rule.by, func(dir string) bool {
					return p.ImportPath == path(dir) || dir != "." && under(p.ImportPath, path(dir))
				}) {
					t.Errorf("%s imports %s, which only %v may: %s", p.ImportPath, imported, rule.by, rule.because)
				}
			}
		}
		if !used && rule.by != nil {
			t.Errorf("nobody imports %s; its rule is idle: %s", rule.of, rule.because)
		}
	}
}

// TestInternalIsTheLibrarys: what internal holds is part of the library.
func TestInternalIsTheLibrarys(t *testing.T) {
	deps := mustOwn(t)[module].Deps
	for name := range mustOwn(t) {
		if under(name, path("internal")) && !slices.Contains(deps, name) {
			t.Errorf("%s is internal, and the library does not use it", name)
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

// TestNoReplace: a replace in a module's go.mod works here and not for who imports
// the module, and go install PACKAGE@VERSION refuses a command whose module has one.
func TestNoReplace(t *testing.T) {
	for _, dir := range []string{".", "cmd/aside"} {
		file := filepath.Join("..", "..", dir, "go.mod")
		mod, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(mod)) {
			if strings.HasPrefix(strings.TrimSpace(line), "replace") {
				t.Errorf("%s has %s", file, strings.TrimSpace(line))
			}
		}
	}
}
