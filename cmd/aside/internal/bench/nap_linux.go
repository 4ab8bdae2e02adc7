package bench

import (
	"syscall"
	"time"
)

// nap sleeps more exactly than time.Sleep, but blocks a thread. It may end early.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil)
}
