package boltstore

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirEnv); dir != "" {
		writeUntilKilled(dir)
	}
	goleak.VerifyTestMain(m)
}

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	return storetest.Opened(t, s, err)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) todo.Store { return mustOpen(t, t.TempDir()) })
}

func TestOpenPaths(t *testing.T) {
	for _, tc := range []struct{ path, file string }{
		{"data", "data/todos.db"},
		{"deep/down/data", "deep/down/data/todos.db"},
		{"mine.db", "mine.db"},
		{"deep/mine.db", "deep/mine.db"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, filepath.Join(dir, tc.path))
			want := filepath.Join(dir, tc.file)
			if s.Path() != want {
				t.Errorf("Path() = %s, want %s", s.Path(), want)
			}
			info, err := os.Stat(want)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, want only the owner to read it", info.Mode())
			}
		})
	}
	if _, err := Open("", Options{}); err == nil {
		t.Error("Open without a path succeeds")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "data"), Options{}); err == nil {
		t.Error("Open below a file succeeds")
	}
}

func TestReopenKeepsRecordsAndCount(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for i := range 10 {
		if err := s.Insert(t.Context(), todo.Todo{ID: fmt.Sprint(i), Name: "n", Version: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, dir)
	if n, err := s.Count(t.Context()); n != 10 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
	if got, err := s.Get(t.Context(), "7"); err != nil || got.Version != 7 {
		t.Errorf("Get: %+v, %v", got, err)
	}
}

func TestOpenSaysThatAnotherHasTheFile(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	second, err := Open(filepath.Dir(s.Path()), Options{})
	if err == nil {
		second.Close()
		t.Fatal("a second Open of the same file succeeds")
	}
	if !strings.Contains(err.Error(), s.Path()) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error: %v", err)
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Errorf("the first store suffers: %v", err)
	}
}

// TestOpenDamagedFile tries each kind of file that is damaged or belongs to another program.
func TestOpenDamagedFile(t *testing.T) {
	full := func(t *testing.T) string {
		s := mustOpen(t, t.TempDir())
		var rs []todo.Record
		for i := range 2000 {
			rs = append(rs, todo.Record{Todo: todo.Todo{ID: fmt.Sprint(i), Name: strings.Repeat("n", 100)}})
		}
		if _, err := s.InsertMany(t.Context(), rs); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return s.Path()
	}
	for _, tc := range []struct {
		name   string
		damage func(t *testing.T, path string)
		want   string
	}{
		{"text", func(t *testing.T, path string) {
			mustWrite(t, path, []byte(strings.Repeat("not a database\n", 1000)))
		}, "damaged, or is not a data file"},
		{"both heads overwritten", func(t *testing.T, path string) {
			b := mustRead(t, path)
			clear(b[:2*os.Getpagesize()])
			mustWrite(t, path, b)
		}, "damaged, or is not a data file"},
		{"cut short", func(t *testing.T, path string) {
			mustWrite(t, path, mustRead(t, path)[:6*os.Getpagesize()])
		}, "damaged"},
		{"another program's", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			err = db.Update(func(tx *bbolt.Tx) error {
				_, err := tx.CreateBucket([]byte("theirs"))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}, `another program (bucket "theirs")`},
		{"from the future", func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyLayout, []byte{9}) })
			if err != nil {
				t.Fatal(err)
			}
		}, "use a newer version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := full(t)
			tc.damage(t, path)
			before := mustRead(t, path)
			s, err := Open(path, Options{})
			if err == nil {
				s.Close()
				t.Fatal("Open succeeds")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q, want the path and %q", err, tc.want)
			}
			if string(mustRead(t, path)) != string(before) {
				t.Error("Open changed the file that it refused")
			}
		})
	}
}

// TestFileTruncatedWhileOpen: an access to mapped memory faults after the end of the file and
// on a bad sector. It must not end the process. Seen to fail without
// debug.SetPanicOnFault.
func TestFileTruncatedWhileOpen(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.Path(), int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "1"); !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Get: %v", err)
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "2", Name: "n"}); !errors.Is(err, todo.ErrUnavailable) {
		t.Errorf("Insert: %v", err)
	}
}

// TestDamagedRecord: a damaged record or page causes errors only for its own records, and
// does not end the process.
func TestDamagedRecord(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Insert(t.Context(), todo.Todo{ID: "good", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	err := s.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketTodos).Put([]byte("bad"), []byte{formatV1, 0})
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "bad"); !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("Get of a damaged record: %v", err)
	}
	if _, err := s.Get(t.Context(), "good"); err != nil {
		t.Errorf("Get of another: %v", err)
	}
	for _, inWrite := range []bool{false, true} {
		if inWrite {
			err = s.write(t.Context(), func(*writeTx) error { panic("assertion failed: page 7") })
		} else {
			err = s.view(t.Context(), func(*bbolt.Bucket) error { panic("assertion failed: page 7") })
		}
		if !errors.Is(err, todo.ErrUnavailable) || !strings.Contains(err.Error(), "damaged: assertion failed: page 7") {
			t.Errorf("a panic of bbolt: %v", err)
		}
	}
	if err := s.Insert(t.Context(), todo.Todo{ID: "later", Name: "n"}); err != nil {
		t.Errorf("Insert after it: %v", err)
	}
}

// TestPanickingChange: a panic of a callback reaches its caller. The writer and the other
// writes of the transaction are not affected.
func TestPanickingChange(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Insert(t.Context(), todo.Todo{ID: "1", Name: "n"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("the caller recovers %v", p)
				}
			}()
			_, _ = s.Update(t.Context(), "1", func(todo.Todo) (todo.Todo, error) { panic("boom") })
		})
		wg.Go(func() {
			if err := s.Insert(t.Context(), todo.Todo{ID: fmt.Sprint("other ", i), Name: "n"}); err != nil {
				t.Errorf("Insert beside it: %v", err)
			}
		})
	}
	wg.Wait()
	if n, err := s.Count(t.Context()); n != 21 || err != nil {
		t.Errorf("Count: %d, %v", n, err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustWrite(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A user with write permission on the directory or the file can destroy the records. The log
// has a warning. Caught: no warning about a directory with mode 0777.
func TestExposedFileIsReported(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	dir := filepath.Join(t.TempDir(), "data")
	open := func() string {
		t.Helper()
		b.Reset()
		s, err := Open(dir, Options{Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if said := open(); said != "" {
		t.Errorf("of a store that it made itself: %s", said)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if said := open(); strings.Count(said, "level=WARN") != 1 || !strings.Contains(said, "path="+dir+" ") || !strings.Contains(said, "every user may write to it") {
		t.Errorf("of a directory for all: %s", said)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, FileName), 0o660)); err != nil {
		t.Fatal(err)
	}
	if said := open(); strings.Count(said, "level=WARN") != 1 || !strings.Contains(said, FileName) || !strings.Contains(said, "its group may write to it") {
		t.Errorf("of a file for the group: %s", said)
	}
	if _, err := Open(os.DevNull, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a device: %v", err)
	}
}
