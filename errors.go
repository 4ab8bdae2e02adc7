package aside

import (
	"errors"
	"fmt"
	"strings"

	"github.com/asidecache/aside/driver"
)

// Answers and failures of reads.
var (
	// ErrNotFound is how a Loader says that the primary has no such record. It
	// is an answer, not a failure: it is cached as a negative entry, and reads
	// return it from then on without asking the primary.
	ErrNotFound = errors.New("aside: not found")

	// ErrOverloaded: as many loads run as Options.MaxLoads allows, and as many
	// wait as Options.MaxQueuedLoads allows. Nothing was read.
	ErrOverloaded = errors.New("aside: too many loads")

	// ErrLoadPanicked matches a *PanicError of a loader.
	ErrLoadPanicked = errors.New("aside: loader panicked")

	// ErrNestedLoad: a loader reads a key whose load waits for this one, by itself or
	// through others, or loads are nested too deeply. The read would never end.
	ErrNestedLoad = errors.New("aside: nested load")

	// ErrKey: a key is not equal to itself, such as NaN. What is kept for such a
	// key cannot be found again.
	ErrKey = errors.New("aside: key is not equal to itself")
)

// Failures of writes.
var (
	// ErrL2Unavailable: the L2 tier could not be reached and the policy is
	// FailClosed. From Write it means that the write function did not run.
	ErrL2Unavailable = errors.New("aside: L2 unavailable")

	// ErrUnacknowledged: the write function succeeded, but L2 did not confirm
	// that the key was released. Its fence should stand until it ends, or until
	// the release, which is queued, gets through; but an L2 that failed in the
	// middle of the write may have lost it, and then another node may read an
	// older value. Only with FailClosed.
	ErrUnacknowledged = errors.New("aside: write applied but not acknowledged by L2")

	// ErrAborted matches an error marked with Aborted.
	ErrAborted = errors.New("aside: write aborted")
)

// Errors of an L2 that has answered. They are those of package driver, under the
// names by which an application finds them: in what Clear and a failed Write return,
// and in what Options.OnL2 is told. Neither opens the circuit breaker.
var (
	// ErrL2Key: L2 failed for this key alone, because of what is stored under it.
	// Whether something was changed is unknown.
	ErrL2Key = driver.ErrKeyFailed

	// ErrL2Refused: L2 changed nothing. A retry, or another key, may succeed.
	// Example: Redis is out of memory.
	ErrL2Refused = driver.ErrRefused
)

// ErrClosed is returned by every method of a Cache after Close.
var ErrClosed = errors.New("aside: cache closed")

// PanicError is what callers receive when a loader, or another function of the
// application that the cache called, panicked. Of a loader it matches
// ErrLoadPanicked.
type PanicError struct {
	Callback string // "loader", or the option: "Codec.Decode", "Key", ...
	Value    any
	Stack    []byte // of the goroutine that ran it; not part of Error
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("aside: %s panicked: %v", e.Callback, e.Value)
}

// Is reports whether target is ErrLoadPanicked, and the loader has panicked.
func (e *PanicError) Is(target error) bool {
	return target == ErrLoadPanicked && e.Callback == "loader"
}

// Unwrap returns the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Aborted marks an error of a write function as definite: the primary refused
// the write and will not apply it later (a conflict, a failed validation, a
// missing record). The key is then readable again at once. Any other error
// counts as an unknown outcome: the fence stays until it expires, since the
// primary may still apply the write. Aborted(nil) is nil.
func Aborted(err error) error {
	if err == nil {
		return nil
	}
	return &abortedError{err}
}

type abortedError struct{ err error }

func (e *abortedError) Error() string        { return e.err.Error() }
func (e *abortedError) Unwrap() error        { return e.err }
func (e *abortedError) Is(target error) bool { return target == ErrAborted }

// KeyErrors tells which keys of a bulk read failed, and why. A BulkLoader may
// return one to fail some keys and answer the others; GetMany returns one
// whenever at least one key failed.
type KeyErrors[K comparable] map[K]error

func (e KeyErrors[K]) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "aside: %d keys failed", len(e))
	n := 0
	for k, err := range e {
		if n++; n > 3 {
			b.WriteString("; ...")
			break
		}
		fmt.Fprintf(&b, "; %v: %v", k, err)
	}
	return b.String()
}

// Unwrap returns the errors of the keys, for errors.Is and errors.As.
func (e KeyErrors[K]) Unwrap() []error {
	errs := make([]error, 0, len(e))
	for _, err := range e {
		errs = append(errs, err)
	}
	return errs
}
