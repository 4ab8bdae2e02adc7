package redisl2_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/testserver"
	"github.com/asidecache/aside/redisl2"
)

// The rights in SECURITY.md are enough for one server.
// Caught: a script that had come to need PEXPIRE, which the list did not have.
func TestRightsInSecurityMD(t *testing.T) {
	text, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^user aside on >PASSWORD (.*)$`).FindSubmatch(text)
	if line == nil {
		t.Fatal("SECURITY.md has no line of a Redis user")
	}
	srv := testserver.Redis(t)
	rights := strings.Replace(string(line[1]), "~aside:*", "~aside*", 1) // the suite's keys
	if strings.HasPrefix(srv.Info("server")["redis_version"], "7.0.") {
		rights = strings.Replace(rights, "+client|setinfo", "", 1) // not known there
	}
	srv.Do(append([]string{"ACL", "SETUSER", "aside", "on", ">secret"}, strings.Fields(rights)...)...)
	url := strings.Replace(srv.URL(), "redis://", "redis://aside:secret@", 1)
	asidetest.TestL2(t, func(t *testing.T) (a, b aside.L2) {
		return open(t, redisl2.Options{URL: url}), open(t, redisl2.Options{URL: url})
	})
	p := newPrimary(numbered("k", 8)...)
	n := newNode(t, p, url, func(o *options) { o.L1Size = -1 })
	for range 20 { // so that values are expected, and asked for with MGET
		if got, err := n.GetMany(t.Context(), numbered("k", 8), p); err != nil || len(got) != 8 {
			t.Fatalf("%d of 8: %v", len(got), err)
		}
	}
	if s := n.Stats(); s.L2Errors != 0 || s.HitsL2 == 0 {
		t.Errorf("%d errors, %d hits: %s", s.L2Errors, s.HitsL2, s.DegradedReason)
	}
}
