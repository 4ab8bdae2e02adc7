package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// helpTexts are the commands, "" for none, and their help until the flags.
func helpTexts(t *testing.T) (model *kong.Application, texts map[string]string) {
	t.Helper()
	parser, err := kong.New(&cli{}, kong.Name("aside"), kong.Description(description))
	if err != nil {
		t.Fatal(err)
	}
	texts = map[string]string{"": description}
	for _, command := range parser.Model.Children {
		texts[command.Name] = command.Detail
	}
	return parser.Model, texts
}

// What stands before the flags fits a small terminal: the examples are not scrolled away.
// Caught: 55 lines of text before the first flag of aside bench.
func TestHelpFitsAScreen(t *testing.T) {
	_, texts := helpTexts(t)
	for command := range texts {
		args := append(strings.Fields(command), "--help")
		out, _, _ := asideRun(t, []string{"COLUMNS=80", "LINES=24"}, args...)
		flags := regexp.MustCompile(`(?m)^  +-`).FindStringIndex(out)
		if flags == nil {
			t.Errorf("aside %s --help has no flags:\n%s", command, out)
			continue
		}
		before := strings.Split(out[:flags[0]], "\n")
		before = before[:len(before)-2] // the heading of the flags, and what follows it
		if len(before) > 24 {
			t.Errorf("aside %s --help has %d lines before its flags, want at most 24:\n%s", command, len(before), out[:flags[0]])
		}
		if !strings.Contains(out[:flags[0]], "\n    aside ") {
			t.Errorf("aside %s --help has no example before its flags", command)
		}
	}
}

// elsewhere matches the examples that need what a test has not got: other machines, two
// nodes, a Redis on its usual port, an archive.
var elsewhere = regexp.MustCompile(`db1|cache1|127\.0\.0\.1:(8001|6379)|\.archive`)

// The examples work as they stand, on a demo that runs beside them. Caught: 404 for nearly
// all requests of aside bench.
func TestHelpExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs each example")
	}
	demo := start(t, nil, "demo")
	env := []string{"ASIDE_HEALTH_URL=" + demo.url + "/healthz", "ASIDE_ADMIN_URL=" + demo.url}
	dir := t.TempDir() // for the others
	run := func(args ...string) (string, error) {
		cmd := command(t, env, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("load", "--count", "1000"); err != nil {
		t.Fatal(out)
	}
	if err := os.WriteFile(filepath.Join(dir, "todos.jsonl"), []byte(`{"id":"j","name":"n"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	model, texts := helpTexts(t)
	ran := map[string]bool{}
	for _, text := range texts {
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
			if !strings.HasPrefix(line, "    aside ") || elsewhere.MatchString(line) {
				continue
			}
			example := strings.ReplaceAll(strings.TrimSpace(line), "127.0.0.1:8000", strings.TrimPrefix(demo.url, "http://"))
			example = regexp.MustCompile(`--duration \S+`).ReplaceAllString(example, "")
			args := strings.Fields(regexp.MustCompile(`--rounds \d+`).ReplaceAllString(example, "--rounds 1"))[1:]
			ran[args[0]] = true
			if args[0] == "demo" || args[0] == "serve" {
				p := start(t, env, args...)
				p.signal(os.Interrupt)
				p.wantExit(0)
				continue
			}
			if args[0] == "bench" || args[0] == "check" {
				args = append(args, "--duration", "1s")
			}
			if args[0] == "bench" && !strings.Contains(example, "--compare") {
				args = append(args, "--url", demo.url+"/todos")
			}
			if out, err := run(args...); err != nil {
				t.Errorf("%s: %v\n%s", example, err, out)
			}
		}
	}
	for _, command := range model.Children {
		if !ran[command.Name] {
			t.Errorf("no example of aside %s was run", command.Name)
		}
	}
}
