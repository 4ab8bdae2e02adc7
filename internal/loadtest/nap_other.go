//go:build !linux

package loadtest

import "time"

func nap(d time.Duration) { time.Sleep(d) }
