package testserver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server that is too old, or none, is refused by name. Caught: 48 puzzling
// failures on Redis 6.2.
func TestRedisVersion(t *testing.T) {
	for says, want := range map[string]string{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64": "Redis server 7.0.15",
		"Valkey server v=8.1.7 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64": "Valkey server 8.1.7",
		"Redis server v=255.255.255 sha=abcdef:0 malloc=jemalloc bits=64":    "Redis server 255.255.255",
		"Redis server v=6.2.16 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64": "is Redis server 6.2.16",
		"KeyDB server v=6.3.4 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64":  "is KeyDB server 6.3.4",
		"some other program 1.0": "is no Redis",
	} {
		path := filepath.Join(t.TempDir(), "server")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		got, err := redisVersion(path)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || strings.HasPrefix(want, "is ") != (err != nil) {
			t.Errorf("%s: %q, %v", says, got, err)
		}
	}
}
