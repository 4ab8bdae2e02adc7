// Package boltstore keeps todos in one file, with bbolt: the store that needs no
// server.
//
// A write is acknowledged once it is on disk. Writes that arrive while one is
// being synced are committed together, in one transaction. Reads run beside
// writes and never wait for the disk's writes.
package boltstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/asidecache/aside/cmd/aside/internal/files"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// FileName is the file's name if Open is given a directory.
const FileName = "todos.db"

// lockTimeout bounds the wait for another process to let go of the file; it is
// there for one that is shutting down.
const lockTimeout = 500 * time.Millisecond

var (
	bucketTodos = []byte("todos") // ID -> record; its sequence is the number of records
	bucketMeta  = []byte("meta")
	keyLayout   = []byte("layout")
	keyIdentity = []byte("identity")
	layoutV1    = []byte{1}
)

// Options of a Store; the zero value is fine.
type Options struct {
	// MaxSize bounds the file, in bytes; it grows in steps of up to 16 MiB. A
	// write that would pass it fails with todo.ErrUnavailable. 0 means no bound
	// but the disk's.
	MaxSize int64
	// Logger is told if users other than this one may write to the file or its
	// directory; nil means slog.Default().
	Logger *slog.Logger
}

// Store is a todo.Store in one file. It is safe for concurrent use.
type Store struct {
	db    *bbolt.DB
	path  string
	count atomic.Int64

	identity    string
	identityErr error // why there is none; nothing else needs one

	ops     chan *op      // unbuffered: an op that was received will run
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has ended
	close   func() error  // once
	broken  atomic.Pointer[brokenError]
}

var _ todo.Store = (*Store)(nil)

// Open opens the store in the directory path, or in the file path if that is an
// existing file or ends in ".db". What is missing is created, readable by its
// owner alone. It fails at once if another process has the file open.
func Open(path string, opts Options) (*Store, error) {
	file, err := locate(path)
	if err != nil {
		return nil, fmt.Errorf("boltstore: %w", err)
	}
	db, err := openFile(file, opts)
	if err != nil {
		return nil, fmt.Errorf("boltstore: %w", err)
	}
	warnExposed(cmp.Or(opts.Logger, slog.Default()), file)
	s := &Store{
		db:      db,
		path:    file,
		ops:     make(chan *op),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("boltstore: %w", errors.Join(err, db.Close()))
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		<-s.stopped
		return db.Close() // waits for reads
	})
	go s.writeLoop()
	return s, nil
}

func locate(path string) (string, error) {
	if path == "" {
		return "", errors.New("no path given")
	}
	dir, file := path, filepath.Join(path, FileName)
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() || err != nil && strings.HasSuffix(path, ".db") {
		dir, file = filepath.Dir(path), path
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no regular file (%v)", file, info.Mode().Type())
	}
	return file, nil
}

// warnExposed says what an operator should mend. It refuses nothing: a volume of
// a container may belong to a group, or to nobody in particular.
func warnExposed(log *slog.Logger, file string) {
	for _, path := range []string{filepath.Dir(file), file} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if why := files.Exposed(info); why != "" {
			log.Warn("other users can change or destroy the records of the embedded store: take the right to write away from them",
				"path", path, "reason", why, "mode", info.Mode().String())
		}
	}
}

func openFile(file string, opts Options) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see recoverDamage
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%s is damaged: %v; restore it from a copy, or move it away to start empty", file, p)
		}
	}()
	_, statErr := os.Stat(file)
	db, err = bbolt.Open(file, 0o600, &bbolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
		MaxSize:      int(opts.MaxSize),
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by another process: stop that one, or use another data directory", file)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrInvalidMapping):
		return nil, fmt.Errorf("%s is damaged, or no data file of aside (%w); restore it from a copy, or move it away to start empty", file, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	if errors.Is(statErr, os.ErrNotExist) {
		// A new file is only safe once its directory entry is.
		if err := syncDir(filepath.Dir(file)); err != nil {
			return nil, errors.Join(err, db.Close())
		}
	}
	return db, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrInvalid) {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// prepare makes the buckets in a new file and looks whether an old one is ours.
func (s *Store) prepare() (err error) {
	defer s.recoverDamage(&err)()
	fresh := false
	err = s.db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(s.path)
		if err != nil {
			return err
		}
		if tx.Size() > info.Size() {
			return fmt.Errorf("%s is cut short: %d bytes of at least %d; restore it from a copy", s.path, info.Size(), tx.Size())
		}
		meta, todos := tx.Bucket(bucketMeta), tx.Bucket(bucketTodos)
		if meta == nil && todos == nil {
			if name, _ := tx.Cursor().First(); name != nil {
				return fmt.Errorf("%s is a bbolt file of another program (bucket %q)", s.path, name)
			}
			fresh = true
			return nil
		}
		if meta == nil || todos == nil {
			return fmt.Errorf("%s lacks a bucket; restore it from a copy", s.path)
		}
		if layout := meta.Get(keyLayout); string(layout) != string(layoutV1) {
			return fmt.Errorf("%s has layout %v, this program knows %v: use a newer one", s.path, layout, layoutV1)
		}
		s.count.Store(int64(todos.Sequence()))
		s.identity = string(meta.Get(keyIdentity))
		return nil
	})
	if err != nil || s.identity != "" {
		return err
	}
	identity := rand.Text()
	err = s.db.Update(func(tx *bbolt.Tx) error {
		if !fresh { // of a release that had no identities
			return tx.Bucket(bucketMeta).Put(keyIdentity, []byte(identity))
		}
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		if err := errors.Join(meta.Put(keyLayout, layoutV1), meta.Put(keyIdentity, []byte(identity))); err != nil {
			return err
		}
		_, err = tx.CreateBucket(bucketTodos)
		return err
	})
	if err != nil && !fresh && diskFull(err) {
		s.identityErr = fmt.Errorf("%w: there is no room for it in %s: %w", todo.ErrNoIdentity, s.path, err)
		return nil
	}
	s.identity = identity
	return err
}

