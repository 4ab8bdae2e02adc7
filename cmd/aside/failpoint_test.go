package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Only a binary for tests has failpoints. Caught: an import in a file without the build
// tag.
func TestNoFailpointsWithoutTag(t *testing.T) {
	links := func(flags ...string) bool {
		cmd := exec.Command("go", append(append([]string{"list", "-deps"}, flags...), ".")...)
		cmd.Env = append(os.Environ(), "GOWORK=") // use the workspace, however the tests were built
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return slices.Contains(strings.Fields(string(out)), "github.com/asidecache/aside/cmd/aside/internal/failpoint")
	}
	if links() {
		t.Error("the binary contains failpoints")
	}
	if !links("-tags", "failpoints") {
		t.Error("the binary with the tag has no failpoints: this test checks the wrong package")
	}
	p := start(t, nil, "serve", "--data", t.TempDir(), "--admin", "127.0.0.1:0")
	p.want(p.do("GET", p.admin+"/failpoints", ""), 404)
	p.want(p.do("PUT", p.admin+"/failpoints/write.after", `{"action":"kill"}`), 404)
}
