//go:build !unix

package loadtest

import "time"

func cpuTime() (d time.Duration, ok bool) { return 0, false }
