package boltstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/driver"
)

const (
	// maxGroup is the maximum number of writes in one commit.
	maxGroup = 1024
	// commitGrace is how long to wait for a running write after its context has ended.
	// Nearly always the write finishes in this time, and a definite answer is worth
	// more to the caller than a fast one.
	commitGrace = 2 * time.Second
	// fillPercent is how full a page stays when it is split. Most records come in
	// ascending order, from a load or with a UUIDv7 as ID. 200,000 records of 126
	// bytes need 32 MB with this value and 51 MB with bbolt's default, 0.5.
	fillPercent = 0.9
)

// op is one write for the writer goroutine.
//
// bbolt's Batch is not used: it delays a single write for 10 ms, and repeats a function
// when another function of the same batch fails.
type op struct {
	run  func(*writeTx) error
	took atomic.Bool // set once: by the writer to run it, or by the caller to give up
	done chan result // of capacity 1: the writer never waits for a caller
}

type result struct {
	err      error
	panicked any
}

// write lets the writer goroutine execute run in a transaction, which other writes may
// share, and returns when the transaction is on disk. If run returns an error before it
// changes anything, the other writes are not affected. A panic of a callback is
// repeated here.
func (s *Store) write(ctx context.Context, run func(*writeTx) error) error {
	if ctx.Err() != nil {
		return notBegun(ctx)
	}
	o := &op{run: run, done: make(chan result, 1)}
	select {
	case s.ops <- o:
	case <-ctx.Done():
		return notBegun(ctx)
	case <-s.closing:
		return s.errClosed()
	}
	select {
	case r := <-o.done:
		return r.unwrap()
	case <-ctx.Done():
	}
	if o.took.CompareAndSwap(false, true) {
		return notBegun(ctx)
	}
	grace := time.NewTimer(commitGrace)
	defer grace.Stop()
	select {
	case r := <-o.done:
		return r.unwrap()
	case <-grace.C:
		return fmt.Errorf("%w: the write has not reached the disk yet: %w", todo.ErrUnknownOutcome, ctx.Err())
	}
}

// notBegun returns the error for a write that has not begun and never will. It tells
// more than the context's error.
func notBegun(ctx context.Context) error {
	return fmt.Errorf("%w: the write did not start: %w", todo.ErrUnavailable, ctx.Err())
}

func (r result) unwrap() error {
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// writeLoop is the only goroutine that writes. Close ends it.
func (s *Store) writeLoop() {
	defer close(s.stopped)
	group := make([]*op, 0, maxGroup)
	for {
		select {
		case o := <-s.ops:
			group = append(group[:0], o)
		case <-s.closing:
			return
		}
	gather:
		for len(group) < maxGroup {
			select {
			case o := <-s.ops:
				group = append(group, o)
			default:
				break gather
			}
		}
		s.commit(group)
		clear(group)
	}
}

// commit runs the ops in one transaction and reports the result to each.
func (s *Store) commit(group []*op) {
	results := make([]result, len(group))
	err := s.transact(func(w *writeTx) error {
		for i, o := range group {
			if !o.took.CompareAndSwap(false, true) {
				continue // its caller has given up
			}
			if results[i] = w.run(o.run); w.failed != nil {
				return w.failed
			}
		}
		return nil
	})
	for i, o := range group {
		// An op that failed by itself gets err too: the record that it found may come
		// from an earlier op of this transaction, which is rolled back now.
		if err != nil && results[i].panicked == nil {
			results[i].err = err
		}
		o.done <- results[i]
	}
}

// writeTx is the transaction that a group of ops shares.
type writeTx struct {
	s          *Store
	todos      *bbolt.Bucket
	added      int64 // records added minus records deleted
	changed    bool
	failed     error // the error that fails the whole transaction
	inCallback bool

	keep    bool // the changes are wanted
	changes []driver.Change
}

// transact runs fn in a transaction and commits what fn changed.
func (s *Store) transact(fn func(*writeTx) error) (err error) {
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	defer s.recoverDamage(&err)()
	tx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", todo.ErrUnavailable, s.path, err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after a commit
	w := &writeTx{s: s, todos: tx.Bucket(bucketTodos), keep: s.log.wanted()}
	w.todos.FillPercent = fillPercent
	if err := fn(w); err != nil || !w.changed {
		return err
	}
	count := s.count.Load() + w.added
	if err := w.todos.SetSequence(uint64(count)); err != nil {
		return fmt.Errorf("%w: %s: %w", todo.ErrUnavailable, s.path, err)
	}
	id := tx.ID()
	tell := w.keep
	defer func() {
		if tell { // bbolt panicked: nobody knows what readers see
			s.log.add(nil)
		}
	}()
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback() // after some errors of Commit the outcome is unknown; applied checks the file
		applied := s.applied(id)
		tell = tell && applied
		return s.commitFailed(err, applied)
	}
	s.count.Store(count)
	if tell {
		s.log.add(w.changes)
	}
	tell = false
	return nil
}

