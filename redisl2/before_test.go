package redisl2

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

// before returns a script of the release before, from testdata/before.
func before(t *testing.T, name string) script {
	t.Helper()
	var src string
	for _, part := range []string{name, "each"} {
		b, err := os.ReadFile("testdata/before/" + part + ".lua")
		if err != nil {
			t.Fatal(err)
		}
		src += string(b)
	}
	return script{src, sha(src)}
}

// unfed returns a script of release 0.1.0, the last one that knows no feed.
func unfed(t *testing.T, name string) script {
	t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile("testdata/v0.1.0/" + name + ".lua")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	flags, one, needs := "", read(name), ""
	if strings.HasPrefix(one, "#!") {
		flags, one, _ = strings.Cut(one, "\n")
		flags += "\n"
	}
	if strings.Contains(one, "fences()") {
		needs = read("fences")
	}
	src := flags + needs + one + read("each")
	return script{src, sha(src)}
}

// mixed is nodes of three releases at one key: 0 of today's, 1 of one that had no
// bounds in its fences, 2 of 0.1.0.
type mixed struct {
	*testing.T
	url                                  string
	s                                    *Store
	acquire, fill                        [3]script
	fence, release, abandon_, invalidate [3]script
}

const mixedKey = "aside:t:0:k"

func newMixed(t *testing.T) *mixed {
	t.Helper()
	srv := startRedis(t)
	s, err := Open(Options{URL: srv.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	x := &mixed{T: t, url: srv.URL(), s: s}
	for name, scripts := range map[string]*[3]script{
		"acquire": &x.acquire, "fill": &x.fill, "fence": &x.fence, "release": &x.release, "abandon": &x.abandon_, "invalidate": &x.invalidate,
	} {
		today := map[string]script{"acquire": acquire, "fill": fill, "fence": fence, "release": release, "abandon": abandon, "invalidate": invalidate}
		*scripts = [3]script{today[name], before(t, name), unfed(t, name)}
		teach(s, mixedKey, scripts[1], scripts[2])
	}
	return x
}

// run runs a script and returns its answer, "" for none.
func (x *mixed) run(sc script, a ...string) (answer string) {
	x.Helper()
	var as args
	as.n = copy(as.of[:], a)
	sc.runMany(x.Context(), x.s, 1, func(int) string { return mixedKey }, func(int) args { return as },
		func(_ int, m rueidis.RedisMessage, err error) {
			if err != nil {
				x.Fatal(err)
			}
			if n, err := m.AsInt64(); err == nil {
				answer = fmt.Sprint(n)
			} else {
				answer, _ = m.ToString()
			}
		})
	return answer
}

func (x *mixed) client() rueidis.Client {
	x.Helper()
	c, err := x.s.get()
	if err != nil {
		x.Fatal(err)
	}
	return c
}

// get returns what stands under the key.
func (x *mixed) get() string {
	x.Helper()
	c := x.client()
	v, err := c.Do(x.Context(), c.B().Get().Key(mixedKey).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		x.Fatal(err)
	}
	return v
}

// lease is what a node of a release leaves.
func (x *mixed) lease(release int, t driver.Token) string {
	if release == 1 {
		return "L" + string(t[:])
	}
	return lease(t)
}

// Each release takes the other's lease for one, and neither fills nor gives back
// under it. Caught: a lease known by more than its first byte.
func TestLeasesBesideTheReleaseBefore(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	for holder := range 2 {
		other := 1 - holder
		held, theirs := x.lease(holder, envelope.NewToken()), x.lease(other, envelope.NewToken())
		if a := x.run(x.acquire[holder], held, "60000"); a != "" {
			t.Fatalf("holder %d is not granted: %q", holder, a)
		}
		if a := x.run(x.acquire[other], theirs, "60000"); a != "L" {
			t.Errorf("holder %d, the other asks: %q", holder, a)
		}
		if a := x.run(x.fill[other], theirs, "V", "60000"); a != "0" {
			t.Errorf("holder %d, the other fills: %q", holder, a)
		}
		if a := x.run(x.abandon_[other], theirs, "", "1"); a != "0" {
			t.Errorf("holder %d, the other gives back: %q", holder, a)
		}
		if a := x.run(x.fill[holder], held, "V", "60000"); a != "1" {
			t.Errorf("holder %d fills: %q", holder, a)
		}
		x.run(x.release[0], string(make([]byte, 16)), "", "1")
	}
}

// Writers of both releases, with records of their own and without: whatever they do
// in whatever order, the key stays fenced while one of them writes, nobody publishes
// that overlapped another, and a writer who is not lost is not told so.
// Caught: a fence of another release that is overwritten; a common record that is
// lifted with the last single one.
func TestFencesBesideTheReleaseBefore(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	type writer struct {
		token   driver.Token
		release int
	}
	crowds := 0
	for round := range 40 {
		most := []int{2, 5, 60}[round%3]
		crowd := false // somebody may be without a record
		overlap := false
		var at []writer
		for left := 4 * most; left > 0 || len(at) > 0; left-- {
			if left > 0 && len(at) < most && rand.N(3) > 0 {
				w := writer{envelope.NewToken(), rand.N(2)}
				x.run(x.fence[w.release], string(w.token[:]), "60000")
				overlap = overlap || len(at) > 0
				at = append(at, w)
			} else if len(at) > 0 {
				i := rand.N(len(at))
				w := at[i]
				at = append(at[:i], at[i+1:]...)
				a := x.run(x.release[w.release], string(w.token[:]), "V", "60000")
				switch {
				case a == "P" && overlap:
					t.Fatalf("published, though writers overlapped")
				case a == "X" && crowd && w.release == 1: // which knows no crowd
				case a == "X":
					t.Fatalf("a writer of release %d is told that its fence was lost", w.release)
				case a != "F" && (len(at) > 0 || crowd):
					t.Fatalf("answer %q while %d others write", a, len(at))
				}
			}
			v := x.get()
			crowd = strings.Contains(v, string(envelope.Common[:]))
			if len(at) > 0 && (v == "" || v[0] != 'F') {
				t.Fatalf("%d writers, and no fence: %q", len(at), v)
			}
			if len(at) == 0 && !crowd {
				if v != "" && v != "V" {
					t.Fatalf("nobody writes, and there is %q", v)
				}
				overlap = false
			}
		}
		if crowd {
			crowds++
			c := x.client()
			c.Do(t.Context(), c.B().Del().Key(mixedKey).Build())
		}
	}
	if crowds == 0 {
		t.Error("no key had a common record: what was tested is not what was meant")
	}
}

// A fence as long as the release before makes them is cut to size.
func TestLongFenceOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	var first driver.Token
	for i := range 200 {
		token := envelope.NewToken()
		if i == 0 {
			first = token
		}
		x.run(x.fence[1], string(token[:]), "60000")
	}
	token := envelope.NewToken()
	x.run(x.fence[0], string(token[:]), "60000")
	v := x.get()
	f, ok := envelope.ParseFence([]byte(v))
	if !ok || len(f.Writers) != envelope.MaxWriters+1 || f.Writers[0].Token != first || f.Writers[envelope.MaxWriters].Token != envelope.Common {
		t.Fatalf("%d writers: %s", len(f.Writers), hex.EncodeToString([]byte(v)))
	}
	if d := time.Until(f.Writers[envelope.MaxWriters].Ends); d < 50*time.Second {
		t.Errorf("the common record ends in %v", d)
	}
}

// noted is a fence of one writer under which a feed has told of a version.
func (x *mixed) noted(release int, version uint64) (token driver.Token) {
	x.Helper()
	token = envelope.NewToken()
	x.run(x.fence[release], string(token[:]), "60000")
	x.drop(version, false)
	f, ok := envelope.ParseFence([]byte(x.get()))
	if !ok || len(f.Writers) != 1 || f.Writers[0].Token != token || f.Since != version {
		x.Fatalf("told of version %d: %q", version, x.get())
	}
	return token
}

func (x *mixed) drop(version uint64, deleted bool) {
	x.Helper()
	req := driver.ChangeRequest{Key: mixedKey, Version: version, Deleted: deleted}
	if err := x.s.DropOlder(x.Context(), []driver.ChangeRequest{req})[0].Err; err != nil {
		x.Fatal(err)
	}
}

func versioned(version uint64, t driver.Token) string {
	e := envelope.Entry{Version: version, Token: t}
	if t[driver.TokenLen-1]%2 == 1 {
		e.ETag = "e" // of format 3: releases before 0.2 do not know it
	}
	return string(envelope.Append(nil, e, -1))
}

// Each release before this one takes what a feed has told of for one more writer, at
// whatever step it meets it: it does not publish, and the key stays fenced at least as
// long as somebody writes.
// Caught: a version that is noted in bytes which 0.1.0 takes for its own lone fence.
func TestNoteBesideReleasesWithoutAFeed(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	fenced := func(what string) {
		t.Helper()
		if v := x.get(); v == "" || v[0] != 'F' {
			t.Fatalf("%s: %q, want a fence", what, v)
		}
		if d := x.pttl(); d <= 50*time.Second || d > time.Minute {
			t.Fatalf("%s: it lives for %v, want a minute", what, d)
		}
	}
	clear := func() { c := x.client(); c.Do(t.Context(), c.B().Del().Key(mixedKey).Build()) }
	for of := range 3 { // whose fence it is
		for by := range 3 { // who comes upon it
			what := fmt.Sprintf("fence of %d, met by %d", of, by)
			clear()
			token := x.noted(of, 5)
			a := x.run(x.release[by], string(token[:]), versioned(4, token), "60000")
			switch v := x.get(); {
			case a == "P":
				t.Errorf("%s: published what is older", what)
			case by == 0 && (a != "D" || v != ""):
				t.Errorf("%s: %q, and there is %q", what, a, v)
			case by != 0:
				fenced(what)
			}

			clear()
			token = x.noted(of, 5)
			a = x.run(x.release[by], string(token[:]), versioned(5, token), "60000")
			if want := map[bool]string{true: "P", false: "F"}[by == 0]; a != want {
				t.Errorf("%s, not older: %q, want %q", what, a, want)
			}

			// A second writer, of each release, and whoever ends first.
			for second := range 3 {
				for _, first := range []bool{true, false} {
					clear()
					one, two := x.noted(of, 5), envelope.NewToken()
					x.run(x.fence[second], string(two[:]), "60000")
					if !first {
						one, two = two, one
					}
					if a := x.run(x.release[by], string(one[:]), versioned(9, one), "60000"); a != "F" {
						t.Errorf("%s, beside %d: %q", what, second, a)
					}
					fenced(what)
					if a := x.run(x.release[second], string(two[:]), versioned(9, two), "60000"); a == "P" || a == "X" {
						t.Errorf("%s, after that %d: %q", what, second, a)
					}
				}
			}

			// An invalidation, and a reader.
			clear()
			token = x.noted(of, 5)
			if a := x.run(x.acquire[by], lease(envelope.NewToken()), "60000"); a != "F" {
				t.Errorf("%s: a read gets %q", what, a)
			}
			x.run(x.invalidate[by])
			fenced(what)
			if a := x.run(x.release[by], string(token[:]), versioned(9, token), "60000"); a == "P" {
				t.Errorf("%s, invalidated: published", what)
			}
		}
	}
	// What an old release left of a note binds nobody who comes later.
	clear()
	token := x.noted(2, 5)
	x.run(x.release[2], string(token[:]), "", "1")
	fenced("what is left")
	x.drop(6, false)
	fenced("what is left")
	token = envelope.NewToken()
	x.run(x.fence[0], string(token[:]), "60000")
	if f, ok := envelope.ParseFence([]byte(x.get())); !ok || len(f.Writers) != 1 || f.Since != 0 {
		t.Errorf("a writer after it: %q", x.get())
	}
	if a := x.run(x.release[0], string(token[:]), "", "1"); a != "D" || x.get() != "" {
		t.Errorf("it ends: %q, and there is %q", a, x.get())
	}
}

func (x *mixed) pttl() time.Duration {
	x.Helper()
	c := x.client()
	ms, err := c.Do(x.Context(), c.B().Pttl().Key(mixedKey).Build()).AsInt64()
	if err != nil {
		x.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

// Readers and writers of all releases, others who write past the cache, and a feed that
// tells of it later, in any order: nothing is stored that is older than what the feed
// has told, the key is fenced while anybody writes, and it is free in the end.
// Caught: a note that is lost when the fence is put up again; with release 0.1.0 alone,
// one that lives for another minute with each writer who comes.
func TestHistoriesBesideReleasesWithoutAFeed(t *testing.T) {
	t.Parallel()
	x := newMixed(t)
	type under struct {
		token   driver.Token
		done    bool // it has read, or changed, the record
		version uint64
	}
	published, noted := 0, 0
	for round := range 200 {
		r := rand.New(rand.NewPCG(uint64(round), 7))
		var version, told uint64
		var loads, writes []under
		var log []string
		note := func(format string, a ...any) { log = append(log, fmt.Sprintf(format, a...)) }
		for n := 0; n < 50 || len(loads) > 0 || len(writes) > 0 || told < version; n++ {
			release := r.IntN(3)
			switch what := r.IntN(8); {
			case what == 0 && n < 50:
				if token := envelope.NewToken(); x.run(x.acquire[release], x.lease(0, token), "60000") == "" {
					note("a load begins at %d", release)
					loads = append(loads, under{token: token})
				}
			case what == 1 && len(loads) > 0:
				i := r.IntN(len(loads))
				if l := &loads[i]; !l.done {
					l.done, l.version = true, version
					note("a load reads %d", version)
				} else {
					note("a load of %d fills at %d: %s", l.version, release, x.run(x.fill[release], x.lease(0, l.token), versioned(l.version, l.token), "60000"))
					loads = append(loads[:i], loads[i+1:]...)
				}
			case what == 2 && n < 50 && len(writes) < 3:
				w := under{token: envelope.NewToken()}
				x.run(x.fence[release], string(w.token[:]), "60000")
				note("a write begins at %d", release)
				writes = append(writes, w)
			case what < 5 && len(writes) > 0:
				i := r.IntN(len(writes))
				if w := &writes[i]; !w.done {
					version++
					w.done, w.version = true, version
					note("a write commits %d", version)
				} else {
					if f, _ := envelope.ParseFence([]byte(x.get())); f.Since > 0 && !f.Shared {
						noted++
					}
					a := x.run(x.release[release], string(w.token[:]), versioned(w.version, w.token), "60000")
					note("a write of %d ends at %d: %s", w.version, release, a)
					if a == "P" {
						published++
					}
					writes = append(writes[:i], writes[i+1:]...)
				}
			case what == 5 && n < 50:
				version++
				note("somebody else commits %d", version)
			case told < version:
				told++
				note("told of %d", told)
				x.drop(told, false)
			}
			v := x.get()
			has, _, isEntry := envelope.Head([]byte(v))
			if isEntry && has < told || len(writes) > 0 && (v == "" || v[0] != 'F') {
				t.Fatalf("round %d: there is %q, told of %d, %d writers:\n%s", round, v, told, len(writes), strings.Join(log, "\n"))
			}
		}
		c := x.client()
		c.Do(t.Context(), c.B().Del().Key(mixedKey).Build())
	}
	if published < 50 || noted < 50 {
		t.Errorf("%d published, %d ended over a note: what was tested is not what was meant", published, noted)
	}
}
