package redisl2

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// What a server tracks, of connections that are gone too, is told before it forgets
// keys or entries for it, and once. Caught: a warning at each look, and none where
// CONFIG may not be asked.
func TestTrackedIsWatched(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	var log bytes.Buffer
	open := func(url string) *Store {
		// No pulse: the self-test that it has run reads a key too.
		s, err := Open(Options{URL: url, Logger: slog.New(slog.NewTextHandler(&log, nil)), SilenceTimeout: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// read has the server track 1,000 keys.
	read := func(s *Store) {
		var reqs []driver.LeaseRequest
		for i := range 1000 {
			reqs = append(reqs, driver.LeaseRequest{Key: fmt.Sprint("aside:t:0:", i), Lease: envelope.NewToken(), TTL: 1e10})
		}
		for range 2 { // leased, and then found leased
			for _, a := range s.Acquire(context.Background(), reqs) {
				if a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			for i := range reqs {
				reqs[i].Lease = envelope.NewToken()
			}
		}
	}
	for range 3 {
		s := open(srv.URL())
		read(s)
		s.Close()
	}
	srv.Do("ACL", "SETUSER", "aside", "on", ">pw", "~*", "+@all", "-config")
	s := open(strings.Replace(srv.URL(), "redis://", "redis://aside:pw@", 1))
	defer s.Close()
	look := func() Tracked {
		s.lookTracked(*s.client.Load())
		got, ok := s.Tracked()
		if !ok {
			t.Fatal("nothing is known")
		}
		return got
	}
	if got := look(); got.Keys != 1000 || got.Items != 3000 || got.Limit != defaultTracked || log.Len() > 0 {
		t.Errorf("%+v, log: %s", got, &log)
	}
	srv.Do("CONFIG", "SET", "maxmemory", "500kb")
	srv.Do("ACL", "SETUSER", "aside", "+config")
	srv.Do("CONFIG", "SET", "tracking-table-max-keys", "1100")
	for range 3 {
		if got := look(); got.Limit != 1100 {
			t.Errorf("%+v", got)
		}
	}
	for _, want := range []string{"tracks nearly as many keys", "a quarter of redis' maxmemory"} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%q is said %d times: %s", want, n, &log)
		}
	}
	srv.Do("ACL", "SETUSER", "aside", "-info")
	s.lookTracked(*s.client.Load())
	if _, ok := s.Tracked(); ok {
		t.Error("something is known without INFO")
	}
}