// Path is the file's.
func (s *Store) Path() string { return s.path }

// Get returns the record with that ID, or todo.ErrNotFound.
func (s *Store) Get(ctx context.Context, id string) (t todo.Todo, err error) {
	err = s.view(ctx, func(b *bbolt.Bucket) error {
		if t, _, err = s.get(b, id); err == nil {
			err = t.CheckSize()
		}
		return err
	})
	if err != nil {
		return todo.Todo{}, err
	}
	return t, nil
}

// GetMany returns the records that exist.
func (s *Store) GetMany(ctx context.Context, ids []string) (map[string]todo.Todo, error) {
	found := make(map[string]todo.Todo, len(ids))
	var unreadable todo.UnreadableRecords
	err := s.view(ctx, func(b *bbolt.Bucket) error {
		for i, id := range ids {
			if i%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			v := b.Get([]byte(id))
			if v == nil {
				continue
			}
			t, err := s.show(id, v)
			if err != nil {
				unreadable = append(unreadable, todo.Unreadable{ID: id, Err: err})
				continue
			}
			found[id] = t
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(unreadable) > 0 {
		return found, unreadable
	}
	return found, nil
}

// List returns up to limit records behind after.
func (s *Store) List(ctx context.Context, after string, limit int) (todo.Page, error) {
	if limit < 1 {
		return todo.Page{}, fmt.Errorf("%w: limit %d, must be at least 1", todo.ErrInvalid, limit)
	}
	var page todo.Page
	err := s.view(ctx, func(b *bbolt.Bucket) error {
		c := b.Cursor()
		k, v := c.Seek([]byte(after))
		if k != nil && string(k) == after {
			k, v = c.Next()
		}
		last := ""
		for n := 0; k != nil; k, v = c.Next() {
			if n == limit {
				page.Next = last
				return nil
			}
			if n%checkEvery == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			last = string(k)
			n++
			t, err := s.show(last, v)
			if err != nil {
				page.Unreadable = append(page.Unreadable, todo.Unreadable{ID: last, Err: err})
				continue
			}
			page.Todos = append(page.Todos, t)
		}
		return nil
	})
	if err != nil {
		return todo.Page{}, err
	}
	return page, nil
}

// checkEvery is how many records pass between two looks at the context.
const checkEvery = 1024

// Count returns the exact number of records.
func (s *Store) Count(ctx context.Context) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	return s.count.Load(), nil
}

// Identity returns what is kept in the file; it was made with the file, or when the
// file was first opened by a release that has identities.
func (s *Store) Identity(ctx context.Context) (string, error) {
	if err := s.usable(ctx); err != nil {
		return "", err
	}
	return s.identity, s.identityErr
}

// Ping reports whether the store can read and write.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.view(ctx, func(*bbolt.Bucket) error { return nil }); err != nil {
		return err
	}
	if broken := s.broken.Load(); broken != nil {
		return broken
	}
	return nil
}

// Close waits for reads and writes that have begun, and lets go of the file.
// Whatever comes later fails with todo.ErrUnavailable. Close may be called again.
func (s *Store) Close() error { return s.close() }

func (s *Store) errClosed() error {
	return fmt.Errorf("%w: %s is closed", todo.ErrUnavailable, s.path)
}

func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return s.errClosed()
	default:
		return nil
	}
}

// view runs fn in a read transaction.
func (s *Store) view(ctx context.Context, fn func(todos *bbolt.Bucket) error) (err error) {
	if err := s.usable(ctx); err != nil {
		return err
	}
	defer s.recoverDamage(&err)()
	err = s.db.View(func(tx *bbolt.Tx) error { return fn(tx.Bucket(bucketTodos)) })
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return s.errClosed()
	}
	return err
}

// recoverDamage turns what happens on a damaged file into an error: bbolt asserts
// what it reads, by panicking, and memory that is mapped to a bad sector, or
// behind the file's end, faults. That must cost the records there and not the
// process. Defer what it returns.
func (s *Store) recoverDamage(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %s is damaged: %v", todo.ErrUnavailable, s.path, p)
		}
	}
}

func (s *Store) get(b *bbolt.Bucket, id string) (todo.Todo, dates, error) {
	v := b.Get([]byte(id))
	if v == nil {
		return todo.Todo{}, dates{}, todo.ErrNotFound
	}
	return s.decode(id, v)
}

// show returns the record, or why it cannot be shown.
func (s *Store) show(id string, v []byte) (todo.Todo, error) {
	t, _, err := s.decode(id, v)
	if err == nil {
		err = t.CheckSize()
	}
	if err != nil {
		return todo.Todo{}, err
	}
	return t, nil
}

func (s *Store) decode(id string, v []byte) (todo.Todo, dates, error) {
	t, hidden, err := decodeRecord(id, v)
	if err != nil {
		return todo.Todo{}, dates{}, fmt.Errorf("%w: record %q in %s is damaged: %w", todo.ErrUnavailable, id, s.path, err)
	}
	return t, hidden, nil
}
