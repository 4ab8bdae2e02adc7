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

// release is the version of a build without Git information, such as an image:
// -ldflags "-X main.release=v1.2.3".
var release string

// version is the build information that the Go tool recorded in the binary.
type version struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readVersion() version {
	v := version{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	switch {
	case release != "":
		v.Version = release
	case info.Main.Version != "":
		v.Version = info.Main.Version
	}
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
	fmt.Fprintf(out, "aside %s\n", v.Version)
	if v.Commit != "" {
		changed := ""
		if v.Modified {
			changed = ", with uncommitted changes"
		}
		fmt.Fprintf(out, "commit %s of %s%s\n", v.Commit, v.Time, changed)
	}
	_, err := fmt.Fprintf(out, "%s %s\n", v.Go, v.Platform)
	return err
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
