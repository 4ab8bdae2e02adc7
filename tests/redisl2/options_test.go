package redisl2_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

// Each fault is named, and the password never is. Caught: the error of net/url
// shows what stands before the first character that should have been encoded.
func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    redisl2.Options
		want string
	}{
		{redisl2.Options{}, "empty"},
		{redisl2.Options{URL: "127.0.0.1:6379"}, "no scheme"},
		{redisl2.Options{URL: "http://127.0.0.1:6379"}, "unknown scheme"},
		{redisl2.Options{URL: "hunter2://127.0.0.1:6379"}, "unknown scheme"},
		{redisl2.Options{URL: "redis://"}, "no host"},
		{redisl2.Options{URL: "redis://:6379"}, "no host"},
		{redisl2.Options{URL: "redis://host:port"}, `invalid port ":port"`},
		{redisl2.Options{URL: "redis://host:99999"}, "no host:port"},
		{redisl2.Options{URL: "redis://host:6379/one"}, `"one"`},
		{redisl2.Options{URL: "redis://host:6379/-1"}, "database number is -1"},
		{redisl2.Options{URL: "redis://host:6379/1/2"}, "/1/2"},
		{redisl2.Options{URL: "redis://host?dial_timeout=soon"}, "soon"},
		{redisl2.Options{URL: "redis://host?master-set=mymaster"}, `unknown parameter "master-set", want one of addr`},
		{redisl2.Options{URL: "redis://host?master_set="}, "master_set is empty"},
		{redisl2.Options{URL: "redis://host?db=1&db=2"}, "db is given 2 times"},
		{redisl2.Options{URL: "redis://host?addr=a:b:c"}, `"a:b:c" is no host:port`},
		{redisl2.Options{URL: "redis://host?protocol=2"}, "tracking"},
		{redisl2.Options{URL: "redis://host?client_cache=0"}, "tracking"},
		{redisl2.Options{URL: "redis://host#1"}, "#1"},
		{redisl2.Options{URL: "unix://redis.sock"}, "absolute path"},
		{redisl2.Options{URL: "redis://:hunter2@host:port"}, `invalid port ":port"`},
		{redisl2.Options{URL: "redis://:hunter2@host:6379/one"}, `"one"`},
		{redisl2.Options{URL: "redis://:hunter2/x@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:hunter2?x@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:hunter2#x@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:hunter2@x@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:hunter2%zz@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:hunter2[@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:12/hunter2@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://:hunter2\x7f@host:6379"}, "percent-encoded"},
		{redisl2.Options{URL: "redis://host", SilenceTimeout: time.Millisecond}, "SilenceTimeout is 1ms"},
		{redisl2.Options{URL: "redis://host", SilenceTimeout: -1}, "SilenceTimeout"},
		{redisl2.Options{URL: "redis://host", DialTimeout: -1}, "DialTimeout"},
		{redisl2.Options{URL: "redis://host", ClientName: "a b"}, `"a b"`},
	} {
		s, err := redisl2.Open(c.o)
		if err == nil {
			s.Close()
			t.Errorf("%+v: opened", c.o)
			continue
		}
		if !errors.Is(err, redisl2.ErrOptions) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %q, want one that says %s", c.o.URL, err, c.want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is shown: %v", err)
		}
	}
}

// Forms that are right are taken, though nobody listens there.
func TestURLForms(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://127.0.0.1:1",
		"redis://127.0.0.1:1/3",
		"redis://[::1]:1?db=3&client_name=todo&dial_timeout=1s",
		"redis://user:p%40ss%2Fw%3Ard@127.0.0.1:1",
		"rediss://:pw@127.0.0.1:1?skip_verify=true",
		"valkey://127.0.0.1:1",
		"unix:///nowhere/redis.sock?db=1",
		"redis://127.0.0.1:1?addr=127.0.0.1:2&addr=127.0.0.1:3",
		"redis://127.0.0.1:1?addr=127.0.0.1:2&master_set=mymaster",
	} {
		l := &testsync.Buffer{}
		s, err := redisl2.Open(redisl2.Options{URL: url, DialTimeout: 100 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(l, nil))})
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "not connected") {
			t.Errorf("%s: ping: %v", url, err)
		}
		s.Close()
		if strings.Contains(l.String(), "p@ss") || strings.Contains(l.String(), "p%40ss") {
			t.Errorf("the password is in the log: %s", l)
		}
	}
}

// Caught: without the look at the version the Store is used, until a script that
// the server cannot read shows a syntax error.
func TestServerTooOld(t *testing.T) {
	t.Parallel()
	tap := newTap(t, testserver.Redis(t))
	tap.replace(func(cmd []string) []string {
		if len(cmd) == 1 && cmd[0] == "HELLO" {
			return []string{"EVAL", "redis.setresp(3) return {map={version='6.2.14'}}", "0"}
		}
		return cmd
	})
	s := open(t, redisl2.Options{URL: tap.url(), Logger: slog.New(slog.DiscardHandler)})
	testsync.Eventually(t, "the server is refused for its version", func() bool { // a busy machine has a connection time out first
		err := s.Ping(t.Context())
		return err != nil && strings.Contains(err.Error(), "version is 6.2.14, want 7.0")
	})
	tap.replace(nil)
	testsync.Eventually(t, "the server that was upgraded is used", func() bool { return s.Ping(t.Context()) == nil })
}
