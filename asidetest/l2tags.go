package asidetest

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/asidecache/aside/driver"
)

var checksOfTagging = []check{
	{"TagsGetHigherNumbers", (*suite).tagsGetNumbers},
	{"TagsTellWhatIsNotKnown", (*suite).tagsTellNews},
	{"TagsAreBounded", (*suite).tagsAreBounded},
	{"TagsThatWentBackBeginAnew", (*suite).tagsBeginAnew},
	{"TagsAreWatched", (*suite).tagsAreWatched},
	{"TagsOfAnyBytes", (*suite).tagsOfAnyBytes},
	{"TagsStayWhenEntriesAreCleared", (*suite).tagsAreNotCleared},
	{"WhatIsNoTableIsTakenOver", (*suite).tagsTakeOver},
	{"TagsHaveLimits", (*suite).tagsHaveLimits},
}

// tags makes a request about a table of the test's own. The epoch for a new table is e.
func (s *suite) tags(l driver.Tier, e uint64, known driver.TagStamp, names ...string) driver.TagTable {
	s.Helper()
	return s.doTags(l, driver.TagRequest{Invalidate: names, Known: known, Fresh: e, Max: 100})
}

func (s *suite) doTags(l driver.Tier, req driver.TagRequest) driver.TagTable {
	s.Helper()
	req.Key = s.tagsKey()
	t, err := l.(driver.Tagging).Tags(s.ctx, req)
	if err != nil {
		s.Fatalf("Tags %+v: %v", req, err)
	}
	return t
}

// tagsKey is a key under a prefix of its own, as a cache's table has one.
func (s *suite) tagsKey() string { return s.prefix + "table" }

func (s *suite) wantChanged(t driver.TagTable, want map[string]uint64) {
	s.Helper()
	got := map[string]uint64{}
	for _, c := range t.Changed {
		got[c.Tag] = c.Number
	}
	if !maps.Equal(got, want) {
		s.Fatalf("told %v, want %v", got, want)
	}
}

var noStamp driver.TagStamp

func (s *suite) tagsGetNumbers() {
	first := s.tags(s.a, 7, noStamp)
	if first.Epoch != 7 || first.Seq == 0 || len(first.Changed) != 0 || first.Floor > first.Seq {
		s.Fatalf("a new table is %+v", first)
	}
	seq := first.Seq
	for i, names := range [][]string{{"a"}, {"b", "a", "b"}, {"c"}} {
		t := s.tags(s.b, 8, first.TagStamp, names...)
		if t.Epoch != 7 || t.Seq <= seq || t.Floor != first.Floor {
			s.Fatalf("invalidation %d: %+v after the number %d", i, t, seq)
		}
		seq = t.Seq
	}
	ahead := driver.TagStamp{Epoch: 9, Seq: 1 << 51} // of a table that is not there any more
	if t := s.tags(s.a, 8, ahead); t.Epoch != 7 || t.Seq != seq || len(t.Changed) != 3 {
		s.Fatalf("who knows another table is told %+v", t)
	}
}

func (s *suite) tagsTellNews() {
	zero := s.tags(s.a, 7, noStamp)
	one := s.tags(s.a, 7, zero.TagStamp, "a", "b")
	s.wantChanged(one, map[string]uint64{"a": one.Seq, "b": one.Seq})
	two := s.tags(s.b, 7, one.TagStamp, "b", "c")
	s.wantChanged(two, map[string]uint64{"b": two.Seq, "c": two.Seq})
	s.wantChanged(s.tags(s.a, 7, two.TagStamp), nil)
	s.wantChanged(s.tags(s.a, 7, one.TagStamp), map[string]uint64{"b": two.Seq, "c": two.Seq})
	all := map[string]uint64{"a": one.Seq, "b": two.Seq, "c": two.Seq}
	s.wantChanged(s.tags(s.a, 7, driver.TagStamp{Epoch: 7}), all)
	s.wantChanged(s.tags(s.a, 7, noStamp), all)
	s.wantChanged(s.tags(s.a, 7, driver.TagStamp{Epoch: 6, Seq: two.Seq + 5}), all)
}

func (s *suite) tagsAreBounded() {
	var t driver.TagTable
	numbers := map[string]uint64{}
	for i := range 12 {
		name := fmt.Sprint("t", i%8) // the last are t4 to t7, t0 to t3
		t = s.doTags(s.a, driver.TagRequest{Invalidate: []string{name}, Known: t.TagStamp, Fresh: 7, Max: 5})
		numbers[name] = t.Seq
	}
	want := map[string]uint64{}
	for _, name := range []string{"t7", "t0", "t1", "t2", "t3"} {
		want[name] = numbers[name]
	}
	if t.Floor != numbers["t6"] || t.Epoch != 7 {
		s.Fatalf("the floor is %d, want that of the last that left, %d", t.Floor, numbers["t6"])
	}
	s.wantChanged(s.tags(s.b, 7, noStamp), want)
	// More at once than there may be: all of one number, so none can stay.
	t = s.doTags(s.a, driver.TagRequest{Invalidate: []string{"1", "2", "3", "4", "5", "6"}, Fresh: 7, Max: 5})
	if t.Floor != t.Seq || len(t.Changed) != 0 {
		s.Fatalf("%+v", t)
	}
	after := s.tags(s.b, 7, t.TagStamp, "a")
	s.wantChanged(after, map[string]uint64{"a": after.Seq})
}

