package failpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

// The test binary also runs as the program that is killed and stopped.
const beVictim = "ASIDE_TEST_FAILPOINT_ACTION"

func TestMain(m *testing.M) {
	if action := os.Getenv(beVictim); action != "" {
		s := NewSet()
		if err := s.Arm(WriteAfter, Spec{Action: Action(action)}); err != nil {
			panic(err)
		}
		if err := write(context.Background(), Store(todotest.New(), s)); err != nil {
			panic(err)
		}
		fmt.Println("passed")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func write(ctx context.Context, s todo.Store) error {
	return s.Insert(ctx, todo.Todo{ID: "1", Name: "n", Version: 1})
}

func update(ctx context.Context, s todo.Store) error {
	_, err := s.Update(ctx, "1", func(t todo.Todo) (todo.Todo, error) {
		t.Name, t.Version = "changed", t.Version+1
		return t, nil
	})
	return err
}

func remove(ctx context.Context, s todo.Store) error {
	return s.Delete(ctx, "1", func(todo.Todo) error { return nil })
}

func victim(t *testing.T, action Action) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), beVictim+"="+string(action))
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// The process ends before it passes the point. Caught: SIGTERM, after which the program
// continued for a moment.
func TestKill(t *testing.T) {
	cmd, out := victim(t, Kill)
	err := cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || out.String() != "" {
		t.Errorf("it ended with %v and printed %q", err, out)
	}
}

