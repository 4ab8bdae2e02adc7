package history

import (
	"fmt"
	"slices"
	"sync"
)

// Key collects all operations on one key. Their order does not matter.
type Key struct {
	name string

	mu  sync.Mutex
	ops []Op
}

// NewKey returns a key without operations. Violations name it.
func NewKey(name string) *Key { return &Key{name: name} }

// Name returns what NewKey was given.
func (k *Key) Name() string { return k.name }

// Record adds an operation that has ended. It is safe for concurrent use, and
// panics if op has no kind, is a read or a drop of unknown outcome or from outside,
// or returned before it was called: such a history means nothing.
func (k *Key) Record(op Op) {
	switch {
	case op.Kind < Write || op.Kind > Drop:
		panic(fmt.Sprintf("history: operation of kind %d", op.Kind))
	case op.Unknown && !op.isWrite():
		panic(fmt.Sprintf("history: a %s of unknown outcome tells nothing", op.Kind))
	case op.Outside && !op.isWrite():
		panic(fmt.Sprintf("history: a %s past the nodes tells nothing of them", op.Kind))
	case !op.Unknown && op.Return < op.Call:
		panic(fmt.Sprintf("history: returned at %v, called at %v", op.Return, op.Call))
	}
	k.mu.Lock()
	k.ops = append(k.ops, op)
	k.mu.Unlock()
}

// Len returns the number of operations recorded.
func (k *Key) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.ops)
}

func (k *Key) snapshot() []Op {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ops)
}
