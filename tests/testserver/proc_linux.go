package testserver

import "syscall"

// dieWithParent makes the kernel kill the child when the test binary dies, even
// by SIGKILL or a test time-out, when no cleanup runs.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
