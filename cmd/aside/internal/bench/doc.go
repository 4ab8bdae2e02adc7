// Package bench sends load to a server of records over HTTP and measures it.
//
// [Run] has two modes.
//
// Closed loop: each user has one keep-alive connection and sends a request when the
// response to its previous one is complete. So a slow server gets fewer requests, and the
// missing ones are in no percentile (coordinated omission). The latencies are those of
// such users, not those of clients that send at a fixed rate.
//
// Open loop: requests are due at fixed times, however slow the server is. A latency starts
// when the request was due. So it includes the wait for one of the limited number of
// connections, and there is no coordinated omission. Every request that was due during the
// run counts: it succeeds, fails, or is dropped after a wait as long as the timeout. The
// backlog at the end is still sent.
//
// Package ids chooses the records, and [Mix] sets the shares of writes. Each interval of a
// run has a [Tally]. Run adds them up to a [Report].
//
// The package often shares the machine with the server, so it needs little CPU: a few
// microseconds per request, most of them in the kernel. The report shows how much it used.
package bench
