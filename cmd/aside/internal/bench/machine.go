package bench

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// Machine describes the machine of the load generator. Unknown values are empty.
type Machine struct {
	System    string `json:"system"` // such as linux/amd64
	Go        string `json:"go"`
	Processor string `json:"processor"`
	Memory    int64  `json:"memory_bytes"`
	// Load has the load averages of 1, 5 and 15 minutes at the end of the run.
	Load string `json:"load_average"`
}

func thisMachine() Machine {
	m := Machine{
		System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Processor: procLine("/proc/cpuinfo", "model name"),
	}
	kb, _, _ := strings.Cut(procLine("/proc/meminfo", "MemTotal"), " ")
	if n, err := strconv.ParseInt(kb, 10, 64); err == nil {
		m.Memory = n << 10
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(b)); len(f) >= 3 {
			m.Load = strings.Join(f[:3], " ")
		}
	}
	return m
}

// procLine returns the value of the first line "name: value" in a file of /proc.
func procLine(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if key, value, ok := strings.Cut(in.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
