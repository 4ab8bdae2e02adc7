//go:build !linux

package ownredis

import "syscall"

// endsWithThread: only Linux can end a process with the one that started it.
func endsWithThread() *syscall.SysProcAttr { return nil }
