package redisl2

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
	"github.com/asidecache/aside/internal/envelope"
)

var (
	//go:embed acquire.lua
	acquireSrc string
	//go:embed fill.lua
	fillSrc string
	//go:embed abandon.lua
	abandonSrc string
	//go:embed evict.lua
	evictSrc string
	//go:embed fence.lua
	fenceSrc string
	//go:embed release.lua
	releaseSrc string
	//go:embed invalidate.lua
	invalidateSrc string
	//go:embed drop.lua
	dropSrc string
	//go:embed lead.lua
	leadSrc string
	//go:embed announce.lua
	announceSrc string
	//go:embed tags.lua
	tagsSrc string
	//go:embed inspect.lua
	inspectSrc string
	//go:embed peek.lua
	peekSrc string
	//go:embed ping.lua
	pingSrc string
	//go:embed fences.lua
	fencesSrc string
	//go:embed leases.lua
	leasesSrc string
	//go:embed each.lua
	eachSrc string

	acquire    = newScript(acquireSrc, leasesSrc)
	fill       = newScript(fillSrc, leasesSrc)
	abandon    = newScript(abandonSrc, leasesSrc)
	evict      = newScript(evictSrc)
	fence      = newScript(fenceSrc, fencesSrc)
	release    = newScript(releaseSrc, fencesSrc)
	invalidate = newScript(invalidateSrc, fencesSrc)
	drop       = newScript(dropSrc, fencesSrc)
	lead       = newScript(leadSrc)
	announce   = newScript(announceSrc)
	tags       = newScript(tagsSrc)
	peek       = newScript(peekSrc, leasesSrc)
	ping       = script{pingSrc, sha(pingSrc)}
	inspect    = script{inspectSrc, sha(inspectSrc)} // sent with each run: see inspect.go
)

type script struct{ src, sha string }

// newScript makes a script of what is to be done for one key, and of what that needs.
func newScript(one string, needs ...string) script {
	flags := ""
	if strings.HasPrefix(one, "#!") { // has to be the first line
		flags, one, _ = strings.Cut(one, "\n")
		flags += "\n"
	}
	src := flags + strings.Join(needs, "") + one + eachSrc
	return script{src, sha(src)}
}

// sha is what Redis names a script by.
func sha(src string) string {
	sum := sha1.Sum([]byte(src))
	return hex.EncodeToString(sum[:])
}

const (
	// maxBatch keeps a pipeline below the length at which rueidis would move it to
	// a connection of its own, away from the tracking.
	maxBatch = 500
	// perScript is how many keys a script is run for at once where they need not be
	// of one slot. To start one costs the server what it does for a key or two, and
	// while it runs all others wait.
	perScript = 32
)

// words are the command for some keys. It is never EVAL with the source: see admit.go.
func (sc script) words(from, to int, key func(i int) string, argsOf func(i int) args) []string {
	first := argsOf(from)
	w := append(make([]string, 0, scriptHead+(to-from)*(1+first.n)), "EVALSHA", sc.sha, strconv.Itoa(to-from))
	for i := from; i < to; i++ {
		w = append(w, key(i))
	}
	w = append(w, first.of[:first.n]...)
	for i := from + 1; i < to; i++ {
		a := argsOf(i)
		w = append(w, a.of[:a.n]...)
	}
	return w
}

// scriptHead is how many words come before the keys.
const scriptHead = 3

// build makes the command for rueidis.
func (sc script) build(c rueidis.Client, from, to int, key func(i int) string, argsOf func(i int) args) rueidis.Completed {
	w := sc.words(from, to, key, argsOf)
	keys := scriptHead + to - from
	return c.B().Arbitrary(w[:scriptHead]...).Keys(w[scriptHead:keys]...).Args(w[keys:]...).Build()
}

// args are a script's arguments for one key, by value to spare each an allocation.
// They may share the memory of the request, which its sender leaves alone.
type args struct {
	of [3]string
	n  int
}

