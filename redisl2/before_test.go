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

// mixed is nodes of two releases at one key: 0 of today's, 1 of the one before.
type mixed struct {
	*testing.T
	s                        *Store
	acquire, fill            [2]script
	fence, release, abandon_ [2]script
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
	x := &mixed{
		T: t, s: s,
		acquire: [2]script{acquire, before(t, "acquire")}, fill: [2]script{fill, before(t, "fill")},
		fence: [2]script{fence, before(t, "fence")}, release: [2]script{release, before(t, "release")},
		abandon_: [2]script{abandon, before(t, "abandon")},
	}
	teach(s, mixedKey, x.acquire[1], x.fill[1], x.fence[1], x.release[1], x.abandon_[1])
	return x
}

// run runs a script and returns its answer, "" for none.
func (x *mixed) run(sc script, a ...string) (answer string) {
	x.Helper()
	var as args
	as.n = copy(as.of[:], a)
	sc.run(x.Context(), x.s, 1, func(int) string { return mixedKey }, func(int) args { return as },
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
