package main

import (
	"strings"
	"testing"
)

// Caught: a text that is not a number was read as version 0.
func TestSchemaVersionOfABuild(t *testing.T) {
	for text, want := range map[string]uint32{"1": 1, "2": 2, "4294967295": 1<<32 - 1} {
		if got := parseSchemaVersion(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"", "two", "-1", "4294967296"} {
		func() {
			defer func() {
				if r, _ := recover().(string); !strings.Contains(r, "main.schemaVersionText") {
					t.Errorf("%q: panic %q", text, r)
				}
			}()
			parseSchemaVersion(text)
		}()
	}
}