// The process stops at the point, and passes it after SIGCONT. Caught: a stop that was never
// sent.
func TestStop(t *testing.T) {
	cmd, out := victim(t, Stop)
	stopped := false
	testsync.Eventually(t, "the process is stopped", func() bool {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(cmd.Process.Pid, &ws, syscall.WUNTRACED|syscall.WNOHANG, nil)
		stopped = err == nil && pid == cmd.Process.Pid && ws.Stopped()
		return stopped || err != nil || pid != 0 && ws.Exited()
	})
	if !stopped {
		t.Fatal("it ended")
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || out.String() != "passed\n" {
		t.Errorf("it ended with %v and printed %q", err, out)
	}
}

// What is written when an operation is at a point, and which error todo.Service gets. Caught:
// a context that ended before the commit was reported as an unknown outcome, and the reverse.
func TestStateAtAPoint(t *testing.T) {
	for _, op := range []struct {
		name    string
		run     func(context.Context, todo.Store) error
		there   bool // the record exists at first
		applied func(todo.Todo, error) bool
	}{
		{"insert", write, false, func(_ todo.Todo, err error) bool { return err == nil }},
		{"update", update, true, func(t todo.Todo, _ error) bool { return t.Name == "changed" }},
		{"delete", remove, true, func(_ todo.Todo, err error) bool { return errors.Is(err, todo.ErrNotFound) }},
	} {
		for _, point := range []string{WriteBefore, WriteAfter} {
			t.Run(op.name+" "+point, func(t *testing.T) {
				raw := todotest.New()
				if op.there {
					raw = todotest.New(todo.Todo{ID: "1", Name: "n", Version: 1})
				}
				set := NewSet()
				s := Store(raw, set)
				if err := set.Arm(point, Spec{Action: Wait}); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := testsync.Async(func() error { return op.run(ctx, s) })
				if _, err := set.Await(t.Context(), point, 1); err != nil {
					t.Fatal(err)
				}
				// The store in memory holds its lock while it changes a record.
				if point == WriteAfter && !op.applied(raw.Get(t.Context(), "1")) {
					t.Error("not written after the commit")
				}
				cancel()
				err := testsync.Await(t, "the operation", ended)
				want := todo.ErrUnavailable
				if point == WriteAfter {
					want = todo.ErrUnknownOutcome
				}
				if !errors.Is(err, want) || !errors.Is(err, context.Canceled) || todo.Definite(err) != (point == WriteBefore) {
					t.Errorf("error: %v", err)
				}
				if got := op.applied(raw.Get(t.Context(), "1")); got != (point == WriteAfter) {
					t.Errorf("written: %v", got)
				}
			})
		}
	}
}

// At the point before a write, an update has computed its record and a delete has decided. So
// they act on what they read before. Caught: points before the reads.
func TestWritePointComesAfterTheRead(t *testing.T) {
	set := NewSet()
	s := Store(todotest.New(todo.Todo{ID: "1", Name: "n", Version: 1}), set)
	for name, op := range map[string]func(read func()) error{
		"update": func(read func()) error {
			_, err := s.Update(t.Context(), "1", func(t todo.Todo) (todo.Todo, error) { read(); return t, nil })
			return err
		},
		"delete": func(read func()) error {
			return s.Delete(t.Context(), "1", func(todo.Todo) error { read(); return nil })
		},
	} {
		if err := set.Arm(WriteBefore, Spec{Action: Deadline}); err != nil {
			t.Fatal(err)
		}
		read := false
		if err := op(func() { read = true }); !errors.Is(err, context.DeadlineExceeded) || !read {
			t.Errorf("%s: %v, has read: %v", name, err, read)
		}
	}
}

// Caught: a hit by an operation that began before the point was armed; one hit too many; a
// waiter that was not released.
func TestArmAndDisarm(t *testing.T) {
	set := NewSet()
	s := Store(todotest.New(todo.Todo{ID: "1"}), set)
	get := func() <-chan error {
		return testsync.Async(func() error { _, err := s.Get(t.Context(), "1"); return err })
	}
	arm := func(name string, spec Spec) {
		t.Helper()
		if err := set.Arm(name, spec); err != nil {
			t.Fatal(err)
		}
	}
	await := func(name string, n int) {
		t.Helper()
		if _, err := set.Await(t.Context(), name, n); err != nil {
			t.Fatal(err)
		}
	}

	arm(LoadBefore, Spec{Action: Wait})
	older := get()
	await(LoadBefore, 1)
	arm(LoadAfter, Spec{Action: Deadline}) // after that operation began
	set.Disarm(LoadBefore)
	if err := testsync.Await(t, "the read", older); err != nil {
		t.Errorf("the read that began before got %v", err)
	}
	if got := set.Status(LoadBefore); got.Hits != 1 || got.Active || got.Action != "" {
		t.Errorf("disarmed: %+v", got)
	}
	if err := testsync.Await(t, "the read", get()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the read that began after got %v", err)
	}
	if err := testsync.Await(t, "the read", get()); err != nil {
		t.Errorf("one too many: %v", err)
	}

	arm(LoadAfter, Spec{Action: Wait, Times: 2})
	a, b := get(), get()
	await(LoadAfter, 2)
	if err := testsync.Await(t, "the third read", get()); err != nil {
		t.Error(err)
	}
	if got := set.Status(LoadAfter); got.Held != 2 || got.Active {
		t.Errorf("two wait: %+v", got)
	}
	arm(LoadAfter, Spec{Action: Deadline, Times: -1}) // releases them
	for _, ch := range []<-chan error{a, b} {
		if err := testsync.Await(t, "a read", ch); err != nil {
			t.Error(err)
		}
	}
	for range 3 {
		if err := testsync.Await(t, "a read", get()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
	if got := set.Status(LoadAfter); got.Hits != 3 || !got.Active {
		t.Errorf("for ever: %+v", got)
	}
}

// Caught: a hang that ended with its context despite IgnoreContext; a store that got the
// ended context; a hang that did not end with its context.
func TestHang(t *testing.T) {
	for _, ignore := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			raw, set := todotest.New(), NewSet()
			var handed error
			raw.Before(func(ctx context.Context, op, _ string) error {
				if op != "get" {
					handed = ctx.Err()
				}
				return nil
			})
			if err := set.Arm(WriteBefore, Spec{Action: Hang, For: 3 * time.Second, IgnoreContext: ignore}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			err := write(ctx, Store(raw, set))
			_, missing := raw.Get(t.Context(), "1")
			if ignore {
				if err != nil || missing != nil || handed != nil || time.Since(start) != 3*time.Second {
					t.Errorf("after %v: %v, %v, store's context %v", time.Since(start), err, missing, handed)
				}
			} else if !errors.Is(err, todo.ErrUnavailable) || missing == nil || time.Since(start) != time.Second {
				t.Errorf("after %v: %v, %v", time.Since(start), err, missing)
			}
		})
	}
}

func TestErrorsAfterTheCommit(t *testing.T) {
	for action, want := range map[Action]error{Unknown: todo.ErrUnknownOutcome, Deadline: context.DeadlineExceeded} {
		raw, set := todotest.New(), NewSet()
		if err := set.Arm(WriteAfter, Spec{Action: action}); err != nil {
			t.Fatal(err)
		}
		err := write(t.Context(), Store(raw, set))
		if !errors.Is(err, want) || todo.Definite(err) {
			t.Errorf("%s: %v", action, err)
		}
		if _, err := raw.Get(t.Context(), "1"); err != nil {
			t.Errorf("%s: not written: %v", action, err)
		}
	}
}

// A write is applied after its outcome was reported as unknown. Caught: a write that was
// applied at once, one that was never applied, and one that ended with its caller.
func TestLaterWrite(t *testing.T) {
	for name, op := range map[string]func(context.Context, todo.Store) error{"insert": write, "update": update, "delete": remove} {
		synctest.Test(t, func(t *testing.T) {
			raw, set := todotest.New(), NewSet()
			if name != "insert" {
				raw = todotest.New(todo.Todo{ID: "1", Name: "n", Version: 1})
			}
			before, errBefore := raw.Get(t.Context(), "1")
			same := func() bool {
				got, err := raw.Get(t.Context(), "1")
				return got == before && (err == nil) == (errBefore == nil)
			}
			if err := set.Arm(WriteBefore, Spec{Action: Late}); err != nil {
				t.Fatal(err)
			}
			raw.Before(func(ctx context.Context, _, _ string) error { return ctx.Err() })
			ctx, cancel := context.WithCancel(t.Context())
			if err := op(ctx, Store(raw, set)); !errors.Is(err, todo.ErrUnknownOutcome) {
				t.Errorf("%s: %v", name, err)
			}
			cancel()
			synctest.Wait()
			if !same() || set.Status(WriteBefore).Held != 1 {
				t.Errorf("%s: made at once", name)
			}
			set.Disarm(WriteBefore)
			synctest.Wait()
			if same() {
				t.Errorf("%s: not made", name)
			}
		})
	}
}

// Caught: operations on other records hit the point.
func TestArmForOneRecord(t *testing.T) {
	set := NewSet()
	s := Store(todotest.New(todo.Todo{ID: "1"}, todo.Todo{ID: "2"}), set)
	for _, point := range Names() {
		if err := set.Arm(point, Spec{Action: Deadline, ID: "1", Times: -1}); err != nil {
			t.Fatal(err)
		}
		for name, op := range map[string]func(id string) error{
			"load.get":      func(id string) error { _, err := s.Get(t.Context(), id); return err },
			"load.get_many": func(id string) error { _, err := s.GetMany(t.Context(), []string{"none", id}); return err },
			"write.update": func(id string) error {
				_, err := s.Update(t.Context(), id, func(t todo.Todo) (todo.Todo, error) { return t, nil })
				return err
			},
		} {
			if err := op("2"); err != nil {
				t.Errorf("%s, %s of another record: %v", point, name, err)
			}
			if err := op("1"); (err != nil) != (name[:4] == point[:4]) {
				t.Errorf("%s, %s: %v", point, name, err)
			}
		}
		set.Disarm(point)
	}
}

func TestArmRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		Spec
	}{
		{"write.during", Spec{Action: Kill}},
		{WriteAfter, Spec{}},
		{WriteAfter, Spec{Action: "explode"}},
		{WriteAfter, Spec{Action: Hang}},
		{WriteAfter, Spec{Action: Kill, For: time.Second}},
		{LoadAfter, Spec{Action: Unknown}},
		{WriteAfter, Spec{Action: Late}},
	} {
		if err := NewSet().Arm(tt.name, tt.Spec); !errors.Is(err, ErrSpec) {
			t.Errorf("%s %+v: %v", tt.name, tt.Spec, err)
		}
	}
}
