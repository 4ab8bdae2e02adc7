// Package loadtest drives a server of records over HTTP and measures it.
//
// Run starts a number of users. Each has one keep-alive connection and asks for
// GET URL/ID after GET URL/ID, the next one when the answer to the last is
// complete: a closed loop. A slow server is therefore asked less often, and the
// requests that it would have had to answer meanwhile are in no percentile
// (coordinated omission): the latencies tell what the users of such a loop saw,
// not what arrivals at a fixed rate would see.
//
// Which record is next, a [Workload] says. What was measured is in intervals,
// each a [Tally], that [Run] adds up to a [Report].
//
// It shares the machine with the server under test more often than not, so it
// is made to need little: a request costs it a few microseconds of CPU. What it
// needed is in the report.
package loadtest
