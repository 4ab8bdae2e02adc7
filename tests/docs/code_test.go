package docs

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"testing"

	// What the pages import, so that go.mod has it.
	_ "github.com/jackc/pgx/v5"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/redis/rueidis"
	_ "go.mongodb.org/mongo-driver/v2/bson"
	_ "go.mongodb.org/mongo-driver/v2/mongo"
	_ "go.mongodb.org/mongo-driver/v2/mongo/options"

	_ "github.com/asidecache/aside"
	_ "github.com/asidecache/aside/asideotel"
	_ "github.com/asidecache/aside/asideprom"
	_ "github.com/asidecache/aside/asidetest"
	_ "github.com/asidecache/aside/driver"
	_ "github.com/asidecache/aside/mongofeed"
	_ "github.com/asidecache/aside/pgfeed"
	_ "github.com/asidecache/aside/redisl2"
)

// imports are the packages that code on a page may use without importing them.
var imports = []string{
	"context", "crypto/tls", "database/sql", "encoding/json", "errors", "fmt", "log", "log/slog", "net/http", "os", "slices", "strconv",
	"strings", "sync", "testing", "testing/synctest", "time",
	"github.com/jackc/pgx/v5", "github.com/redis/rueidis",
	"go.mongodb.org/mongo-driver/v2/bson",
	"go.mongodb.org/mongo-driver/v2/mongo",
	"go.mongodb.org/mongo-driver/v2/mongo/options",
	"github.com/prometheus/client_golang/prometheus",
	"github.com/prometheus/client_golang/prometheus/promhttp",
	"github.com/asidecache/aside",
	"github.com/asidecache/aside/asideotel",
	"github.com/asidecache/aside/asideprom",
	"github.com/asidecache/aside/asidetest",
	"github.com/asidecache/aside/driver",
	"github.com/asidecache/aside/mongofeed",
	"github.com/asidecache/aside/pgfeed",
	"github.com/asidecache/aside/redisl2",
}

// exports finds the compiled packages.
var exports = sync.OnceValues(func() (map[string]string, error) {
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, imports...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, stderr.String())
	}
	files := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return files, nil
		} else if err != nil {
			return nil, err
		}
		files[p.ImportPath] = p.Export
	}
})

