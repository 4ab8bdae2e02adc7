package redisl2

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside"
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
	//go:embed ping.lua
	pingSrc string

	acquire    = newScript(acquireSrc)
	fill       = newScript(fillSrc)
	abandon    = newScript(abandonSrc)
	evict      = newScript(evictSrc)
	fence      = newScript(fenceSrc)
	release    = newScript(releaseSrc)
	invalidate = newScript(invalidateSrc)
	ping       = newScript(pingSrc)
)

type script struct{ src, sha string }

func newScript(src string) script {
	sum := sha1.Sum([]byte(src)) // Redis names scripts so
	return script{src, hex.EncodeToString(sum[:])}
}

// maxBatch keeps a pipeline below the length at which rueidis would move it to
// a connection of its own, away from the tracking.
const maxBatch = 500

// build makes the command for one key: EVALSHA, or EVAL with the source.
func (sc script) build(c rueidis.Client, bySource bool, key string, a args) rueidis.Completed {
	if bySource {
		return c.B().Eval().Script(sc.src).Numkeys(1).Key(key).Arg(a.of[:a.n]...).Build()
	}
	return c.B().Evalsha().Sha1(sc.sha).Numkeys(1).Key(key).Arg(a.of[:a.n]...).Build()
}

// args are a script's arguments, by value to spare each command an allocation.
// They may share the memory of the request, which its sender leaves alone.
type args struct {
	of [3]string
	n  int
}

// run executes the script for each key, pipelined, and hands each reply to
// each, with its index. A server that does not know the script yet (it is new,
// was restarted, or SCRIPT FLUSH was called) is sent the source.
func (sc script) run(ctx context.Context, s *Store, n int, key func(i int) string, argsOf func(i int) args, each func(i int, r rueidis.RedisResult, err error)) {
	c, err := s.get()
	if err != nil {
		for i := range n {
			each(i, rueidis.RedisResult{}, err)
		}
		return
	}
	if n == 1 {
		r := c.Do(ctx, sc.build(c, false, key(0), argsOf(0)))
		if noScript(r) {
			r = c.Do(ctx, sc.build(c, true, key(0), argsOf(0)))
		}
		each(0, r, outcome(r))
		return
	}
	for from := 0; from < n; from += maxBatch {
		cmds := make([]rueidis.Completed, 0, min(n-from, maxBatch))
		for i := from; i < min(n, from+maxBatch); i++ {
			cmds = append(cmds, sc.build(c, false, key(i), argsOf(i)))
		}
		rs := c.DoMulti(ctx, cmds...)
		var unknown []int
		cmds = nil // rueidis may still hold what was sent
		for j, r := range rs {
			if noScript(r) {
				unknown = append(unknown, j)
				cmds = append(cmds, sc.build(c, true, key(from+j), argsOf(from+j)))
			}
		}
		if len(unknown) > 0 {
			for i, r := range c.DoMulti(ctx, cmds...) {
				rs[unknown[i]] = r
			}
		}
		for j, r := range rs {
			each(from+j, r, outcome(r))
		}
	}
}

func noScript(r rueidis.RedisResult) bool {
	re, ok := rueidis.IsRedisErr(r.Error())
	return ok && re.IsNoScript()
}

func outcome(r rueidis.RedisResult) error {
	if err := r.Error(); !rueidis.IsRedisNil(err) {
		return wrap(err)
	}
	return nil
}

// wrap marks the answers of a server that changed nothing and can go on
// answering reads.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	if re, ok := rueidis.IsRedisErr(err); ok {
		// Redis puts the script's own error prefix first since 7.0.
		code, _, _ := strings.Cut(re.Error(), " ")
		switch code {
		case "OOM", "WRONGTYPE", "MISCONF", "NOREPLICAS":
			return fmt.Errorf("%w: %w", aside.ErrL2Refused, err)
		}
	}
	return err
}

func ms(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }

// lease is the entry that stands for a lease.
func lease(t aside.Token) string { return string(envelope.KindLease) + string(t[:]) }

// Acquire implements aside.L2.
func (s *Store) Acquire(ctx context.Context, reqs []aside.LeaseRequest) []aside.Acquired {
	out := make([]aside.Acquired, len(reqs))
	left := s.lookFirst(ctx, reqs, out)
	acquire.run(ctx, s, len(left),
		func(i int) string { return reqs[left[i]].Key },
		func(i int) args {
			r := &reqs[left[i]]
			return args{[3]string{lease(r.Lease), ms(r.TTL), strconv.FormatInt(max(0, r.StaleFor.Milliseconds()), 10)}, 3}
		},
		func(i int, r rueidis.RedisResult, err error) { out[left[i]] = acquired(r, err) })
	s.lookRefused(ctx, reqs, out)
	return out
}

