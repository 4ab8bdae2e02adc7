// Package files writes files safely, even if other users may have placed links there, and
// checks who else may write to a file.
package files

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// Write replaces the file path with the output of write. It writes a new file in the same
// directory and renames it. So other hard links of an old file do not change, and after a
// failure the old file is unchanged.
//
// Write follows a symbolic link of this user or of root, and logs a warning with its
// target. It refuses a link of another user, which could lead to any file of this user. If
// path is not a regular file, such as /dev/stdout or a named pipe with a reader, Write
// writes to it directly.
func Write(path string, write func(io.Writer) error) error {
	target, err := resolve(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case err == nil && !info.Mode().IsRegular():
		return into(target, info, write)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if target != path {
		slog.Warn("writing to the target of a symbolic link", "file", path, "written", target)
	}
	mode := fs.FileMode(0o666) // less the umask
	tmp := filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+"."+rand.Text()[:8])
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil && info != nil {
		err = f.Chmod(info.Mode().Perm())
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, target)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// resolve returns the target of path. It refuses links of other users.
func resolve(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		return path, nil // opening the file returns the error
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		// The target of /dev/stdout may have no name, for example if it is a pipe.
		if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
			return path, nil
		}
		return "", fmt.Errorf("%s is a symbolic link to a file that does not exist: remove it, or choose another name", path)
	}
	if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() {
		return path, nil
	}
	if foreign(info) {
		return "", fmt.Errorf("%s is a symbolic link of another user to %s, and is not followed: remove it, or choose another name", path, target)
	}
	return target, nil
}

func into(path string, info fs.FileInfo, write func(io.Writer) error) error {
	flags := os.O_WRONLY
	if info.Mode()&os.ModeNamedPipe != 0 {
		flags |= nonBlocking // opening would wait for a reader
	}
	f, err := os.OpenFile(path, flags, 0)
	if noReader(err) {
		return fmt.Errorf("%s is a pipe without a reader", path)
	}
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// Exposed returns the reason why users other than this one and root may write to the file
// or directory with this info, or "".
func Exposed(info fs.FileInfo) string {
	mode := info.Mode()
	switch {
	case foreign(info):
		return "it belongs to another user"
	case mode.IsDir() && mode&os.ModeSticky != 0:
		return "" // they may add files, but not change files of this user
	case mode.Perm()&0o002 != 0:
		return "every user may write to it"
	case mode.Perm()&0o020 != 0:
		return "its group may write to it"
	}
	return ""
}
