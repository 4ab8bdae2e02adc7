// Package httpwire sends HTTP requests over keep-alive connections, one request at a time
// on each connection.
//
// fasthttp writes and reads the messages. The clients of net/http and fasthttp are not
// used, for three reasons: they retry requests silently, so that a write may reach the
// server twice and a latency may be that of two requests; they share connections among
// callers; and they do not tell whether a failed request was sent. A [Conn] sends each
// request at most once, and its [Failure] tells whether it was sent.
package httpwire
