package redisl2

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/asidecache/aside/internal/deadline"
)

// shared is what a connection needs to be used by rueidis and by others directly. rueidis
// hands each command from the caller to its writer, and each answer from its reader to the
// caller. Short commands cost less without that: see conn.exchange.
//
// It stays one connection, since the server tells of changes on the connection that has
// read the keys, in the order of its answers. rueidis goes on reading it. It is known in
// which order commands were written, so whose the next answer is: those of others are
// taken out of what rueidis reads. Pushes are left in.
//
// Each command has one answer. Those that subscribe have none, so this client never does.
type shared struct {
	sending sync.Mutex // held to write
	out     frames     // of rueidis' commands
	begun   int        // bytes of one that is not whole yet

	mu      sync.Mutex
	turns   turns
	ended   bool // no further exchanges: reading failed, or found what it does not know
	in      frames
	reading *exchange   // whose answer comes in; nil: rueidis', or a push
	behind  []*exchange // complete, and rueidis has not yet seen what came before them
}

// turn is the commands of one who wrote, in their order.
type turn struct {
	of    *exchange // nil: rueidis
	n     int       // answers that are still to come
	bytes int
}

// turns are the commands that have no answer yet.
type turns struct {
	all   []turn
	bytes int
}

// shortWrite is how long a write of rueidis may be that goes into the turn of the one before:
// the bytes of a turn are shared out evenly among its answers.
const shortWrite = 512

func (q *turns) add(t turn) {
	q.bytes += t.bytes
	if n := len(q.all); n > 0 && t.of == nil && q.all[n-1].of == nil && t.bytes <= shortWrite {
		q.all[n-1].n += t.n
		q.all[n-1].bytes += t.bytes
		return
	}
	q.all = append(q.all, t)
}

// answered notes an answer of the first turn, and reports whether that was its last.
func (q *turns) answered() (last bool) {
	t := &q.all[0]
	bytes := t.bytes / t.n
	t.bytes -= bytes
	q.bytes -= bytes
	if t.n--; t.n > 0 {
		return false
	}
	q.all = slices.Delete(q.all, 0, 1) // few
	return true
}

// exchange is some commands, and their answers.
type exchange struct {
	commands []byte
	want     int
	answers  []byte // as they came
	done     chan error
}

// used are what exchanges need again. They are the Store's: in a test's bubble of package
// synctest, channels and timers from outside are refused.
type used struct{ exchanges, timers sync.Pool }

func (u *used) exchange() *exchange {
	if x, ok := u.exchanges.Get().(*exchange); ok {
		return x
	}
	return &exchange{done: make(chan error, 1)}
}

func (u *used) timer(d time.Duration) *time.Timer {
	if t, ok := u.timers.Get().(*time.Timer); ok {
		t.Reset(d)
		return t
	}
	return time.NewTimer(d)
}

// exchange sends the commands of x and waits for their answers. ok is false if nothing was
// sent: somebody else writes, or so much is under way that writing might take long, or ctx
// has ended. After an error the answers may still come, and x belongs to the connection.
func (c *conn) exchange(ctx context.Context, x *exchange) (ok bool, err error) {
	h := &c.shared
	if ctx.Err() != nil || !h.sending.TryLock() {
		return false, nil
	}
	if !h.out.between() || !h.begin(turn{x, x.want, len(x.commands)}) {
		h.sending.Unlock()
		return false, nil
	}
	_, err = c.write(x.commands)
	h.sending.Unlock()
	if err != nil {
		_ = c.Close() // rueidis' reader finds out
		return true, err
	}
	return true, c.wait(ctx, x)
}

// begin notes what is about to be written.
func (h *shared) begin(t turn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || t.of != nil && h.turns.bytes+t.bytes > directSize {
		return false
	}
	h.turns.add(t)
	return true
}

func (c *conn) wait(ctx context.Context, x *exchange) error {
	var over <-chan time.Time
	parent, at, apart := deadline.Apart(ctx)
	if apart {
		ctx = parent
		t := c.of.used.timer(time.Until(at))
		defer func() { t.Stop(); c.of.used.timers.Put(t) }()
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

// Write is rueidis': it counts the commands.
func (c *conn) Write(b []byte) (int, error) {
	if c.kind != toServer {
		return c.write(b)
	}
	h := &c.shared
	h.sending.Lock()
	defer h.sending.Unlock()
	t := turn{bytes: h.begun + len(b)}
	for rest := b; len(rest) > 0; {
		n, whole, err := h.out.next(rest)
		if err != nil { // whose the next answers are would not be known
			_ = c.Close()
			return 0, err
		}
		if whole {
			t.n++
		}
		rest = rest[n:]
	}
	if h.begun = t.bytes; t.n > 0 {
		h.begun = 0
		h.begin(t)
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
	h.handOut()
	for {
		n, err := c.read(b)
		n, bad := h.takeOut(b[:n])
		if err == nil {
			err = bad
		}
		if err != nil {
			h.end(err)
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// handOut hands out what came behind something else.
func (h *shared) handOut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, x := range h.behind {
		x.done <- nil
		h.behind[i] = nil
	}
	h.behind = h.behind[:0]
}

// takeOut takes the answers of exchanges out of b, and returns how much is left. An answer
// that comes behind something else waits until that has had its effect: pushes tell of
// changes that came before it.
//
// A frame that it does not know ends the sharing. It is an error while exchanges wait.
func (h *shared) takeOut(b []byte) (left int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := 0; i < len(b); {
		if h.ended {
			return left + copy(b[left:], b[i:]), nil
		}
		if h.in.between() {
			h.reading = nil
			switch {
			case b[i] == '>':
			case len(h.turns.all) == 0: // nobody has asked
				h.ended = true
				continue
			default:
				h.reading = h.turns.all[0].of
			}
		}
		n, whole, err := h.in.next(b[i:])
		if err != nil {
			if slices.ContainsFunc(h.turns.all, func(t turn) bool { return t.of != nil }) {
				return left, err
			}
			h.ended = true
			continue
		}
		part := b[i : i+n]
		i += n
		x := h.reading
		if x != nil {
			x.answers = append(x.answers, part...)
		} else {
			left += copy(b[left:], part)
		}
		if !whole || h.in.first == '>' {
			continue
		}
		if last := h.turns.answered(); !last || x == nil {
			continue
		}
		h.reading = nil
		if left == 0 {
			x.done <- nil
		} else {
			h.behind = append(h.behind, x)
		}
	}
	return left, nil
}

// end ends the exchanges that are under way, and allows no other.
func (h *shared) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for _, x := range h.behind {
		x.done <- err
	}
	h.behind = nil
	for _, t := range h.turns.all {
		if t.of != nil {
			t.of.done <- err
		}
	}
	h.turns = turns{}
}