// run executes one op. An error or a panic before its first change fails only this op.
// A later one, or one outside of a callback, fails the whole transaction.
func (w *writeTx) run(fn func(*writeTx) error) (r result) {
	before := w.changed
	w.changed = false
	defer func() {
		if p := recover(); p != nil {
			if !w.inCallback {
				panic(p) // a panic of bbolt; recoverDamage handles it
			}
			w.inCallback = false
			r.panicked = p
		}
		if w.changed && r.err != nil {
			w.failed = fmt.Errorf("%w: %s: %w", todo.ErrUnavailable, w.s.path, r.err)
		}
		w.changed = w.changed || before
	}()
	return result{err: fn(w)}
}

// callback runs a function of the caller. Its panics are passed to the caller.
func (w *writeTx) callback(fn func()) {
	w.inCallback = true
	fn()
	w.inCallback = false
}

// put stores t. Hidden dates of the previous record are kept, unless t has other dates.
//
// It stands in for the record of version before. If the version does not rise, the feed
// tells none: a cache could take its older record for this one.
func (w *writeTx) put(t todo.Todo, before int64, hidden dates) error {
	if t.CreatedAt.IsZero() {
		t.CreatedAt = hidden.created
	}
	if t.UpdatedAt.IsZero() {
		t.UpdatedAt = hidden.updated
	}
	// bbolt keeps the value until the transaction ends, so each needs its own memory.
	size := 64 + len(t.Name)
	if t.Description != nil {
		size += len(*t.Description)
	}
	if err := w.todos.Put([]byte(t.ID), appendRecord(make([]byte, 0, size), t)); err != nil {
		return fmt.Errorf("%w: record %q: %w", todo.ErrInvalid, t.ID, err)
	}
	w.changed = true
	if w.keep {
		c := driver.Change{Key: t.ID}
		if t.Version > max(before, 0) {
			c.Version = uint64(t.Version)
		}
		w.changes = append(w.changes, c)
	}
	return nil
}

func (w *writeTx) insert(t todo.Todo) error {
	if err := w.put(t, 0, dates{}); err != nil {
		return err
	}
	w.added++
	return nil
}

func (w *writeTx) delete(id string) error {
	if err := w.todos.Delete([]byte(id)); err != nil {
		return err
	}
	w.changed = true
	w.added--
	if w.keep {
		w.changes = append(w.changes, driver.Change{Key: id, Deleted: true})
	}
	return nil
}

// applied reports whether a transaction is in the file although its commit failed.
func (s *Store) applied(id int) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true // unknown; the caller reports that
		}
	}()
	_ = s.db.View(func(tx *bbolt.Tx) error {
		yes = tx.ID() >= id
		return nil
	})
	return yes
}

func (s *Store) commitFailed(err error, applied bool) error {
	if !applied && diskFull(err) {
		return fmt.Errorf("%w: not enough space for %s: %w", todo.ErrUnavailable, s.path, err)
	}
	// After a failed sync the system may treat pages as clean that never reached the
	// disk. A later commit that uses these pages could be lost with them.
	broken := &brokenError{path: s.path, cause: err}
	s.broken.Store(broken)
	if applied {
		return fmt.Errorf("%w: %s: %w", todo.ErrUnknownOutcome, s.path, err)
	}
	return broken
}

func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EFBIG) || errors.Is(err, bolterrors.ErrMaxSizeReached)
}

// brokenError is the error of every write after a failed sync, until the file is
// reopened.
type brokenError struct {
	path  string
	cause error
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%v: %s is read-only because a write to it failed (%v): check the disk, then restart",
		todo.ErrUnavailable, e.path, e.cause)
}

func (e *brokenError) Unwrap() []error { return []error{todo.ErrUnavailable, e.cause} }
