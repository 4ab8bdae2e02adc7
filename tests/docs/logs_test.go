package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logLine is a call of a logger.
type logLine struct{ level, message, file string }

// logLines finds the lines that a file may log: calls of Debug, Info, Warn and Error of
// what is called log or Log or Logger, or of slog itself. A message is a literal, or a
// variable that is given literals in the same function.
func logLines(t *testing.T, name, text string) (lines []logLine) {
	f, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	literal := func(e ast.Expr) (string, bool) {
		var b strings.Builder
		for {
			switch x := e.(type) {
			case *ast.BinaryExpr: // "a" + "b"; other operands are shown as …
				right, ok := x.Y.(*ast.BasicLit)
				if ok {
					s, _ := strconv.Unquote(right.Value)
					rest := b.String()
					b.Reset()
					b.WriteString(s + rest)
				} else {
					rest := b.String()
					b.Reset()
					b.WriteString("…" + rest)
				}
				e = x.X
			case *ast.BasicLit:
				s, err := strconv.Unquote(x.Value)
				return s + b.String(), err == nil
			default:
				return "", false
			}
		}
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		assigned := map[string][]string{} // to variables of this function
		ast.Inspect(fn, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
				for i, l := range a.Lhs {
					if id, ok := l.(*ast.Ident); ok {
						if s, ok := literal(a.Rhs[i]); ok {
							assigned[id.Name] = append(assigned[id.Name], s)
						}
					}
				}
			}
			return true
		})
		ast.Inspect(fn, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error", "LogAttrs"}, sel.Sel.Name) {
				return true
			}
			on := ""
			switch x := sel.X.(type) {
			case *ast.Ident:
				on = x.Name
			case *ast.SelectorExpr:
				on = x.Sel.Name
			}
			if !slices.Contains([]string{"log", "Log", "Logger", "slog"}, on) {
				return true
			}
			level, message := strings.ToLower(sel.Sel.Name), call.Args[0]
			if level == "logattrs" {
				level, message = "any", call.Args[2]
			}
			if s, ok := literal(message); ok {
				lines = append(lines, logLine{level, s, name})
			} else if id, ok := message.(*ast.Ident); ok && len(assigned[id.Name]) > 0 {
				for _, s := range assigned[id.Name] {
					lines = append(lines, logLine{level, s, name})
				}
			} else {
				t.Errorf("%s, %s: the message of a log line is not known: use a literal", name, fn.Name.Name)
			}
			return true
		})
	}
	return lines
}

// TestLogLines: docs/reference/logs.md has each line that the library and the service may
// log, with its level, and no other. Caught: lines of which nobody could say what they mean.
func TestLogLines(t *testing.T) {
	all := mustTree(t)
	logged := map[string][]logLine{}
	for name, text := range all.files {
		dir := path.Dir(name)
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "tests/") || strings.HasPrefix(name, "tools/") ||
			strings.HasPrefix(name, "bench/") || strings.HasPrefix(dir, "asidetest") || strings.HasSuffix(dir, "test") || strings.Contains(name, "/testdata/") ||
			strings.HasPrefix(name, "cmd/aside/bench") || name == "cmd/aside/check.go" || strings.HasPrefix(name, "scripts/") || strings.HasPrefix(name, "findings/") {
			continue
		}
		for _, l := range logLines(t, name, text) {
			logged[l.message] = append(logged[l.message], l)
		}
	}
	listed := map[string]string{} // levels by message
	for l := range strings.Lines(all.files["docs/reference/logs.md"]) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(l), "|"), " | ")
		if len(cells) != 3 || !strings.Contains(cells[1], "`") {
			continue
		}
		listed[strings.Trim(strings.TrimSpace(cells[1]), "`")] = strings.TrimSpace(cells[0])
		if strings.TrimSpace(cells[2]) == "" {
			t.Errorf("logs.md does not say what this means: %s", l)
		}
	}
	for short, level := range listed { // a long message ends with …
		if begin, ok := strings.CutSuffix(short, " …"); ok {
			for message := range logged {
				if strings.HasPrefix(message, begin) {
					delete(listed, short)
					listed[message] = level
				}
			}
		}
	}
	for message, lines := range logged {
		var levels []string
		for _, l := range lines {
			if !slices.Contains(levels, l.level) {
				levels = append(levels, l.level)
			}
		}
		slices.Sort(levels)
		if want := strings.Join(levels, ", "); listed[message] != want {
			t.Errorf("logs.md has level %q for this line of %s, want:\n| %s | `%s` | |", listed[message], lines[0].file, want, message)
		}
	}
	for message := range listed {
		if logged[message] == nil {
			t.Errorf("logs.md has a line that nothing logs: %s", message)
		}
	}
	if len(logged) < 30 {
		t.Errorf("saw %d lines only", len(logged))
	}
}