// runApart runs a script for one key that is no entry's, and reads its answer.
func runApart[T any](ctx context.Context, s *Store, sc script, key string, a args, read func(rueidis.RedisMessage) (T, error)) (answer T, err error) {
	s.own(key).apart.Store(true) // so that new servers are admitted before they have the key
	sc.runMany(ctx, s, 1,
		func(int) string { return key },
		func(int) args { return a },
		func(_ int, m rueidis.RedisMessage, e error) {
			if err = e; err == nil {
				answer, err = read(m)
			}
		})
	return answer, err
}

// run is runMany, and without rueidis where that can be.
func (sc script) run(ctx context.Context, s *Store, n int, key func(i int) string, argsOf func(i int) args, each func(i int, a answer, err error)) {
	left := sc.runDirect(ctx, s, n, key, argsOf, each)
	sc.runMany(ctx, s, len(left),
		func(i int) string { return key(left[i]) },
		func(i int) args { return argsOf(left[i]) },
		func(i int, m rueidis.RedisMessage, err error) {
			var a answer
			if err == nil {
				a, err = answerOf(m)
			}
			each(left[i], a, err)
		})
}

// runMany executes the script for each key and hands each answer to each, with its
// index: for several keys in one command where the server allows it, and all in
// one pipeline. A server that does not know the script (it is new, was restarted,
// or SCRIPT FLUSH was called) is admitted first. The keys are of one prefix.
func (sc script) runMany(ctx context.Context, s *Store, n int, key func(i int) string, argsOf func(i int) args, each func(i int, m rueidis.RedisMessage, err error)) {
	if n == 0 {
		return
	}
	c, err := s.get()
	if err != nil {
		for i := range n {
			each(i, rueidis.RedisMessage{}, err)
		}
		return
	}
	width := perScript
	if c.Mode() == rueidis.ClientModeCluster {
		width = 1 // a script's keys are of one slot there
	}
	o := s.own(key(0))
	sc = o.script(sc)
	told := func(i int, m rueidis.RedisMessage, err error) {
		if err != nil {
			s.refusedOne(err)
			s.demoted("", err)
		}
		each(i, m, err)
	}
	if n <= width {
		gen := s.conns.gen.Load()
		r := c.Do(ctx, sc.build(c, 0, n, key, argsOf))
		for try := 0; try < admitTries && noScript(r); try++ {
			if err := s.admit(ctx, c, o, try, key(0)); err != nil {
				r = rueidis.NewErrorResult(err)
				break
			}
			gen = s.conns.gen.Load()
			r = c.Do(ctx, sc.build(c, 0, n, key, argsOf))
		}
		if r.Error() == nil {
			s.verify(o, gen)
		}
		handOut(r, 0, n, told)
		return
	}
	for done := 0; done < n; done += maxBatch * width {
		var cmds []rueidis.Completed
		for from := done; from < min(n, done+maxBatch*width); from += width {
			cmds = append(cmds, sc.build(c, from, min(n, from+width), key, argsOf))
		}
		gen := s.conns.gen.Load()
		rs := c.DoMulti(ctx, cmds...)
		for try := range admitTries {
			var unknown []int
			var keys []string
			cmds = nil // rueidis may still hold what was sent
			for j, r := range rs {
				if from := done + j*width; noScript(r) {
					unknown, keys = append(unknown, j), append(keys, key(from))
					cmds = append(cmds, sc.build(c, from, min(n, from+width), key, argsOf))
				}
			}
			if len(unknown) == 0 {
				break
			}
			if err := s.admit(ctx, c, o, try, keys...); err != nil {
				for _, j := range unknown {
					rs[j] = rueidis.NewErrorResult(err)
				}
				break
			}
			gen = s.conns.gen.Load()
			for i, r := range c.DoMulti(ctx, cmds...) {
				rs[unknown[i]] = r
			}
		}
		if rs[len(rs)-1].Error() == nil {
			s.verify(o, gen)
		}
		for j, r := range rs {
			from := done + j*width
			handOut(r, from, min(n, from+width), told)
		}
	}
}

