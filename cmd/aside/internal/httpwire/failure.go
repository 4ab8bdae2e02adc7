package httpwire

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Kind is the kind of failure of a request without a complete response.
type Kind string

// The kinds. With the first two, nothing was sent.
const (
	Refused      Kind = "connection refused"
	NotConnected Kind = "no connection"
	TimedOut     Kind = "timeout"
	Closed       Kind = "closed without a response"
	Truncated    Kind = "truncated response"
	Malformed    Kind = "malformed response"
)

// Failure is the error of a request without a complete response.
type Failure struct {
	Kind   Kind
	Detail string
	// Sent: at least a part of the request was sent, so the server may have processed
	// it, or may still do so.
	Sent bool
	// Began is the time just before the request was written; zero if it was not.
	Began time.Time
}

func dialFailure(err error) *Failure {
	f := &Failure{Kind: NotConnected, Detail: err.Error()}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Kind = Refused
	case isTimeout(err):
		f.Kind = TimedOut
	}
	return f
}

func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
