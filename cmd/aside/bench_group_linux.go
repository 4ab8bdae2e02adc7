package main

import "syscall"

// ownGroup puts a server into a process group of its own: Ctrl-C on the terminal does
// not reach it before its requests are finished. The server ends when this process
// ends, even if this process is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
