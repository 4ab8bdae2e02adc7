package aside

import (
	"errors"
	"fmt"
	"strings"

	"github.com/asidecache/aside/driver"
)

// Answers and failures of reads.
var (
	// ErrNotFound: the primary has no such record. A Loader returns it. It is an
	// answer, not a failure: the cache stores it as a negative entry, and later reads
	// return it without asking the primary.
	ErrNotFound = errors.New("aside: not found")

	// ErrOverloaded: as many loads run as Options.MaxLoads allows, and either as many
	// wait as Options.MaxQueuedLoads allows, or LoadTimeout passed while this one
	// waited. Nothing was read.
	ErrOverloaded = errors.New("aside: too many loads")

	// ErrLoadPanicked matches a *PanicError of a loader.
	ErrLoadPanicked = errors.New("aside: loader panicked")

	// ErrNestedLoad: a loader reads a key whose own load waits for this loader,
	// directly or through other loads, so the read would never end. Or loads are nested
	// too deeply.
	ErrNestedLoad = errors.New("aside: nested load")

	// ErrNoLoader: the read was given no loader, and the cache has none of its own. See
	// Options.Loader and Options.BulkLoader.
	ErrNoLoader = errors.New("aside: no loader")

	// ErrKey: a key is not equal to itself, such as NaN. A cache could never find its
	// entry again. GetMany and ReadMany return it for all of their keys, and no values.
	ErrKey = errors.New("aside: key is not equal to itself")
)

// Failures of writes.
var (
	// ErrL2Unavailable: L2 is unavailable. Writes and invalidations return it only with
	// FailClosed. If Write returns it, the write function did not run. Peek, Clear and
	// Close return it with any policy.
	ErrL2Unavailable = errors.New("aside: L2 unavailable")

	// ErrUnacknowledged: the write function succeeded, but L2 did not confirm the
	// release of the key. The release is queued. Until it is delivered, or the fence
	// ends, the fence normally protects the key. But if L2 failed during the write, it
	// may have lost the fence, and another node may read an older value. Only FailClosed
	// returns this error.
	ErrUnacknowledged = errors.New("aside: write applied but not acknowledged by L2")

	// ErrAborted matches an error marked with Aborted.
	ErrAborted = errors.New("aside: write aborted")
)

// Errors of an L2 that has answered. They are the errors of package driver. An
// application gets them from Clear, from a failed Write, and in Options.OnL2. They do
// not open the circuit breaker.
var (
	// ErrL2Key: L2 failed for this key alone, because of what is stored under it.
	// Whether something was changed is unknown.
	ErrL2Key = driver.ErrKeyFailed

	// ErrL2Refused: L2 changed nothing. A retry, or another key, may succeed.
	// Example: Redis is out of memory.
	ErrL2Refused = driver.ErrRefused
)

// ErrClosed is returned by methods of a Cache after Close. Another fault of the call comes
// first: an ended context, ErrKey, or ErrNoLoader. These calls have nothing to do, and return
// no error: Peek without L2 or with SkipL2, and GetMany, ReadMany and Warm without keys.
var ErrClosed = errors.New("aside: cache closed")

// PanicError is returned if a function of the application panicked that the cache
// has called: a loader, a codec, or another option. If it was a loader, the error
// matches ErrLoadPanicked.
type PanicError struct {
	Callback string // "loader", or the option: "Codec.Decode", "Key", ...; "error": a method of an error
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

// Aborted marks an error of a write function as definite: the primary has refused
// the write and will not apply it later, such as for a conflict, a failed validation
// or a missing record. The key can then be cached again at once. After any other
// error the outcome is unknown, since the primary may still apply the write, and the
// fence stays until it expires. Aborted(nil) is nil.
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

// KeyErrors contains the keys of a bulk read that failed, with their errors. A
// BulkLoader may return it to fail some keys and answer the others. GetMany returns
// it if at least one key failed.
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
