package report

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Machine is where and when a table was made.
type Machine struct {
	Date       string `json:"date"`
	Commit     string `json:"commit"`
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Memory     string `json:"memory"`
	System     string `json:"system"`
	Go         string `json:"go"`
	Redis      string `json:"redis"`
	Load       string `json:"load"` // averages when the run began
}

// Here describes this machine. What cannot be found out is "unknown".
func Here(ctx context.Context, redisServer string) Machine {
	return Machine{
		Date:       time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Commit:     commit(ctx),
		Processor:  field("/proc/cpuinfo", "model name"),
		Processors: runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		Memory:     memory(),
		System:     output(ctx, "uname", "-sr"),
		Go:         runtime.Version(),
		Redis:      redisVersion(ctx, redisServer),
		Load:       load(),
	}
}

func (m Machine) settings() []Setting {
	return []Setting{
		{"date", m.Date},
		{"commit", m.Commit},
		{"processor", fmt.Sprintf("%s, %d of them, GOMAXPROCS %d", m.Processor, m.Processors, m.GOMAXPROCS)},
		{"memory", m.Memory},
		{"system", m.System},
		{"Go", m.Go},
		{"Redis", m.Redis},
		{"load of the machine at the start", m.Load},
	}
}

const unknown = "unknown"

// output is the first line that a program prints.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || first == "" {
		return unknown
	}
	return first
}

// commit of the working directory, and whether files differ from it, other than
// results.
func commit(ctx context.Context) string {
	hash := output(ctx, "git", "rev-parse", "--short=12", "HEAD")
	if hash == unknown {
		return hash
	}
	if changed := output(ctx, "git", "status", "--porcelain", "--", ":/", ":(exclude,top)bench/results"); changed != unknown {
		hash += ", with the files as they were"
	}
	return hash
}

// field is the value of the first line "name : value" of a file.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return unknown
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

func memory() string {
	kb, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 64)
	if err != nil {
		return unknown
	}
	return fmt.Sprintf("%.0f GiB", kb/(1<<20))
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) >= 3 {
		return strings.Join(f[:3], ", ")
	}
	return unknown
}

// redisVersion is "Redis server v=7.0.15" without what is about its build.
func redisVersion(ctx context.Context, server string) string {
	line, _, _ := strings.Cut(output(ctx, server, "--version"), " sha=")
	return line
}

// Version of a module that this program was built with.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok || module == "" {
		return ""
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			return "this commit"
		}
		return m.Version
	}
	return unknown
}
