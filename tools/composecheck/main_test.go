package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The file of this repository passes, and each fault in it is found. Caught: a Redis that
// evicts (allkeys-lfu), which takes the fences of writes away; services of a profile,
// which were not looked at.
func TestCheck(t *testing.T) {
	const file = "../../compose.yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(file); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct{ old, new, says string }{
		{"noeviction", "allkeys-lfu", "noeviction"},
		{`, "--maxmemory-policy", "noeviction"`, "", "noeviction"},
		{`"--maxmemory", "1gb"`, `"--maxmemory", "100mb"`, "at least"},
		{`"--maxmemory", "1gb", `, "", "--maxmemory SIZE"},
		{"\n  redis:\n    image", "\n  valkey:\n    image", "no service redis"},
		{"127.0.0.1:6379:6379", "6379:6379", "127.0.0.1"},
		{"127.0.0.1:5432:5432", "5432:5432", "127.0.0.1"},
		{"wal_level=logical\"", "wal_level=replica\"", "wal_level=logical"},
		{`"-c", "wal_level=logical", `, "", "wal_level=logical"},
		{"max_slot_wal_keep_size=1GB\"", "max_slot_wal_keep_size=-1\"", "max_slot_wal_keep_size=SIZE"},
		{`, "-c", "max_slot_wal_keep_size=1GB"`, "", "max_slot_wal_keep_size=SIZE"},
		{`profiles: ["postgres"]`, `profiles: ["all"]`, "the profile postgres"},
		{"\n  postgres:\n    profiles", "\n  mysql:\n    profiles", "no service postgres"},
		{"healthcheck:", "labels:", "redis"},
		{"services:", "servises:", "servises"},
	} {
		changed := strings.Replace(string(text), tt.old, tt.new, 1)
		if changed == string(text) {
			t.Errorf("%q is not in %s", tt.old, file)
		}
		bad := filepath.Join(t.TempDir(), "compose.yaml")
		if err := os.WriteFile(bad, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := check(bad); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%q instead of %q: %v", tt.new, tt.old, err)
		}
	}
}
