package redisl2_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/redisl2"
	"github.com/asidecache/aside/tests/testserver"
)

const tagsPrefix, tagsTable = "aside:tagged:tags:", "aside:tagged:tags:table"

// A right that only tags need is missed by name by a cache that uses tags, and by no
// other.
// Caught: an upgrade after which a cache without tags does not start.
func TestRightsOfTagsAreMissedByName(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	all := srv.Rights("aside")
	for _, right := range []string{"+zadd", "+zrange", "+zremrangebyscore"} {
		grant("u", slices.DeleteFunc(slices.Clone(all), func(r string) bool { return r == right }), srv)
		s := open(t, redisl2.Options{URL: as("u", srv.URL())})
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("without %s, and without tags: %v", right, err)
		}
		stop, err := s.Watch(tagsPrefix, driver.Watcher{Changed: func(string) {}, Lost: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		name := strings.ToUpper(right[1:])
		if err := s.Check(t.Context()); !errors.Is(err, redisl2.ErrUnusable) || !strings.Contains(err.Error(), "may not run "+name+" (NOPERM): grant it ("+right+")") {
			t.Errorf("without %s: %v", right, err)
		}
		stop()
		s.Close()
	}
	grant("u", all, srv)
	s := open(t, redisl2.Options{URL: as("u", srv.URL())})
	if _, err := s.Watch(tagsPrefix, driver.Watcher{Changed: func(string) {}, Lost: func() {}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func invalidate(t *testing.T, s *redisl2.Store, known driver.TagStamp, tags ...string) driver.TagTable {
	t.Helper()
	a, err := s.Tags(t.Context(), driver.TagRequest{Key: tagsTable, Invalidate: tags, Known: known, Fresh: 77, Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Tags are invalidated while memory is full: what they make useless is what fills it.
// Caught: "#!lua" at the head of tags.lua, or a first command that does not write.
func TestTagsWhileMemoryIsFull(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	before := invalidate(t, s, driver.TagStamp{})
	srv.Do("SET", "other", strings.Repeat("x", 4<<20))
	srv.Do("CONFIG", "SET", "maxmemory", "1mb")
	if after := invalidate(t, s, before.TagStamp, "t"); after.Seq <= before.Seq || after.Epoch != before.Epoch {
		t.Errorf("%+v after %+v", after, before)
	}
	srv.Do("UNLINK", tagsTable)
	if after := invalidate(t, s, before.TagStamp, "t"); len(after.Changed) != 1 {
		t.Errorf("a new table: %+v", after)
	}
}

// What is under the key of the table and is none is replaced. Caught: each of these.
func TestWhatIsNoTableOfTags(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	for i, cmd := range [][]string{
		{"SET", tagsTable, "x"}, {"LPUSH", tagsTable, "x"}, {"ZADD", tagsTable, "5", "x"}, {"ZADD", tagsTable, "5", "e12", "9", "ta"}, {"SADD", tagsTable, "e0000000000000007"},
	} {
		srv.Do("UNLINK", tagsTable)
		invalidate(t, s, driver.TagStamp{})
		srv.Do("UNLINK", tagsTable)
		srv.Do(cmd...)
		a := invalidate(t, s, driver.TagStamp{}, fmt.Sprint(i))
		if a.Epoch != 77 || len(a.Changed) != 1 || a.Changed[0].Tag != fmt.Sprint(i) {
			t.Errorf("%v: %+v", cmd, a)
		}
	}
}

// A replica refuses, also a question alone. Caught: a first command that only reads.
func TestTagsOnAReplica(t *testing.T) {
	t.Parallel()
	g := testserver.Sentinel(t, 1, 1)
	s := open(t, redisl2.Options{URL: g.Nodes[1].URL()})
	if a, err := s.Tags(t.Context(), driver.TagRequest{Key: tagsTable, Fresh: 7, Max: 9}); err == nil {
		t.Errorf("a replica answers: %+v", a)
	}
}

// A server that starts again from a snapshot does not bring an old table back.
// Caught: a prefix that is not cleared; nobody else would notice, since the entries are.
func TestTagsAfterARestart(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	before := invalidate(t, s, driver.TagStamp{}, "a")
	srv.Do("SAVE")
	srv.RestartFromSnapshot()
	again := open(t, redisl2.Options{URL: srv.URL()})
	a, err := again.Tags(t.Context(), driver.TagRequest{Key: tagsTable, Fresh: 78, Max: 9})
	if err != nil || a.Epoch != 78 || len(a.Changed) != 0 {
		t.Errorf("%+v, %v, before %+v", a, err, before)
	}
}

// The table is kept for 30 days, and a question alone keeps it too. Caught: a table that
// expires while it is in use; a question that ends every node's watch each time.
func TestTableOfTagsIsKept(t *testing.T) {
	t.Parallel()
	srv := testserver.Redis(t)
	s := open(t, redisl2.Options{URL: srv.URL()})
	a := invalidate(t, s, driver.TagStamp{}, "a")
	left := func() int64 {
		n, err := srv.Do("PTTL", tagsTable).AsInt64()
		if err != nil {
			t.Error(err)
		}
		return n
	}
	const day = 24 * 3600 * 1000
	if n := left(); n < 29*day {
		t.Errorf("%d ms left", n)
	}
	srv.Do("PEXPIRE", tagsTable, fmt.Sprint(20*day))
	if invalidate(t, s, a.TagStamp); left() > 20*day {
		t.Error("a question changes a table that is kept for long")
	}
	srv.Do("PEXPIRE", tagsTable, fmt.Sprint(10*day))
	if invalidate(t, s, a.TagStamp); left() < 29*day {
		t.Error("a question does not keep the table")
	}
}
