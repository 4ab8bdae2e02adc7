// Package boltstore stores todos in one file, with bbolt. It needs no server.
//
// A write is acknowledged when it is on disk. Writes that arrive during a sync are
// committed together, in one transaction. Reads run in parallel with writes and never
// wait for them.
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

// FileName is the name of the file if Open gets a directory.
const FileName = "todos.db"

// lockTimeout is how long Open waits for another process, such as one that is shutting
// down, to release the file.
const lockTimeout = 500 * time.Millisecond

var (
	bucketTodos = []byte("todos") // ID -> record; its sequence is the number of records
	bucketMeta  = []byte("meta")
	keyLayout   = []byte("layout")
	keyIdentity = []byte("identity")
	layoutV1    = []byte{1}
)

// Options of a Store. The zero value works.
type Options struct {
	// MaxSize is the maximum size of the file in bytes. The file grows in steps of up
	// to 16 MiB. A write that needs more fails with todo.ErrUnavailable. 0 means no
	// limit except the disk's.
	MaxSize int64
	// Logger gets a warning if other users may write to the file or its directory; nil
	// means slog.Default().
	Logger *slog.Logger
}

// Store is a todo.Store in one file. It is safe for concurrent use.
type Store struct {
	db    *bbolt.DB
	path  string
	count atomic.Int64

	identity    string
	identityErr error // why there is no identity; nothing else needs it

	ops     chan *op      // unbuffered: an op that was received will run
	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the writer has ended
	close   func() error  // once
	broken  atomic.Pointer[brokenError]
	log     *changeLog
}

var _ todo.Store = (*Store)(nil)

// Open opens the store in the directory path. If path is an existing file or ends with
// ".db", it is the file of the store. Open creates what is missing, readable only by
// its owner. It fails at once if another process has the file open.
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
		log:     newChangeLog(),
	}
	if err := s.prepare(); err != nil {
		return nil, fmt.Errorf("boltstore: %w", errors.Join(err, db.Close()))
	}
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		<-s.stopped
		s.log.close()
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
		return "", fmt.Errorf("%s is not a regular file (%v)", file, info.Mode().Type())
	}
	return file, nil
}

// warnExposed warns about file permissions that an operator should fix. It refuses
// nothing: the volume of a container may belong to a group or to another user.
func warnExposed(log *slog.Logger, file string) {
	for _, path := range []string{filepath.Dir(file), file} {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if why := files.Exposed(info); why != "" {
			log.Warn("other users can change or delete the records of the embedded store: remove their write permission",
				"path", path, "reason", why, "mode", info.Mode().String())
		}
	}
}

func openFile(file string, opts Options) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // see recoverDamage
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("%s is damaged: %v; restore it from a backup, or move it away to start with an empty store", file, p)
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
		return nil, fmt.Errorf("%s is in use by another process: stop that process, or use another data directory", file)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrInvalidMapping):
		return nil, fmt.Errorf("%s is damaged, or is not a data file of aside (%w); restore it from a backup, or move it away to start with an empty store", file, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	if errors.Is(statErr, os.ErrNotExist) {
		// A new file is durable only when its directory entry is synced too.
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

// prepare creates the buckets in a new file, and checks that an old file is one of
// aside.
func (s *Store) prepare() (err error) {
	defer s.recoverDamage(&err)()
	fresh := false
	err = s.db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(s.path)
		if err != nil {
			return err
		}
		if tx.Size() > info.Size() {
			return fmt.Errorf("%s is truncated: it has %d bytes instead of at least %d; restore it from a backup", s.path, info.Size(), tx.Size())
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
			return fmt.Errorf("%s is damaged: a bucket is missing; restore it from a backup", s.path)
		}
		if layout := meta.Get(keyLayout); string(layout) != string(layoutV1) {
			return fmt.Errorf("%s has layout %v, but this version of aside supports only layout %v: use a newer version", s.path, layout, layoutV1)
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
		if !fresh { // created by a release without identities
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
		s.identityErr = fmt.Errorf("%w: not enough space for it in %s: %w", todo.ErrNoIdentity, s.path, err)
		return nil
	}
	s.identity = identity
	return err
}

// Path returns the path of the file.
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

// List returns up to limit records with IDs greater than after.
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

// checkEvery is how many records are read between two checks of the context.
const checkEvery = 1024

// Count returns the exact number of records.
func (s *Store) Count(ctx context.Context) (int64, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	return s.count.Load(), nil
}

// Identity returns the identity that is stored in the file. It was created with the
// file, or when a release with identities first opened the file.
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

// Close waits for running reads and writes, and releases the file. Later calls fail
// with todo.ErrUnavailable. Close may be called again.
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

// recoverDamage turns panics caused by a damaged file into an error. bbolt panics if
// the file is inconsistent, and an access to mapped memory faults at a bad sector or
// after the end of the file. Then only the damaged records must fail, not the process.
// Defer the function that it returns.
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

// show returns the record, or the reason why it cannot be shown.
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
