package main

import (
	"bytes"
	"strings"
	"testing"
)

// A URL that stands where no argument is wanted names the flag that takes it, and is not
// taken for something else. A password in it is not shown. Caught: "unexpected argument"
// and no more; bench took it for a flag of serve; inspect asked another server for a todo
// of that name.
func TestURLWithoutItsFlag(t *testing.T) {
	for _, tt := range []struct{ args, says string }{
		{"bench http://h:1/todos", `unexpected "http://h:1/todos": give the URL of the records with --url`},
		{"bench h:1/todos", `unexpected "h:1/todos": give the URL of the records with --url`},
		{"bench --url http://h:1/todos http://i:1/todos", `unexpected "http://i:1/todos": give the URL of the records with --url`},
		{"bench --compare http://h:1/todos http://i:1/todos", `unexpected "http://i:1/todos": give the URL of the records with --url`},
		{"bench --ttl", "unknown flag --ttl"},
		{"bench -- --ttl 1m", "flags for aside serve need --compare"},
		{"check http://h:1", "aside check --target http://h:1"},
		{"check --target http://h:1 http://i:1", "aside check --target http://i:1"},
		{"check --target http://h:1 postgres://u:hunter2@d/t", "aside check --outside postgres://***@d/t"},
		{"load --count 1 mongodb://u:hunter2@d/t", "aside load --mongo mongodb://***@d/t"},
		{"inspect http://h:1", "aside inspect --admin http://h:1 ID"},
		{"inspect http://h:1 7", "aside inspect --admin http://h:1"},
		{"inspect 7 http://h:1", "aside inspect --admin http://h:1"},
		{"drop http://u:hunter2@h:1", "aside drop --admin http://***@h:1 ID"},
		{"drop https://h:1 7", "aside drop --admin https://h:1"},
		{"top http://h:1", "aside top --admin http://h:1"},
		{"nodes [::1]:8001", "aside nodes --admin http://[::1]:8001"},
		{"health http://h:1/readyz", "aside health --url http://h:1/readyz"},
		{"serve redis://u:hunter2@h", "aside serve --redis redis://***@h"},
		{"serve postgres://u:hunter2@d/t", "aside serve --postgres postgres://***@d/t"},
		{"serve http://h:1", "unexpected argument http://h:1\nRun"}, // it has no flag for that
		{"top seven", "unexpected argument seven\nRun"},
	} {
		var out, errOut bytes.Buffer
		if code := run(strings.Fields(tt.args), &out, &errOut); code != exitUsage {
			t.Errorf("%s: exit code %d", tt.args, code)
		}
		if said := errOut.String(); !strings.Contains(said, tt.says) || strings.Contains(said, "hunter2") {
			t.Errorf("%s: want %q in\n%s", tt.args, tt.says, said)
		}
	}
	// An id can be any text, and the values of serve's flags too.
	for _, args := range []string{
		"inspect --admin http://127.0.0.1:1 http://example.com/a", "drop http://example.com/a --admin http://127.0.0.1:1", "inspect a:1 --admin http://127.0.0.1:1",
	} {
		var out, errOut bytes.Buffer
		if code := run(strings.Fields(args), &out, &errOut); code != 1 || !strings.Contains(errOut.String(), "does not answer") {
			t.Errorf("%s: exit code %d\n%s", args, code, errOut.String())
		}
	}
	c := BenchCmd{BenchComparison: BenchComparison{ServeFlags: []string{"--cache-name", "http://a", "--node=b", "http://c"}}}
	if urls := c.strayURLs(); len(urls) != 1 || urls[0] != "http://c" {
		t.Errorf("stray: %v", urls)
	}
}