// handOut gives each key its answer, or all of them the script's failure.
func handOut(r rueidis.RedisResult, from, to int, each func(i int, m rueidis.RedisMessage, err error)) {
	answers, err := r.ToArray()
	if err == nil && len(answers) != to-from {
		err = fmt.Errorf("redisl2: %d answers for %d keys", len(answers), to-from)
	}
	for i := from; i < to; i++ {
		switch {
		case err != nil && to-from == 1 && strings.Contains(err.Error(), "@user_script"):
			each(i, rueidis.RedisMessage{}, outcome(err)) // the run of one key ends with its failure
		case err != nil:
			each(i, rueidis.RedisMessage{}, wrap(err))
		default:
			m := answers[i-from]
			each(i, m, outcome(m.Error()))
		}
	}
}

func noScript(r rueidis.RedisResult) bool {
	re, ok := rueidis.IsRedisErr(r.Error())
	return ok && re.IsNoScript()
}

// outcome is that of one key. A script that fails for what is stored under it tells
// nothing of the server.
func outcome(err error) error {
	if rueidis.IsRedisNil(err) {
		return nil
	}
	wrapped := wrap(err)
	if re, ok := rueidis.IsRedisErr(err); ok && !coded(re.Error()) && !lacksRight(err) {
		return fmt.Errorf("%w: %w", driver.ErrKeyFailed, wrapped)
	}
	return wrapped
}

