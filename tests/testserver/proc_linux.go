package testserver

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// dieWithParent makes the kernel send sig to the child when the test binary dies, even
// by SIGKILL or a test time-out, when no cleanup runs.
func dieWithParent(sig syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: sig}
}

// childrenOf returns the processes that pid has started.
func childrenOf(pid int) (children []int) {
	entries, _ := os.ReadDir("/proc") // without it there are none
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent ...; the name may hold anything.
		var parent int
		rest := stat[bytes.LastIndexByte(stat, ')')+1:]
		if n, _ := fmt.Sscanf(string(rest), " %1s %d", new(string), &parent); n == 2 && parent == pid {
			children = append(children, child)
		}
	}
	return children
}