func (s *suite) tagsBeginAnew() {
	old := s.tags(s.a, 7, noStamp, "a")
	ahead := driver.TagStamp{Epoch: 7, Seq: old.Seq + 1<<40}
	t := s.tags(s.a, 8, ahead, "b")
	if t.Epoch != 8 || t.Seq <= ahead.Seq {
		s.Fatalf("a table that has lost what the caller knows is %+v", t)
	}
	s.wantChanged(t, map[string]uint64{"b": t.Seq})
	renew := driver.TagRequest{Known: old.TagStamp, Renew: true, Fresh: 9, Max: 100}
	if t := s.doTags(s.b, renew); t.Epoch != 8 {
		s.Fatalf("begun anew for another epoch: %+v", t)
	}
	renew.Known.Epoch, renew.Known.Seq = 8, 0
	if n := s.doTags(s.b, renew); n.Epoch != 9 || n.Seq <= t.Seq || len(n.Changed) != 0 || n.Floor != n.Seq {
		s.Fatalf("not begun anew: %+v", n)
	}
}

func (s *suite) tagsAreWatched() {
	told := make(chan string, 100)
	stop, err := s.b.Watch(s.prefix, driver.Watcher{Changed: func(k string) { told <- k }, Lost: func() { told <- "lost" }})
	if err != nil {
		s.Fatal(err)
	}
	defer stop()
	want := func(why string) {
		s.Helper()
		select {
		case k := <-told:
			if k != "table" {
				s.Fatalf("%s: told of %q", why, k)
			}
		case <-time.After(10 * time.Second):
			s.Fatalf("%s: not told", why)
		}
	}
	t := s.tags(s.b, 7, noStamp)
	for range 2 {
		s.tags(s.a, 7, noStamp, "a")
		want("after it was read")
		t = s.tags(s.b, 7, t.TagStamp)
	}
	s.tags(s.b, 7, noStamp, "b") // its own change may be told
	s.tags(s.a, 7, noStamp, "c")
	want("after it was changed")
	s.doTags(s.b, driver.TagRequest{Fresh: 7, Max: 100})
	for len(told) > 0 {
		<-told
	}
	s.doTags(s.a, driver.TagRequest{Known: s.tags(s.a, 7, noStamp).TagStamp, Renew: true, Fresh: 8, Max: 100})
	want("begun anew")
}

func (s *suite) tagsOfAnyBytes() {
	long := string(make([]byte, driver.MaxTagLen))
	names := []string{"e", "t", "e0000000000000007", "\x00\xff", "a b\r\n", long, "ü"}
	t := s.tags(s.a, 7, noStamp, names...)
	want := map[string]uint64{}
	for _, n := range names {
		want[n] = t.Seq
	}
	s.wantChanged(s.tags(s.b, 7, noStamp), want)
}

func (s *suite) tagsAreNotCleared() {
	t := s.tags(s.a, 7, noStamp, "a")
	if err := s.a.Clear(s.ctx, s.prefix+"0:"); err != nil {
		s.Fatal(err)
	}
	if got := s.tags(s.b, 8, noStamp); got.TagStamp != t.TagStamp {
		s.Fatalf("%+v, want %+v", got.TagStamp, t.TagStamp)
	}
}

// An entry under the table's key: a tier's own form of a table is another thing.
func (s *suite) tagsTakeOver() {
	v := value("v")
	s.put(s.a, "table", v, time.Minute)
	if t := s.tags(s.b, 7, noStamp, "a"); t.Epoch != 7 {
		s.Fatalf("%+v", t)
	}
	if t := s.tags(s.a, 8, noStamp); t.Epoch != 7 || len(t.Changed) != 1 {
		s.Fatalf("%+v", t)
	}
}

func (s *suite) tagsHaveLimits() {
	many := make([]string, driver.MaxTagsAtOnce+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for what, req := range map[string]driver.TagRequest{
		"no bytes":       {Invalidate: []string{""}, Fresh: 1, Max: 1},
		"too many bytes": {Invalidate: []string{string(make([]byte, driver.MaxTagLen+1))}, Fresh: 1, Max: 1},
		"too many tags":  {Invalidate: many, Fresh: 1, Max: 1},
		"no epoch":       {Max: 1},
		"no room":        {Fresh: 1},
	} {
		req.Key = s.tagsKey()
		if t, err := s.a.(driver.Tagging).Tags(s.ctx, req); err == nil {
			s.Errorf("%s: %+v", what, t)
		}
	}
	if t := s.doTags(s.a, driver.TagRequest{Invalidate: many[1:], Fresh: 7, Max: 10_000}); len(t.Changed) != driver.MaxTagsAtOnce {
		s.Errorf("%d tags", len(t.Changed))
	}
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.a.(driver.Tagging).Tags(ctx, driver.TagRequest{Key: s.tagsKey(), Fresh: 7, Max: 1}); err == nil {
		s.Error("no error with a cancelled context")
	}
}
