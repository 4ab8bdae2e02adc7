package ownredis

import "syscall"

// endsWithThread has the kernel kill the server when the thread that started it ends. The
// server is in a process group of its own: Ctrl-C on the terminal does not reach it before
// its clients are done.
func endsWithThread() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
