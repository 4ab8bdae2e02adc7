package boltstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

const childDirEnv = "ASIDE_BOLTSTORE_CHILD_DIR"

// The steps of the child for each record, in order. It prints a line for each step when the
// store has acknowledged it.
const (
	stepInserted = "inserted"
	stepUpdated  = "updated"
	stepDeleted  = "deleted"
)

// writeUntilKilled runs in the child of TestAcknowledgedWritesSurviveKill.
func writeUntilKilled(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	acknowledge := func(step, id string, err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, step, id, err)
			os.Exit(1)
		}
		fmt.Printf("%s %s\n", step, id) // one unbuffered write
	}
	round := os.Getpid()
	var wg sync.WaitGroup
	for writer := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", round, writer, i)
				acknowledge(stepInserted, id, s.Insert(ctx, todo.Todo{ID: id, Name: "n", Version: 1}))
				_, err := s.Update(ctx, id, func(t todo.Todo) (todo.Todo, error) {
					t.Version++
					return t, nil
				})
				acknowledge(stepUpdated, id, err)
				if i%3 == 0 {
					acknowledge(stepDeleted, id, s.Delete(ctx, id, func(todo.Todo) error { return nil }))
				}
			}
		})
	}
	wg.Wait()
}

// TestAcknowledgedWritesSurviveKill kills a process that writes, and checks that all
// acknowledged writes are in the file. Seen to fail with a commit that answers before
// tx.Commit.
func TestAcknowledgedWritesSurviveKill(t *testing.T) {
	dir := t.TempDir()
	last := map[string]string{} // ID -> last acknowledged step
	for range 4 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDirEnv+"="+dir)
		child.Stderr = os.Stderr
		stdout, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		for n := 1; lines.Scan(); n++ { // continue after the kill, to read the rest of the pipe
			step, id, ok := strings.Cut(lines.Text(), " ")
			if !ok {
				t.Fatalf("the child printed %q", lines.Text())
			}
			last[id] = step
			if n == 200 {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || child.ProcessState.Exited() {
			t.Fatalf("the child ended by itself: %v", err)
		}
		verify(t, dir, last)
	}
}

func verify(t *testing.T, dir string, last map[string]string) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for id, step := range last {
		got, err := s.Get(t.Context(), id)
		gone := errors.Is(err, todo.ErrNotFound)
		if err != nil && !gone {
			t.Fatal(err)
		}
		// The step after the last acknowledged one may have been applied as well.
		switch step {
		case stepInserted:
			if gone || got.Version < 1 {
				t.Errorf("insert of %s was acknowledged; found %+v, %v", id, got, err)
			}
		case stepUpdated:
			if !gone && got.Version != 2 {
				t.Errorf("update of %s was acknowledged; found %+v", id, got)
			}
			if gone && !divisibleBy3(id) {
				t.Errorf("%s is gone and was never deleted", id)
			}
		case stepDeleted:
			if !gone {
				t.Errorf("delete of %s was acknowledged; found %+v", id, got)
			}
		}
	}
	listed := int64(0)
	for after := ""; ; {
		page, err := s.List(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		listed += int64(len(page.Todos))
		if after = page.Next; after == "" {
			break
		}
	}
	if n, err := s.Count(t.Context()); err != nil || n != listed {
		t.Errorf("Count is %d (%v), %d records are there", n, err, listed)
	}
}

// divisibleBy3 reports whether the child deletes the record.
func divisibleBy3(id string) bool {
	var n int
	if _, err := fmt.Sscan(id[strings.LastIndexByte(id, '-')+1:], &n); err != nil {
		return false
	}
	return n%3 == 0
}
