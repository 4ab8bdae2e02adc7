// Package failpoint stops, delays, deceives or kills a program at named points
// of its work, for tests of what is left behind. Only a binary built with the
// tag "failpoints" has it.
package failpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// The points of a Store's calls.
const (
	LoadBefore  = "load.before"  // a record is about to be read
	LoadAfter   = "load.after"   // it was read
	WriteBefore = "write.before" // a write is about to be sent; an update has been read and computed
	WriteAfter  = "write.after"  // it was committed
)

// Names are the points' names.
func Names() []string { return []string{LoadAfter, LoadBefore, WriteAfter, WriteBefore} }

// Action is what happens at a point.
type Action string

// The actions.
const (
	Kill     Action = "kill"     // SIGKILL to the process
	Stop     Action = "stop"     // SIGSTOP to the process; goes on after SIGCONT
	Hang     Action = "hang"     // wait for a while, or until released
	Wait     Action = "wait"     // wait until released
	Unknown  Action = "unknown"  // fail with todo.ErrUnknownOutcome; of writes
	Deadline Action = "deadline" // fail with context.DeadlineExceeded
	Late     Action = "late"     // at WriteBefore: fail as Unknown, and be written once released
)

// Spec arms a point.
type Spec struct {
	Action Action
	// ID of the record whose operations it happens to; "": any.
	ID  string
	For time.Duration // of Hang
	// Times is how many operations it happens to; 0 means 1, negative all.
	Times int
	// IgnoreContext: the operation goes on when its context has ended, as in a
	// client that knows no deadlines. Hang and Wait end with the context otherwise.
	IgnoreContext bool
}

// Status is how a point stands.
type Status struct {
	Spec        // zero if it is not armed
	Hits   int  // operations it happened to since it was last armed
	Held   int  // of these: operations that hang or wait now
	Active bool // it will happen to further operations
}

// Set is the points of one program. Make one with NewSet.
type Set struct {
	mu     sync.Mutex
	points map[string]*arming
	change chan struct{} // closed and replaced at every change of a Status
}

// arming is a point from one Arm to the next. It is replaced, never reused, so
// that an operation that began under an older one does not meet a newer one.
type arming struct {
	set *Set
	Status
	left     int
	released chan struct{}
}

// NewSet returns a Set with all points disarmed.
func NewSet() *Set {
	s := &Set{points: map[string]*arming{}, change: make(chan struct{})}
	for _, name := range Names() {
		s.points[name] = s.newArming(Spec{}, 0)
	}
	return s
}

func (s *Set) newArming(spec Spec, times int) *arming {
	return &arming{set: s, Status: Status{Spec: spec, Active: times != 0}, left: times, released: make(chan struct{})}
}

// ErrSpec is matched by the error of Arm.
var ErrSpec = errors.New("failpoint: cannot be armed so")

// Arm arms a point for the operations that begin from now on. Those that an
// older arming holds are released.
func (s *Set) Arm(name string, spec Spec) error {
	load := name == LoadBefore || name == LoadAfter
	switch {
	case !slices.Contains(Names(), name):
		return fmt.Errorf("%w: no point is called %q", ErrSpec, name)
	case !slices.Contains([]Action{Kill, Stop, Hang, Wait, Unknown, Deadline, Late}, spec.Action):
		return fmt.Errorf("%w: unknown action %q", ErrSpec, spec.Action)
	case spec.Action == Unknown && load:
		return fmt.Errorf("%w: a read has no outcome that could be unknown", ErrSpec)
	case spec.Action == Late && name != WriteBefore:
		return fmt.Errorf("%w: only a write that was not made can be made later", ErrSpec)
	case (spec.Action == Hang) != (spec.For > 0):
		return fmt.Errorf("%w: a duration goes with hang, and hang with a duration", ErrSpec)
	}
	if spec.Times == 0 {
		spec.Times = 1
	}
	s.replace(name, s.newArming(spec, spec.Times))
	return nil
}

// Disarm disarms a point, which must be one of Names, and releases what it
// holds. Its hits can still be read.
func (s *Set) Disarm(name string) { s.replace(name, s.newArming(Spec{}, 0)) }

func (s *Set) replace(name string, a *arming) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.points[name]
	if a.left == 0 {
		a.Hits = old.Hits
	}
	s.points[name] = a
	close(old.released)
	s.changedLocked()
}

func (s *Set) changedLocked() {
	close(s.change)
	s.change = make(chan struct{})
}

// Status returns how a point stands; it must be one of Names.
func (s *Set) Status(name string) Status {
	st, _ := s.status(name)
	return st
}

func (s *Set) status(name string) (Status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points[name].Status, s.change
}

// Await returns once the point has had n hits, or ctx has ended.
func (s *Set) Await(ctx context.Context, name string, n int) (Status, error) {
	for {
		st, change := s.status(name)
		if st.Hits >= n {
			return st, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// enter returns what is armed at a point as an operation on records begins, nil if
// it is none of theirs, and the operation's context, which does not end if that is
// to be ignored.
func (s *Set) enter(ctx context.Context, name string, ids ...string) (context.Context, *arming) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.points[name]
	if a.ID != "" && !slices.Contains(ids, a.ID) {
		return ctx, nil
	}
	if a.Active && a.IgnoreContext {
		ctx = context.WithoutCancel(ctx)
	}
	return ctx, a
}

// pass is the point itself. It returns the error that the operation is to fail
// with, or ctx's if that ended in the meantime.
func (a *arming) pass(ctx context.Context) error {
	if a == nil || !a.hit() {
		return nil
	}
	switch a.Action {
	case Kill:
		die()
	case Stop:
		stop()
	case Unknown:
		return todo.ErrUnknownOutcome
	case Deadline:
		return context.DeadlineExceeded
	case Hang, Wait:
		return a.hold(ctx)
	}
	return nil
}

// later has a write made once the point is released, if it is armed for that, and
// reports whether it is.
func (a *arming) later(ctx context.Context, write func(context.Context)) bool {
	if a == nil || a.Action != Late || !a.hit() {
		return false
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		_ = a.hold(ctx) // which does not end
		write(ctx)
	}()
	return true
}

func (a *arming) hit() bool {
	a.set.mu.Lock()
	defer a.set.mu.Unlock()
	if a.left == 0 {
		return false
	}
	if a.left > 0 {
		a.left--
	}
	a.Active = a.left != 0
	a.Hits++
	if a.Action == Hang || a.Action == Wait || a.Action == Late {
		a.Held++
	}
	a.set.changedLocked()
	return true
}

func (a *arming) hold(ctx context.Context) error {
	defer func() {
		a.set.mu.Lock()
		defer a.set.mu.Unlock()
		a.Held--
		a.set.changedLocked()
	}()
	var over <-chan time.Time
	if a.Action == Hang {
		t := time.NewTimer(a.For)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-a.released:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// die ends the process as kill -9 does. Signals are delivered a moment later,
// and nothing may happen in it.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// stop returns after the process was stopped and told to continue. It does not
// rely on being stopped before kill returns.
func stop() {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}
