package e2e

import "syscall"

// dieWithParent has the system kill the process when this one is gone, however
// it went.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
