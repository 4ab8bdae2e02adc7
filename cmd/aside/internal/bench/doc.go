// Package bench drives a server of records over HTTP and measures it.
//
// [Run] does it in one of two ways.
//
// Closed loop: a number of users, each with one keep-alive connection, send a
// request when the answer to their last is complete. A slow server is therefore
// asked less often, and the requests that it would have had to answer meanwhile
// are in no percentile (coordinated omission): the latencies tell what the users
// of such a loop saw, not what arrivals at a fixed rate would see.
//
// Open loop: requests arrive on a schedule that the server cannot slow down. The
// latency of each counts from when it was to be sent, so that waiting for one of
// the connections, whose number is bounded, is part of it: it is free of
// coordinated omission. Every arrival within the run's duration is accounted
// for: it succeeds, fails, or is dropped when it has waited for as long as a
// request may take; what has piled up at the end is still sent.
//
// Which records are asked for, package ids says, and [Mix] how many of the
// requests are writes. What was measured is in intervals, each a [Tally], that
// Run adds up to a [Report].
//
// It shares the machine with the server under test more often than not, so it
// is made to need little: a request costs it a few microseconds of CPU, most of
// them in the kernel. What it needed is in the report.
package bench
