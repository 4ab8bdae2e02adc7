//go:build unix

package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func said(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return &b
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func mustRead(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustWrite(t *testing.T, path, s string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(s), 0o640); err != nil {
		t.Fatal(err)
	}
}

// Write does not silently overwrite the target of a link. Caught: a report that overwrote the
// target of a symbolic link, or of a hard link.
func TestWriteThroughLinks(t *testing.T) {
	log := said(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	left := func() {
		t.Helper()
		files, _ := filepath.Glob(at(".*"))
		if len(files) > 0 {
			t.Errorf("%q are left", files)
		}
	}

	if err := Write(at("new"), text("1")); err != nil || mustRead(t, at("new")) != "1" {
		t.Errorf("a new file: %v", err)
	}
	mustWrite(t, at("old"), "a longer text")
	if err := Write(at("old"), text("2")); err != nil || mustRead(t, at("old")) != "2" {
		t.Errorf("an old file: %v", err)
	}
	if info, err := os.Stat(at("old")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is now %v, %v", info.Mode(), err)
	}
	mustWrite(t, at("precious"), "precious")
	if err := os.Link(at("precious"), at("hard")); err != nil {
		t.Fatal(err)
	}
	if err := Write(at("hard"), text("3")); err != nil || mustRead(t, at("hard")) != "3" || mustRead(t, at("precious")) != "precious" {
		t.Errorf("a hard link: %v, the other name holds %q", err, mustRead(t, at("precious")))
	}
	if log.Len() > 0 {
		t.Errorf("said: %s", log)
	}

	mustWrite(t, at("target"), "old")
	if err := os.Symlink("target", at("link")); err != nil {
		t.Fatal(err)
	}
	if err := Write(at("link"), text("4")); err != nil || mustRead(t, at("target")) != "4" {
		t.Errorf("a link of one's own: %v", err)
	}
	if info, err := os.Lstat(at("link")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
	if !strings.Contains(log.String(), "symbolic link") || !strings.Contains(log.String(), at("target")) {
		t.Errorf("said: %s", log)
	}
	if err := os.Symlink("nothing", at("dangling")); err != nil {
		t.Fatal(err)
	}
	if err := Write(at("dangling"), text("5")); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a link to nothing: %v", err)
	}
	if err := Write(dir, text("6")); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: %v", err)
	}
	broken := errors.New("disk on fire")
	if err := Write(at("old"), func(io.Writer) error { return broken }); !errors.Is(err, broken) || mustRead(t, at("old")) != "2" {
		t.Errorf("a failure: %v, and it holds %q", err, mustRead(t, at("old")))
	}
	left()
}

// A symbolic link of another user may lead to any file of this one.
func TestWriteThroughAForeignLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	mustWrite(t, target, "precious")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Lchown(link, 12345, 12345); err != nil {
		t.Skip("only root can make a link of another user: ", err)
	}
	if err := Write(link, text("x")); err == nil || !strings.Contains(err.Error(), "of another user") || mustRead(t, target) != "precious" {
		t.Errorf("%v, the target holds %q", err, mustRead(t, target))
	}
}

// Write writes to pipes and devices. A pipe without a reader does not block the program.
func TestWriteToPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(pipe, text("x")); err == nil || !strings.Contains(err.Error(), "without a reader") {
		t.Errorf("without a reader: %v", err)
	}
	r, err := os.OpenFile(pipe, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := Write(pipe, text("report")); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "report" {
		t.Errorf("the reader got %q, %v", b, err)
	}
	if err := Write(os.DevNull, text("x")); err != nil {
		t.Error(err)
	}
	// Like /dev/stdout in a pipeline: a link to a pipe without a name.
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pr.Close()
	link := fmt.Sprintf("/proc/self/fd/%d", pw.Fd())
	if _, err := os.Lstat(link); err != nil {
		t.Skip(err)
	}
	if err := Write(link, text("piped")); err != nil {
		t.Error(err)
	}
	pw.Close()
	if b, err := io.ReadAll(pr); err != nil || string(b) != "piped" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestExposed(t *testing.T) {
	dir := t.TempDir()
	for mode, want := range map[os.FileMode]string{
		0o700: "", 0o755: "", 0o770: "its group may write to it", 0o777: "every user may write to it", 0o777 | os.ModeSticky: "",
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := Exposed(info); got != want {
			t.Errorf("%v: %q, want %q", mode, got, want)
		}
	}
	file := filepath.Join(dir, "file")
	mustWrite(t, file, "x")
	if err := os.Chown(file, 12345, 12345); err != nil {
		t.Skip("only root can give a file away: ", err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := Exposed(info); got != "it belongs to another user" {
		t.Errorf("%q", got)
	}
}
