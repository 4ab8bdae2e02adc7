package main

import "syscall"

// ownGroup keeps the Ctrl-C of a terminal from a server whose requests are still
// to be finished, and ends it with this process, even if that is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
