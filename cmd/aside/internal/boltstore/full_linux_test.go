package boltstore

import (
	"os"
	"syscall"
	"testing"
)

// TestFullDisk runs on its own file system of 4 MiB. Only root can mount one, and not in
// every container. TestFileAtItsMaxSize runs everywhere.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		if os.Getenv("CI") != "" && os.Geteuid() == 0 {
			t.Fatalf("root in CI cannot mount a small file system: %v", err)
		}
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fullStoreWorksOn(t, s, syscall.ENOSPC)
}
