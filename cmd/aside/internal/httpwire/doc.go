// Package httpwire sends HTTP requests, one at a time, over keep-alive connections
// of their own.
//
// fasthttp writes and reads the messages. The clients of net/http and fasthttp
// are left out: they try requests again in silence, so that one write may reach
// the server twice and one answer's time be that of two; they share connections
// among callers; and they do not tell whether a request that failed had been
// sent. A [Conn] sends each request once at most, and its [Failure] tells.
package httpwire
