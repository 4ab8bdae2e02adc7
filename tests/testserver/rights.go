package testserver

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// leastRights reports whether URLs are to name a user that has the rights of
// SECURITY.md and no more, but for the keys: ASIDE_TEST_REDIS_RIGHTS=least. The
// servers themselves are driven by the default user, as ever, and sentinels are
// asked by it.
func leastRights() bool { return os.Getenv("ASIDE_TEST_REDIS_RIGHTS") == "least" }

// AllRights has the servers that t starts name the default user in their URLs, who
// has all rights, even where the environment asks for the least. why says which right
// the test needs, and for what.
func AllRights(t testing.TB, why string) {
	if leastRights() {
		t.Logf("with all rights: %s", why)
	}
	allRights.Store(t.Name(), true)
}

var allRights sync.Map // names of tests

// hasAll reports whether AllRights was called for t, or for the test that t is a part of.
func hasAll(t testing.TB) bool {
	for name, more := t.Name(), true; more; {
		if _, ok := allRights.Load(name); ok {
			return true
		}
		at := strings.LastIndexByte(name, '/')
		if more = at >= 0; more {
			name = name[:at]
		}
	}
	return false
}

const leastUser, leastPassword = "aside-least", "least"

// userinfo is what stands before the host in a URL.
func userinfo(t testing.TB) *url.Userinfo {
	if !leastRights() || hasAll(t) {
		return nil
	}
	return url.UserPassword(leastUser, leastPassword)
}

// address is a redis:// URL of a host, without what may follow.
func address(t testing.TB, host string) string {
	return (&url.URL{Scheme: "redis", User: userinfo(t), Host: host}).String()
}

// grantLeast makes that user. Users are kept in no snapshot and by no replica.
func (s *RedisServer) grantLeast() error {
	kind := "aside"
	switch {
	case slices.Contains(s.args, "--cluster-enabled"):
		kind = "aside-cluster"
	case slices.Contains(s.args, "--replica-priority"):
		kind = "aside-sentinel"
	}
	rights, err := s.rights(kind)
	if err != nil {
		return err
	}
	for i, right := range rights {
		if strings.HasPrefix(right, "~") {
			rights[i] = "~*"
		}
	}
	_, err = s.do(slices.Concat([]string{"ACL", "SETUSER", leastUser, "on", ">" + leastPassword}, rights)...)
	return err
}

// Rights are those of one user that SECURITY.md names, without those that the
// server does not know yet.
func (s *RedisServer) Rights(user string) []string {
	s.t.Helper()
	rights, err := s.rights(user)
	if err != nil {
		s.t.Fatal(err)
	}
	return rights
}

func (s *RedisServer) rights(user string) ([]string, error) {
	rights, err := documentedRights(user)
	if err != nil {
		return nil, err
	}
	server, err := s.info("server")
	if strings.HasPrefix(server["redis_version"], "7.0.") {
		rights = slices.DeleteFunc(rights, func(r string) bool { return r == "+client|setinfo" })
	}
	return rights, err
}

// documentedRights reads a line of SECURITY.md.
func documentedRights(user string) ([]string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "SECURITY.md"))
		if err == nil {
			line := regexp.MustCompile(`(?m)^user ` + user + ` on >PASSWORD (.*)$`).FindSubmatch(text)
			if line == nil {
				return nil, fmt.Errorf("%s has no line of a Redis user %s", filepath.Join(dir, "SECURITY.md"), user)
			}
			return strings.Fields(string(line[1])), nil
		}
		if dir == filepath.Dir(dir) {
			return nil, fmt.Errorf("SECURITY.md, which has the rights, is in no directory above: %w", err)
		}
	}
}
