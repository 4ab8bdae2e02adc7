package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Failpoints are in a binary for tests alone. Caught: the import in a file
// without the build tag.
func TestNoFailpointsWithoutTheirTag(t *testing.T) {
	links := func(flags ...string) bool {
		cmd := exec.Command("go", append(append([]string{"list", "-deps"}, flags...), ".")...)
		cmd.Env = append(os.Environ(), "GOWORK=") // the workspace, whatever the tests were built with
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(strings.Fields(string(out)), "github.com/asidecache/aside/cmd/aside/internal/failpoint")
	}
	if links() {
		t.Error("the binary links them")
	}
	if !links("-tags", "failpoints") {
		t.Error("with the tag it does not either: this test looks for something else")
	}
	p := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0")
	p.want(p.do("GET", p.admin+"/failpoints", ""), 404)
	p.want(p.do("PUT", p.admin+"/failpoints/write.after", `{"action":"kill"}`), 404)
}