func ms(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

// lives makes durations into text. The keys of a call mostly have the same.
type lives struct {
	last time.Duration
	text string
}

func (l *lives) ms(d time.Duration) string {
	if l.text == "" || l.last != d {
		l.last, l.text = d, ms(d)
	}
	return l.text
}

// lease is the entry that stands for a lease that carries nothing.
func lease(t driver.Token) string { return rueidis.BinaryString(envelope.AppendLease(nil, t)) }

// Acquire implements driver.Tier.
func (s *Store) Acquire(ctx context.Context, reqs []driver.LeaseRequest) []driver.Grant {
	out := make([]driver.Grant, len(reqs))
	left := s.tryFastPath(ctx, reqs, out)
	n := 2 // the same for all keys of a script
	for i := range reqs {
		if asksMore(&reqs[i]) {
			n = 3
			break
		}
	}
	var life lives
	acquire.run(ctx, s, len(left),
		func(i int) string { return reqs[left[i]].Key },
		func(i int) args {
			r := &reqs[left[i]]
			return args{[3]string{lease(r.Lease), life.ms(r.TTL), more(r)}, n}
		},
		func(i int, a answer, err error) { out[left[i]] = acquired(a, err) })
	s.lookReadOnly(ctx, reqs, out)
	return out
}

func asksMore(r *driver.LeaseRequest) bool { return r.Carried || r.Over != (driver.Token{}) }

// more is the last argument of acquire.lua.
func more(r *driver.LeaseRequest) string {
	switch over := r.Over != (driver.Token{}); {
	case over && r.Carried:
		return "C" + string(r.Over[:])
	case over:
		return "-" + string(r.Over[:])
	case r.Carried:
		return "C"
	}
	return ""
}

func acquired(a answer, err error) driver.Grant {
	switch {
	case err != nil:
		return driver.Grant{Err: err}
	case a.kind == '_':
		return driver.Grant{State: driver.StateGranted}
	case a.kind == '*':
		return withLeft("acquire", driver.StateGranted, a)
	case a.kind == '$':
		return grantOf(a.s)
	}
	return driver.Grant{Err: errUnexpected("acquire", a)}
}

// grantOf reads an answer of acquire.lua that is a string.
func grantOf(entry []byte) driver.Grant {
	switch {
	case len(entry) == 1 && entry[0] == 'L':
		return driver.Grant{State: driver.StateLeased}
	case len(entry) == 1 && entry[0] == 'F':
		return driver.Grant{State: driver.StateFenced}
	}
	return driver.Grant{State: driver.StateFound, Entry: entry}
}

// withLeft reads an answer of two fields, the ms that an entry has left to live and the
// entry. Behind an "L" they are of an entry that another's lease carries.
func withLeft(op string, state driver.State, a answer) driver.Grant {
	of := a.of
	if len(of) == 3 {
		state, of = driver.StateLeased, of[1:]
	}
	if len(of) != 2 || of[0].kind != ':' || of[1].kind != '$' {
		return driver.Grant{Err: errUnexpected(op, a)}
	}
	return driver.Grant{State: state, Entry: of[1].s, Left: time.Duration(max(0, of[0].n)) * time.Millisecond}
}

// Fill implements driver.Tier.
func (s *Store) Fill(ctx context.Context, reqs []driver.FillRequest) []driver.FillResult {
	out := make([]driver.FillResult, len(reqs))
	left := s.fillPlainly(ctx, reqs, out)
	fill.run(ctx, s, len(left),
		func(i int) string { return reqs[left[i]].Key },
		func(i int) args {
			r := &reqs[left[i]]
			return args{[3]string{lease(r.Lease), rueidis.BinaryString(r.Entry), ms(r.TTL)}, 3}
		},
		func(i int, a answer, err error) { out[left[i]] = driver.FillResult{Stored: a.n == 1, Err: err} })
	return out
}

// Abandon implements driver.Tier.
func (s *Store) Abandon(ctx context.Context, reqs []driver.AbandonRequest) []error {
	out := make([]error, len(reqs))
	left := s.abandonPlainly(ctx, reqs, out)
	abandon.run(ctx, s, len(left),
		func(i int) string { return reqs[left[i]].Key },
		func(i int) args {
			r := &reqs[left[i]]
			life := ms(r.TTL)
			if r.Drop && len(r.Restore) == 0 {
				life = "0"
			}
			return args{[3]string{lease(r.Lease), rueidis.BinaryString(r.Restore), life}, 3}
		},
		func(i int, _ answer, err error) { out[left[i]] = err })
	return out
}

// Evict implements driver.Tier.
func (s *Store) Evict(ctx context.Context, reqs []driver.EvictRequest) []error {
	out := make([]error, len(reqs))
	left := s.evictPlainly(ctx, reqs, out)
	evict.run(ctx, s, len(left),
		func(i int) string { return reqs[left[i]].Key },
		func(i int) args { return args{[3]string{rueidis.BinaryString(reqs[left[i]].Entry)}, 1} },
		func(i int, _ answer, err error) { out[left[i]] = err })
	return out
}

// Fence implements driver.Tier.
func (s *Store) Fence(ctx context.Context, reqs []driver.FenceRequest) []error {
	out := make([]error, len(reqs))
	var life lives
	fence.run(ctx, s, len(reqs),
		func(i int) string { return reqs[i].Key },
		func(i int) args {
			r := &reqs[i]
			return args{[3]string{rueidis.BinaryString(r.Token[:]), life.ms(r.Life)}, 2}
		},
		func(i int, _ answer, err error) { out[i] = err })
	return out
}

// Release implements driver.Tier.
func (s *Store) Release(ctx context.Context, reqs []driver.ReleaseRequest) []driver.ReleaseResult {
	out := make([]driver.ReleaseResult, len(reqs))
	left := s.releasePlainly(ctx, reqs, out)
	release.run(ctx, s, len(left),
		func(i int) string { return reqs[left[i]].Key },
		func(i int) args {
			r := &reqs[left[i]]
			return args{[3]string{rueidis.BinaryString(r.Token[:]), rueidis.BinaryString(r.Publish), ms(r.TTL)}, 3}
		},
		func(i int, a answer, err error) {
			out[left[i]] = released(rueidis.BinaryString(a.s))
			out[left[i]].Err = err
		})
	return out
}

// released reads an answer of release.lua.
func released(how string) driver.ReleaseResult {
	return driver.ReleaseResult{Published: how == "P", Lost: how == "X"}
}

// Invalidate implements driver.Tier.
func (s *Store) Invalidate(ctx context.Context, keys []string) []error {
	out := make([]error, len(keys))
	invalidate.run(ctx, s, len(keys),
		func(i int) string { return keys[i] },
		func(int) args { return args{} },
		func(i int, _ answer, err error) { out[i] = err })
	return out
}
