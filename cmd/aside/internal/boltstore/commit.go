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
)

const (
	// maxGroup bounds the writes that share one commit.
	maxGroup = 1024
	// commitGrace is how long a write whose context has ended is waited for once
	// it has begun: nearly always the disk answers, and a definite answer is
	// worth more to the caller than a prompt one.
	commitGrace = 2 * time.Second
	// fillPercent is how full a page is left when it is split. Most records come
	// in ascending order, by a load or with UUIDv7 as their ID: 200,000 of 126
	// bytes take 32 MB with this and 51 MB with bbolt's 0.5.
	fillPercent = 0.9
)

// op is one write on its way through the writer.
//
// bbolt's own Batch is not used: it holds a lone writer back for 10 ms, and runs
// a function again when another one in its batch fails.
type op struct {
	run  func(*writeTx) error
	took atomic.Bool // set by who is first: the writer to run it, or the caller to leave
	done chan result // of capacity 1: the writer never waits for a caller
}

type result struct {
	err      error
	panicked any
}

// write has run executed by the writer, in a transaction that it may share, and
// returns when that is on disk. An error that run returns before it changes
// anything is its own affair. A panic of a callback comes out here.
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
		return fmt.Errorf("%w: the disk has not answered: %w", todo.ErrUnknownOutcome, ctx.Err())
	}
}

// notBegun says that the write did not, and will not: more than the context's
// error alone.
func notBegun(ctx context.Context) error {
	return fmt.Errorf("%w: the write did not begin: %w", todo.ErrUnavailable, ctx.Err())
}

func (r result) unwrap() error {
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// writeLoop is the only writer. Close ends it.
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

// commit runs the ops in one transaction and answers them.
func (s *Store) commit(group []*op) {
	results := make([]result, len(group))
	err := s.transact(func(w *writeTx) error {
		for i, o := range group {
			if !o.took.CompareAndSwap(false, true) {
				continue // nobody waits for it any more
			}
			if results[i] = w.run(o.run); w.failed != nil {
				return w.failed
			}
		}
		return nil
	})
	for i, o := range group {
		// Also an op that had failed by itself gets err: what it saw, a record
		// that was there already, may be an earlier op's that is undone now.
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
	added      int64 // records, less those deleted
	changed    bool
	failed     error // what spoilt the transaction for all
	inCallback bool
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
	w := &writeTx{s: s, todos: tx.Bucket(bucketTodos)}
	w.todos.FillPercent = fillPercent
	if err := fn(w); err != nil || !w.changed {
		return err
	}
	count := s.count.Load() + w.added
	if err := w.todos.SetSequence(uint64(count)); err != nil {
		return fmt.Errorf("%w: %s: %w", todo.ErrUnavailable, s.path, err)
	}
	id := tx.ID()
	if err := tx.Commit(); err != nil {
		_ = tx.Rollback() // some errors of Commit leave it open, and applied looks at the file
		return s.commitFailed(err, s.applied(id))
	}
	s.count.Store(count)
	return nil
}

// run executes one op. An error or a panic before its first change concerns it
// alone; later, or outside a callback, it spoils the transaction.
func (w *writeTx) run(fn func(*writeTx) error) (r result) {
	before := w.changed
	w.changed = false
	defer func() {
		if p := recover(); p != nil {
			if !w.inCallback {
				panic(p) // bbolt's; recoverDamage knows what to do
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

// callback runs code of the caller's, whose panics are the caller's too.
func (w *writeTx) callback(fn func()) {
	w.inCallback = true
	fn()
	w.inCallback = false
}

// put stores t. Dates of the record before that could not be shown stay, unless t
// has others.
func (w *writeTx) put(t todo.Todo, hidden dates) error {
	if t.CreatedAt.IsZero() {
		t.CreatedAt = hidden.created
	}
	if t.UpdatedAt.IsZero() {
		t.UpdatedAt = hidden.updated
	}
	// bbolt keeps the value until the transaction ends, so each has its own memory.
	size := 64 + len(t.Name)
	if t.Description != nil {
		size += len(*t.Description)
	}
	if err := w.todos.Put([]byte(t.ID), appendRecord(make([]byte, 0, size), t)); err != nil {
		return fmt.Errorf("%w: record %q: %w", todo.ErrInvalid, t.ID, err)
	}
	w.changed = true
	return nil
}

func (w *writeTx) insert(t todo.Todo) error {
	if err := w.put(t, dates{}); err != nil {
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
	return nil
}

// applied reports whether a transaction that failed to commit is in the file
// nevertheless.
func (s *Store) applied(id int) (yes bool) {
	defer func() {
		if recover() != nil {
			yes = true // cannot tell; the caller will say so
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
		return fmt.Errorf("%w: no room for %s: %w", todo.ErrUnavailable, s.path, err)
	}
	// After a failed sync the system may take pages for clean that never reached
	// the disk; what a later commit builds on them would be lost with them.
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

// brokenError answers every write after a failed sync, until the file is opened
// again.
type brokenError struct {
	path  string
	cause error
}

func (e *brokenError) Error() string {
	return fmt.Sprintf("%v: %s is read-only since a write to it failed (%v): check the disk, then restart",
		todo.ErrUnavailable, e.path, e.cause)
}

func (e *brokenError) Unwrap() []error { return []error{todo.ErrUnavailable, e.cause} }
