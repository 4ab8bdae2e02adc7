package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/asidecache/aside/bench/internal/worker"
)

func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}

// A table that was asked for is written where it was asked for, and nothing else.
func TestRun(t *testing.T) {
	out := t.TempDir()
	a := arguments{Tables: []string{"memory"}, Short: true, Peers: []string{"aside-l1"}, Out: out}
	if err := a.run(context.Background()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil || len(files) != 3 {
		t.Errorf("wrote %v, %v", files, err)
	}
	for _, f := range files {
		if name := filepath.Base(f); name != "memory.json" && name != "memory.md" && name != "memory.svg" {
			t.Errorf("wrote %s", name)
		}
	}
}

func TestKinds(t *testing.T) {
	if kinds, err := (arguments{}).kinds(); err != nil || len(kinds) != len(names()) {
		t.Errorf("%d tables, %v", len(kinds), err)
	}
	if err := (arguments{Tables: []string{"l1", "none"}}).run(context.Background()); err == nil {
		t.Error("made a table that there is not")
	}
}