func acquired(r rueidis.RedisResult, err error) aside.Acquired {
	if err != nil {
		return aside.Acquired{Err: err}
	}
	m, err := r.ToMessage()
	switch {
	case rueidis.IsRedisNil(err):
		return aside.Acquired{State: aside.StateGranted}
	case err != nil:
		return aside.Acquired{Err: err}
	case m.IsArray():
		a, err := m.ToArray()
		if err != nil || len(a) != 2 {
			return aside.Acquired{Err: fmt.Errorf("redisl2: unexpected answer of acquire: %v", err)}
		}
		left, err1 := a[0].AsInt64()
		entry, err2 := a[1].AsBytes()
		return aside.Acquired{State: aside.StateGranted, Entry: entry, Left: time.Duration(left) * time.Millisecond, Err: errors.Join(err1, err2)}
	}
	entry, err := m.AsBytes()
	switch {
	case err != nil:
		return aside.Acquired{Err: err}
	case len(entry) == 1 && entry[0] == 'L':
		return aside.Acquired{State: aside.StateLeased}
	case len(entry) == 1 && entry[0] == 'F':
		return aside.Acquired{State: aside.StateFenced}
	}
	return aside.Acquired{State: aside.StateFound, Entry: entry}
}

// Fill implements aside.L2.
func (s *Store) Fill(ctx context.Context, reqs []aside.FillRequest) []aside.FillResult {
	out := make([]aside.FillResult, len(reqs))
	fill.run(ctx, s, len(reqs),
		func(i int) string { return reqs[i].Key },
		func(i int) args {
			r := &reqs[i]
			return args{[3]string{lease(r.Lease), rueidis.BinaryString(r.Entry), ms(r.TTL)}, 3}
		},
		func(i int, r rueidis.RedisResult, err error) {
			if out[i].Err = err; err == nil {
				n, err := r.AsInt64()
				out[i] = aside.FillResult{Stored: n == 1, Err: err}
			}
		})
	return out
}

// Abandon implements aside.L2.
func (s *Store) Abandon(ctx context.Context, reqs []aside.AbandonRequest) []error {
	out := make([]error, len(reqs))
	abandon.run(ctx, s, len(reqs),
		func(i int) string { return reqs[i].Key },
		func(i int) args {
			r := &reqs[i]
			return args{[3]string{lease(r.Lease), rueidis.BinaryString(r.Restore), ms(r.TTL)}, 3}
		},
		func(i int, _ rueidis.RedisResult, err error) { out[i] = err })
	return out
}

// Evict implements aside.L2.
func (s *Store) Evict(ctx context.Context, key string, entry []byte) (err error) {
	evict.run(ctx, s, 1,
		func(int) string { return key },
		func(int) args { return args{[3]string{rueidis.BinaryString(entry)}, 1} },
		func(_ int, _ rueidis.RedisResult, e error) { err = e })
	return err
}

// Fence implements aside.L2.
func (s *Store) Fence(ctx context.Context, reqs []aside.FenceRequest) []error {
	out := make([]error, len(reqs))
	fence.run(ctx, s, len(reqs),
		func(i int) string { return reqs[i].Key },
		func(i int) args {
			r := &reqs[i]
			return args{[3]string{rueidis.BinaryString(r.Token[:]), ms(r.Life)}, 2}
		},
		func(i int, _ rueidis.RedisResult, err error) { out[i] = err })
	return out
}

// Release implements aside.L2.
func (s *Store) Release(ctx context.Context, reqs []aside.ReleaseRequest) []aside.ReleaseResult {
	out := make([]aside.ReleaseResult, len(reqs))
	release.run(ctx, s, len(reqs),
		func(i int) string { return reqs[i].Key },
		func(i int) args {
			r := &reqs[i]
			return args{[3]string{rueidis.BinaryString(r.Token[:]), rueidis.BinaryString(r.Publish), ms(r.TTL)}, 3}
		},
		func(i int, r rueidis.RedisResult, err error) {
			if out[i].Err = err; err == nil {
				how, err := r.ToString()
				out[i] = aside.ReleaseResult{Published: how == "P", Lost: how == "X", Err: err}
			}
		})
	return out
}

// Invalidate implements aside.L2.
func (s *Store) Invalidate(ctx context.Context, keys []string) []error {
	out := make([]error, len(keys))
	invalidate.run(ctx, s, len(keys),
		func(i int) string { return keys[i] },
		func(int) args { return args{} },
		func(i int, _ rueidis.RedisResult, err error) { out[i] = err })
	return out
}
