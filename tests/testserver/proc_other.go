//go:build !linux

package testserver

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
)

func dieWithParent(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

// childrenOf returns the processes that pid has started.
func childrenOf(pid int) (children []int) {
	out, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output() // without it there are none
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if n, _ := fmt.Sscan(line, &child, &parent); n == 2 && parent == pid {
			children = append(children, child)
		}
	}
	return children
}
