package httpwire

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Kind is what was wrong with a request that got no complete answer.
type Kind string

// The kinds. Nothing was sent with the first two.
const (
	Refused      Kind = "connection refused"
	NotConnected Kind = "no connection"
	TimedOut     Kind = "timeout"
	Closed       Kind = "closed without an answer"
	Truncated    Kind = "truncated answer"
	Malformed    Kind = "malformed answer"
)

// Failure is a request that got no complete answer.
type Failure struct {
	Kind   Kind
	Detail string
	// Sent: at least a part of the request went out, so that the server may have
	// acted on it, or may do so yet.
	Sent bool
	// Began is just before the request was written; zero if it came not so far.
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
