// Package files writes files where other users may have put links in the way, and
// tells who else may write to them.
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

// Write makes the file path with what write writes, in place of one that is
// there. It writes a new file beside it and gives that the name, so that no other
// name of an old file (a hard link) changes with it, and a failure leaves the old
// one as it was.
//
// A symbolic link of this user, or of root, is followed, and a warning says where
// to. One of somebody else is refused: it may lead to any file of this user. What
// is no regular file, such as /dev/stdout or a named pipe that somebody reads, is
// written to as it is.
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
		slog.Warn("the file is reached through a symbolic link", "file", path, "written", target)
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

// resolve returns what path leads to, if that is for this user to decide.
func resolve(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		return path, nil // the opening tells what is wrong
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		// What /dev/stdout leads to can have no name, such as a pipe.
		if info, statErr := os.Stat(path); statErr == nil && !info.Mode().IsRegular() {
			return path, nil
		}
		return "", fmt.Errorf("%s is a symbolic link that leads nowhere: remove it, or choose another name", path)
	}
	if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() {
		return path, nil
	}
	if foreign(info) {
		return "", fmt.Errorf("%s is a symbolic link of another user, to %s: it is not followed; remove it, or choose another name", path, target)
	}
	return target, nil
}

func into(path string, info fs.FileInfo, write func(io.Writer) error) error {
	flags := os.O_WRONLY
	if info.Mode()&os.ModeNamedPipe != 0 {
		flags |= nonBlocking // opening would wait for a reader for ever
	}
	f, err := os.OpenFile(path, flags, 0)
	if noReader(err) {
		return fmt.Errorf("%s is a pipe that nobody reads", path)
	}
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// Exposed says why users other than this one and root may write to the file or
// directory that info is of, or "".
func Exposed(info fs.FileInfo) string {
	mode := info.Mode()
	switch {
	case foreign(info):
		return "it belongs to another user"
	case mode.IsDir() && mode&os.ModeSticky != 0:
		return "" // they may add files, but not touch this user's
	case mode.Perm()&0o002 != 0:
		return "every user may write to it"
	case mode.Perm()&0o020 != 0:
		return "its group may write to it"
	}
	return ""
}
