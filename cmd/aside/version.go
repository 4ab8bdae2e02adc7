package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// VersionCmd is "aside version".
type VersionCmd struct {
	JSON bool `name:"json" help:"Print the version as JSON."`
}

// Help is shown by "aside version --help".
func (*VersionCmd) Help() string {
	return `Prints the version, the commit, and the Go version of this program.

    aside version
    aside version --json`
}

// release and commit are for builds without Git information, such as an image:
// -ldflags "-X main.release=v1.2.3 -X main.commit=COMMIT".
var release, commit string

// lastRelease is the release that this source is, or follows. scripts/release.sh sets it.
const lastRelease = "v0.1.0"

// version is what is known about the build.
type version struct {
	// Version is a release, a version that the Go tool made from the commit, or, where
	// neither is known, the last release "or later".
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"` // of the commit
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readVersion() version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(info, release, commit)
}

// devel is the version in the build information of a build without Git information.
const devel = "(devel)"

func versionOf(info *debug.BuildInfo, release, commit string) version {
	v := version{Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	switch {
	case release != "" && release != devel:
		v.Version = release
	case info.Main.Version != "" && info.Main.Version != devel:
		v.Version = info.Main.Version
	default:
		v.Version = lastRelease + " or later"
	}
	return v
}

// Run prints the version.
func (c *VersionCmd) Run(out io.Writer) error {
	v := readVersion()
	if c.JSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	_, err := fmt.Fprintf(out, "aside %s\n%s\n%s %s\n", v.Version, v.commitLine(), v.Go, v.Platform)
	return err
}

func (v version) commitLine() string {
	if v.Commit == "" {
		return "commit unknown: this build has no Git information"
	}
	line := "commit " + v.Commit
	if v.Time != "" {
		line += " of " + v.Time
	}
	if v.Modified {
		line += ", with uncommitted changes"
	}
	return line
}

// buildInfo exports the version to Prometheus.
func buildInfo() prometheus.Collector {
	v := readVersion()
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "aside_build_info", Help: "Always 1. The labels tell the version of the server.",
		ConstLabels: prometheus.Labels{"version": v.Version, "commit": v.Commit, "go": v.Go},
	})
	g.Set(1)
	return g
}