// TestCode: the Go code of each page compiles, as one package a page. A block is
// declarations, or the statements of a function, or a whole file with its imports.
// It is formatted.
// What is not declared on the page is in prelude.go.txt.
//
// Caught: aside.Writing, after it had become aside.WriteTx.
func TestCode(t *testing.T) {
	all := mustTree(t)
	files, err := exports()
	if err != nil {
		t.Fatal(err)
	}
	prelude, err := os.ReadFile("prelude.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	n := 0
	for _, p := range all.pages {
		for _, problem := range p.compile(fset, from, string(prelude), &n) {
			t.Error(problem)
		}
	}
	if n < 25 {
		t.Errorf("saw %d blocks of Go only", n)
	}
}

// TestCodeIsCompiled: the compiler above sees what is wrong.
func TestCodeIsCompiled(t *testing.T) {
	files, err := exports()
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	from := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	for _, bad := range []string{
		"u, err := users.Get(ctx, 7)\n",
		"func f() int { return aside.ErrNotFound }\n",
		"package main\n\nfunc main() { undefined() }\n",
		"users.Get(\n",
		"var o aside.Options[int, string]\no.NoBypass = true\n",
	} {
		n := 0
		p := page{path: "bad.md", blocks: []block{{1, "go", bad}}}
		if len(p.compile(fset, from, "type User struct{}\nvar users *aside.Cache[int, User]\n", &n)) == 0 || n != 1 {
			t.Errorf("no fault was found in:\n%s", bad)
		}
	}
}

// compile type-checks the page's Go blocks and returns what is wrong with them.
// Variables that are not used are no fault: a block shows a part of a program.
func (p page) compile(fset *token.FileSet, from types.Importer, prelude string, n *int) (problems []string) {
	var parts []*ast.File
	declared := map[string]bool{}
	for _, b := range p.blocks {
		if b.language != "go" {
			continue
		}
		*n++
		if formatted, err := format.Source([]byte(b.code)); err == nil && string(formatted) != b.code {
			problems = append(problems, fmt.Sprintf("%s:%d: not formatted; gofmt makes of it:\n%s", p.path, b.number, formatted))
		}
		at := fmt.Sprintf("//line %s:%d\n", p.path, b.number)
		if strings.HasPrefix(b.code, "package ") || strings.Contains(b.code, "\npackage ") {
			f, err := parser.ParseFile(fset, "", at+b.code, 0)
			if err != nil {
				problems = append(problems, err.Error())
			} else {
				problems = append(problems, check(fset, from, []*ast.File{f})...)
			}
			continue
		}
		f, err := parser.ParseFile(fset, "", "package p; "+header(b.code)+"\n"+at+b.code, 0)
		if err != nil {
			body := "package p; " + header(b.code) + "func _() error {\n" + at + b.code + "\nreturn nil }\n"
			if f, err = parser.ParseFile(fset, "", body, 0); err != nil {
				problems = append(problems, err.Error())
				continue
			}
		}
		for _, d := range f.Decls {
			for _, name := range names(d) {
				declared[name] = true
			}
		}
		parts = append(parts, f)
	}
	if len(parts) == 0 {
		return problems
	}
	f, err := parser.ParseFile(fset, "prelude.go.txt", "package p; "+header(prelude)+prelude, 0)
	if err != nil {
		return append(problems, err.Error())
	}
	kept := f.Decls[:0]
	for _, d := range f.Decls {
		if ns := names(d); len(ns) == 0 || !declared[ns[0]] {
			kept = append(kept, d)
		}
	}
	f.Decls = kept
	return append(problems, check(fset, from, append(parts, f))...)
}

func check(fset *token.FileSet, from types.Importer, files []*ast.File) (problems []string) {
	config := types.Config{Importer: from, Error: func(err error) {
		if e := (types.Error{}); errors.As(err, &e) && e.Soft {
			return
		}
		problems = append(problems, err.Error())
	}}
	_, _ = config.Check("p", fset, files, nil)
	return problems
}

// header imports what the code seems to use.
func header(code string) string {
	var b strings.Builder
	for _, i := range imports {
		name := path.Base(i)
		if name == "v5" {
			name = path.Base(path.Dir(i))
		}
		if strings.Contains(code, name+".") {
			fmt.Fprintf(&b, "import %q; ", i)
		}
	}
	return b.String()
}

// names are what a declaration declares, but for methods.
func names(d ast.Decl) (all []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.Name != "_" {
			return []string{d.Name.Name}
		}
		if d.Recv != nil { // goes with its type
			return []string{strings.TrimPrefix(types.ExprString(d.Recv.List[0].Type), "*")}
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				all = append(all, s.Name.Name)
			case *ast.ValueSpec:
				for _, id := range s.Names {
					all = append(all, id.Name)
				}
			}
		}
	}
	return all
}

// TestReadmeExample: the code at the top of README.md is that of Example, which
// runs. They differ in what stands for Redis and for the database.
//
// Caught: a line of one that was missing in the other.
func TestReadmeExample(t *testing.T) {
	all := mustTree(t)
	source := all.files["example_test.go"]
	var code string
	for _, p := range all.pages {
		if p.path == "README.md" {
			for _, b := range p.blocks {
				if code == "" && b.language == "go" {
					code = b.code
				}
			}
		}
	}
	if strings.Count(code, "\n") < 15 {
		t.Fatalf("README.md begins with this code only:\n%s", code)
	}
	for l := range strings.Lines(code) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "L2: ") || strings.Contains(source, l) {
			continue
		}
		t.Errorf("README.md has a line that Example does not have: %s", l)
	}
}
