package e2e

import "syscall"

// dieWithParent makes the system kill the process when this process ends for any reason.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
