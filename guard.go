package aside

import (
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"
)

// The application's callbacks run in goroutines of the cache and of its L2, which
// serve others too. A panic of one is contained here: it becomes an error of the
// key that it was called for, is counted, and logged once in a while.

var errGoexit = errors.New("runtime.Goexit was called")

// recovered makes an error of a callback's panic. It must be deferred directly.
func (c *Cache[K, V]) recovered(callback string, err *error) {
	if p := recover(); p != nil {
		*err = c.panicked(callback, p)
	}
}

func (c *Cache[K, V]) panicked(callback string, p any) error {
	err := &PanicError{Callback: callback, Value: p, Stack: debug.Stack()}
	c.n.panics.Add(1)
	c.warn.do("panic of "+callback, func() {
		c.log.Error("a callback panicked, which is taken for an error of its key", "callback", callback, "panic", fmt.Sprint(p), "stack", string(err.Stack))
	})
	return err
}

func (c *Cache[K, V]) encodeValue(v V) (b []byte, err error) {
	defer c.recovered("Codec.Encode", &err)
	return c.opts.Codec.Encode(v)
}

func (c *Cache[K, V]) decodeValue(b []byte) (v V, err error) {
	defer c.recovered("Codec.Decode", &err)
	return c.opts.Codec.Decode(b)
}

func (c *Cache[K, V]) validate(k K, v V) (err error) {
	if c.opts.Validate == nil {
		return nil
	}
	defer c.recovered("Validate", &err)
	if err := c.opts.Validate(k, v); err != nil {
		return fmt.Errorf("not a value of its key: %w", err)
	}
	return nil
}

// version returns the value's version, 0 if there is none.
func (c *Cache[K, V]) version(v V) (n uint64, err error) {
	if c.opts.Version == nil {
		return 0, nil
	}
	defer c.recovered("Version", &err)
	return c.opts.Version(v), nil
}

// tagsOf returns the tags of a value, as Options.Tags tells them.
func (c *Cache[K, V]) tagsOf(v V) (tags []string, err error) {
	defer c.recovered("Tags", &err)
	return slices.Clone(c.opts.Tags(v)), nil
}

// l1Cost is the cost of an entry. One whose cost is not known is not kept, but for
// an absence: a function that cannot do with the zero value has made it 1.
func (c *Cache[K, V]) l1Cost(k K, v V, negative bool) (cost uint32) {
	if negative {
		cost = 1
		defer func() { _ = recover() }()
		return c.opts.L1Cost(k, v)
	}
	err := errGoexit
	defer func() {
		if err != nil {
			cost = math.MaxUint32
		}
	}()
	defer c.recovered("L1Cost", &err)
	if cost, err = c.opts.L1Cost(k, v), nil; c.l2 == nil {
		c.top.big.Raise(k, int64(cost), time.Now())
	}
	return cost
}

func (c *Cache[K, V]) key(k K) (s string, err error) {
	defer c.recovered("Key", &err)
	return c.opts.Key(k), nil
}

func (c *Cache[K, V]) parseKey(s string) (k K, err error) {
	defer c.recovered("ParseKey", &err)
	return c.opts.ParseKey(s)
}

func (c *Cache[K, V]) onLoad(d time.Duration, failed error) {
	if c.opts.OnLoad != nil {
		var err error
		defer c.recovered("OnLoad", &err)
		c.opts.OnLoad(d, failed)
	}
}

func (c *Cache[K, V]) onL2(op string, d time.Duration, failed error) {
	if c.opts.OnL2 != nil {
		var err error
		defer c.recovered("OnL2", &err)
		c.opts.OnL2(op, d, failed)
	}
}

// sound returns err, or a PanicError if one of its methods panics, as those of a nil pointer
// in an error may. From then on everybody may ask what it is.
func sound(err error) (same error) {
	if err == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			same = &PanicError{Callback: "error", Value: fmt.Sprint(p), Stack: debug.Stack()}
		}
	}()
	_ = errors.Is(err, errNone)
	return err
}

var errNone = errors.New("aside: no error is this one")

// definite reports whether an error of a write function says that the primary has
// refused the write.
func (c *Cache[K, V]) definite(outcome error) (yes bool) {
	switch {
	case errors.Is(outcome, ErrAborted):
		return true
	case outcome == errPanicked, c.opts.DefiniteError == nil: // who panics may have committed
		return false
	}
	var err error
	defer c.recovered("DefiniteError", &err)
	return c.opts.DefiniteError(outcome)
}
