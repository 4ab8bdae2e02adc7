// Package failpoint stops, delays, fails or kills a program at named points, to test what
// state it leaves. Only binaries with the build tag "failpoints" contain it.
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

// The points in the calls of a Store.
const (
	LoadBefore  = "load.before"  // a record is about to be read
	LoadAfter   = "load.after"   // it was read
	WriteBefore = "write.before" // a write is about to be sent; an update has read and computed its record
	WriteAfter  = "write.after"  // it was committed
)

// Names are the points' names.
func Names() []string { return []string{LoadAfter, LoadBefore, WriteAfter, WriteBefore} }

// Action is an action at a point.
type Action string

// The actions.
const (
	Kill     Action = "kill"     // SIGKILL to the process
	Stop     Action = "stop"     // SIGSTOP to the process; it continues after SIGCONT
	Hang     Action = "hang"     // wait for Spec.For, or until released
	Wait     Action = "wait"     // wait until released
	Unknown  Action = "unknown"  // fail a write with todo.ErrUnknownOutcome
	Deadline Action = "deadline" // fail with context.DeadlineExceeded
	Late     Action = "late"     // at WriteBefore: fail as Unknown, and write when released
)

// Spec describes how to arm a point.
type Spec struct {
	Action Action
	// ID of the record whose operations trigger the action; "" means any.
	ID  string
	For time.Duration // of Hang
	// Times is how many operations trigger the action; 0 means 1, negative means all.
	Times int
	// IgnoreContext: the operation ignores the end of its context, like a client
	// without deadlines. Otherwise Hang and Wait end with the context.
	IgnoreContext bool
}

// Status is the state of a point.
type Status struct {
	Spec        // zero if it is not armed
	Hits   int  // operations that triggered it since it was last armed
	Held   int  // operations that hang or wait now
	Active bool // further operations will trigger it
}

// Set has the points of one program. Create it with NewSet.
type Set struct {
	mu     sync.Mutex
	points map[string]*arming
	change chan struct{} // closed and replaced at every change of a Status
}

// arming is the state of a point from one Arm to the next. Arm replaces it, so an operation
// that began under an older arming is not affected by a newer one.
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
var ErrSpec = errors.New("failpoint: invalid specification")

// Arm arms a point for operations that begin from now on. It releases operations that an
// older arming holds.
func (s *Set) Arm(name string, spec Spec) error {
	load := name == LoadBefore || name == LoadAfter
	switch {
	case !slices.Contains(Names(), name):
		return fmt.Errorf("%w: there is no point %q", ErrSpec, name)
	case !slices.Contains([]Action{Kill, Stop, Hang, Wait, Unknown, Deadline, Late}, spec.Action):
		return fmt.Errorf("%w: unknown action %q", ErrSpec, spec.Action)
	case spec.Action == Unknown && load:
		return fmt.Errorf("%w: the action unknown needs a write point", ErrSpec)
	case spec.Action == Late && name != WriteBefore:
		return fmt.Errorf("%w: the action later needs the point write.before", ErrSpec)
	case (spec.Action == Hang) != (spec.For > 0):
		return fmt.Errorf("%w: the action hang needs a duration, other actions must not have one", ErrSpec)
	}
	if spec.Times == 0 {
		spec.Times = 1
	}
	s.replace(name, s.newArming(spec, spec.Times))
	return nil
}

// Disarm disarms a point, which must be one of Names, and releases the operations that it
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

// Status returns the state of a point, which must be one of Names.
func (s *Set) Status(name string) Status {
	st, _ := s.status(name)
	return st
}

func (s *Set) status(name string) (Status, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.points[name].Status, s.change
}

// Await returns when the point has had n hits, or ctx has ended.
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

// enter returns the arming of a point for an operation on these records, or nil. It also
// returns the context of the operation, which never ends if IgnoreContext is set.
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

// pass runs the action of the point. It returns the error with which the operation must
// fail, or the error of ctx if ctx has ended.
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

// later reports whether the point is armed with Later. If so, it runs the write when the
// point is released.
func (a *arming) later(ctx context.Context, write func(context.Context)) bool {
	if a == nil || a.Action != Late || !a.hit() {
		return false
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		_ = a.hold(ctx) // this context does not end
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

// die ends the process like kill -9. The signal arrives a moment later, and nothing may
// happen until then.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// stop stops the process and returns after it was continued. It does not rely on being
// stopped before kill returns.
func stop() {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	defer signal.Stop(resumed)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}
