package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	stdout, _, code := asideRun(t, nil, "version")
	if code != 0 || !strings.HasPrefix(stdout, "aside v") || strings.Contains(stdout, devel) || !strings.Contains(stdout, "\ncommit ") || !strings.Contains(stdout, "\ngo1") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	stdout, _, code = asideRun(t, nil, "version", "--json")
	var v version
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != 0 || !strings.HasPrefix(v.Version, "v") || v.Go == "" || v.Platform == "" {
		t.Errorf("exit %d, %v: %s", code, err, stdout)
	}
}

// The version is the best that a build knows. Caught: (devel) for builds without Git
// information.
func TestVersionOf(t *testing.T) {
	vcs := []debug.BuildSetting{
		{Key: "vcs.revision", Value: "c0ffee"}, {Key: "vcs.time", Value: "2026-11-28T10:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}
	for _, tt := range []struct {
		name             string
		info             debug.BuildInfo
		release, commit  string
		want, wantCommit string
	}{
		{"go install of a release", debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "", "",
			"v1.2.3", "commit unknown: this build has no Git information"},
		{"go build in a clone", debug.BuildInfo{Main: debug.Module{Version: "v1.2.4-0.20261128100000-c0ffee+dirty"}, Settings: vcs}, "", "",
			"v1.2.4-0.20261128100000-c0ffee+dirty", "commit c0ffee of 2026-11-28T10:00:00Z, with uncommitted changes"},
		{"an image", debug.BuildInfo{Main: debug.Module{Version: devel}}, "v1.2.3", "c0ffee", "v1.2.3", "commit c0ffee"},
		{"an image of no release", debug.BuildInfo{Main: debug.Module{Version: devel}}, devel, "", lastRelease + " or later", ""},
		{"go run", debug.BuildInfo{Main: debug.Module{Version: devel}}, "", "", lastRelease + " or later", "commit unknown: this build has no Git information"},
		{"without build information", debug.BuildInfo{}, "", "", lastRelease + " or later", ""},
	} {
		v := versionOf(&tt.info, tt.release, tt.commit)
		if v.Version != tt.want || tt.wantCommit != "" && v.commitLine() != tt.wantCommit {
			t.Errorf("%s: %q, %q; want %q, %q", tt.name, v.Version, v.commitLine(), tt.want, tt.wantCommit)
		}
	}
}

// scripts/release.sh writes the release here and into go.mod. Caught: it knew only go.mod.
func TestLastRelease(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if required := regexp.MustCompile(`github.com/asidecache/aside (v\S+)`).FindSubmatch(mod); required == nil || string(required[1]) != lastRelease {
		t.Errorf("lastRelease is %s, go.mod requires %s", lastRelease, required)
	}
}

// Builds of this clone without Git information, as newcomers and CI make them.
func TestVersionOfGoRun(t *testing.T) {
	if testing.Short() {
		t.Skip("it links the program")
	}
	for _, flags := range []string{"", "-buildvcs=false"} {
		cmd := exec.Command("go", "run", "./cmd/aside", "version")
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append(os.Environ(), "GOFLAGS="+flags, "GOWORK=")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || !regexp.MustCompile(`^aside v\d+\.\d+\.\d+`).Match(out) || strings.Contains(string(out), devel) {
			t.Errorf("GOFLAGS=%s: %v: %s%s", flags, err, out, &stderr)
		}
	}
}
