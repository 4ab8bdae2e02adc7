package main

import (
	"fmt"
	"time"
)

// LatencyFlags give the store the latency that a database has over a network.
type LatencyFlags struct {
	StoreLatency time.Duration `help:"Add this time to each call of the store, give or take a fifth, as a database behind a network would. The embedded store answers within microseconds, so that a comparison with it shows little. For demonstrations and measurements; the log, /readyz and the reports of aside bench say it. Default: none, for the demo 2ms." placeholder:"DURATION" default:"-1ns" env:"ASIDE_STORE_LATENCY" group:"Primary store"`
}

const (
	demoLatency = 2 * time.Millisecond
	maxLatency  = time.Second
)

func (f *LatencyFlags) check() error {
	if f.StoreLatency != notGiven && (f.StoreLatency < 0 || f.StoreLatency > maxLatency) {
		return fmt.Errorf("--store-latency must be 0s to %v, is %v", maxLatency, f.StoreLatency)
	}
	return nil
}

// added returns the latency that is added; 0 if none is.
func (f *LatencyFlags) added() time.Duration { return max(f.StoreLatency, 0) }
