package redisl2

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/internal/deadline"
)

// shared is what a connection needs to be used by rueidis and, while nothing of rueidis'
// is under way, by one caller directly. rueidis hands each command from the caller to its
// writer, and each answer from its reader to the caller. A caller who is alone pays for
// that more than for the command, so it writes by itself: see conn.exchange.
//
// It stays one connection, since the server tells of changes on the connection that has
// read the keys, in the order of its answers. rueidis goes on reading it. The answers of a
// caller's commands are taken out of what it reads, and pushes are left in.
type shared struct {
	sending sync.Mutex // held to write
	out     frames     // of rueidis' commands
	sent    uint64     // those

	got    atomic.Uint64 // answers that rueidis had, or has now
	in     frames
	mine   bool                     // the frame that comes in is an answer for own
	own    atomic.Pointer[exchange] // under way
	behind *exchange                // complete, and rueidis has not yet seen what came before it

	ended atomic.Bool // no further exchanges: reading failed, or found what it does not know
}

// exchange is some commands of a caller, and their answers.
type exchange struct {
	commands []byte
	want     int    // answers that are still to come
	answers  []byte // as they came
	done     chan error
}

var exchanges = sync.Pool{New: func() any { return &exchange{done: make(chan error, 1)} }}

// exchange sends the commands of x and waits for their answers, if nothing else is under
// way. ok is false if nothing was sent. After an error the answers may still come, and x
// belongs to the connection.
func (c *conn) exchange(ctx context.Context, x *exchange) (ok bool, err error) {
	h := &c.shared
	if !h.sending.TryLock() {
		return false, nil
	}
	if h.ended.Load() || !h.out.between() || h.sent != h.got.Load() || !h.own.CompareAndSwap(nil, x) {
		h.sending.Unlock()
		return false, nil
	}
	if h.ended.Load() { // perhaps after the reader has looked for an exchange to end
		if !h.own.CompareAndSwap(x, nil) {
			<-x.done
		}
		h.sending.Unlock()
		return false, nil
	}
	_, err = c.write(x.commands)
	h.sending.Unlock()
	if err != nil {
		_ = c.Close() // rueidis' reader finds out
		return true, err
	}
	return true, x.wait(ctx)
}

func (x *exchange) wait(ctx context.Context) error {
	var over <-chan time.Time
	parent, at, apart := deadline.Apart(ctx)
	if apart {
		ctx = parent
		t := timers.Get().(*time.Timer)
		t.Reset(time.Until(at))
		defer func() { t.Stop(); timers.Put(t) }()
		over = t.C
	}
	select {
	case err := <-x.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return context.DeadlineExceeded
	}
}

var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}}

// Write is rueidis': it counts the commands.
func (c *conn) Write(b []byte) (int, error) {
	if c.kind != toServer {
		return c.write(b)
	}
	h := &c.shared
	h.sending.Lock()
	defer h.sending.Unlock()
	for rest := b; len(rest) > 0; {
		n, whole, err := h.out.next(rest)
		if err != nil {
			h.ended.Store(true)
			break
		}
		if whole {
			h.sent++
		}
		rest = rest[n:]
	}
	return c.write(b)
}

// Read is rueidis': it never sees the answers of an exchange. It is called when all that
// it returned before has had its effect.
func (c *conn) Read(b []byte) (int, error) {
	if c.kind != toServer {
		return c.read(b)
	}
	h := &c.shared
	if x := h.behind; x != nil {
		h.behind = nil
		x.done <- nil
	}
	for {
		n, err := c.read(b)
		n = h.takeOut(b[:n])
		if err != nil {
			h.end(err)
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// takeOut takes the answers of an exchange out of b, and returns how much is left. An
// answer that comes behind something else waits until that has had its effect: pushes tell
// of changes that came before it.
func (h *shared) takeOut(b []byte) (left int) {
	if h.ended.Load() {
		return len(b)
	}
	for i := 0; i < len(b); {
		x := h.own.Load()
		if h.in.between() {
			h.mine = x != nil && b[i] != '>'
		}
		n, whole, err := h.in.next(b[i:])
		if err != nil {
			h.end(err)
			return left + copy(b[left:], b[i:])
		}
		switch part := b[i : i+n]; {
		case h.mine:
			x.answers = append(x.answers, part...)
			if whole {
				x.want--
			}
			if x.want == 0 {
				h.own.Store(nil)
				if left == 0 {
					x.done <- nil
				} else {
					h.behind = x
				}
			}
		default:
			left += copy(b[left:], part)
			if whole && h.in.first != '>' {
				h.got.Add(1)
			}
		}
		i += n
	}
	return left
}

// end ends the exchange that is under way, and allows no other.
func (h *shared) end(err error) {
	h.ended.Store(true)
	if x := h.own.Swap(nil); x != nil {
		x.done <- err
	}
	if x := h.behind; x != nil {
		h.behind = nil
		x.done <- nil
	}
}
