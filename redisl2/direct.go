package redisl2

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/redis/rueidis"
)

// Short commands go directly over the connection (shared.go), which spares their sender the
// goroutines of rueidis. The sender understands the usual answers. Errors are left to
// rueidis, and what has failed is sent once more: a whole script, which has not run then, or
// those of its keys that have failed, and were left as they were.

// directSize is how long the commands may be that are under way on a connection when one
// goes directly. More might not fit into the buffers of the connection, and then the
// sender would wait while it holds that.
const directSize = 16 << 10

// mayBeDirect reports whether the connection that direct would use is the one that is in
// use: it may have gone, and another come.
func (s *Store) mayBeDirect(c rueidis.Client, o *own) bool {
	return c.Mode() != rueidis.ClientModeCluster && s.verified(o, s.conns.gen.Load())
}

// direct sends commands, and waits for their answers, for which it has so many bytes ready.
// sent is false if they are too long, or the connection is not free to be written to at once.
func (s *Store) direct(ctx context.Context, room int, cmds ...[]string) (answers []byte, err error, sent bool) {
	c := s.conns.sole.Load()
	if c == nil {
		return nil, nil, false
	}
	size := 0
	for _, cmd := range cmds {
		for _, arg := range cmd {
			size += len(arg) + 10 // and what stands around it
		}
	}
	if size > directSize {
		return nil, nil, false
	}
	x := s.conns.used.exchange()
	x.commands, x.want = x.commands[:0], len(cmds)
	for _, cmd := range cmds {
		x.commands = appendCommand(x.commands, cmd)
	}
	x.answers = make([]byte, 0, room)
	sent, err = c.exchange(ctx, x)
	if sent && err != nil {
		return nil, err, true
	}
	answers = x.answers
	x.answers = nil
	s.conns.used.exchanges.Put(x)
	return answers, nil, sent
}

// directLookup is direct for a lookup of n keys. The room for its answer rises at once to what
// came, and sinks slowly.
func (s *Store) directLookup(ctx context.Context, n int, cmds ...[]string) (answers []byte, err error, sent bool) {
	room := s.room.Load()
	answers, err, sent = s.direct(ctx, int(room)*n, cmds...)
	if sent && err == nil {
		if now := min(max(int64(len(answers)/n), room-room/16), 4096); now != room {
			s.room.Store(now)
		}
	}
	return answers, err, sent
}

// answerRoom is how many bytes the answer for a key is long that is not an entry.
const answerRoom = 16

// directBuilt is direct for commands that rueidis has built, and can still send.
func (s *Store) directBuilt(ctx context.Context, cmds ...rueidis.Completed) (answers []byte, err error, sent bool) {
	all := make([][]string, len(cmds))
	for i, cmd := range cmds {
		all[i] = cmd.Commands()
	}
	return s.direct(ctx, answerRoom*len(cmds), all...)
}

// answer is one answer of the server, or an element of one.
type answer struct {
	kind byte // number ':', string '$', nil '_', array '*', or error '-'
	n    int64
	s    []byte
	of   []answer
}

// runDirect runs the script for n keys. It hands out each answer but errors, and returns
// the keys that are left for rueidis.
func (sc script) runDirect(ctx context.Context, s *Store, n int, key func(i int) string, argsOf func(i int) args, each func(i int, a answer, err error)) (left []int) {
	c, err := s.get()
	if err != nil || n == 0 {
		return every(n)
	}
	o := s.own(key(0))
	if !s.mayBeDirect(c, o) {
		return every(n)
	}
	sc = o.script(sc)
	cmds := make([][]string, 0, 2)
	for from := 0; from < n; from += perScript {
		cmds = append(cmds, sc.words(from, min(n, from+perScript), key, argsOf))
	}
	rest, err, sent := s.direct(ctx, answerRoom*(n+len(cmds)), cmds...)
	switch {
	case !sent:
		return every(n)
	case err != nil:
		err = wrap(err)
		for i := range n {
			each(i, answer{}, err)
		}
		return nil
	}
	for from := 0; from < n; from += perScript {
		to := min(n, from+perScript)
		if len(rest) > 0 && rest[0] == '-' { // it has not run; those after it may have
			if _, rest, err = nextAnswer(rest); err == nil {
				left = append(left, every(n)[from:to]...)
				continue
			}
		}
		var count int
		if count, rest, err = arrayHead(rest); err == nil && count != to-from {
			err = fmt.Errorf("redisl2: %d answers for %d keys", count, to-from)
		}
		for i := from; i < to; i++ {
			var a answer
			if err == nil {
				a, rest, err = nextAnswer(rest)
			}
			switch {
			case err != nil: // it has run
				each(i, answer{}, err)
			case a.kind == '-':
				left = append(left, i)
			default:
				each(i, a, nil)
			}
		}
	}
	return left
}

// nextAnswer reads the answer at the beginning of b, which it shares the memory of.
func nextAnswer(b []byte) (a answer, rest []byte, err error) {
	if len(b) == 0 {
		return a, nil, errFrame
	}
	switch b[0] {
	case '$', '_':
		s, rest, err := bulkString(b)
		if s == nil {
			return answer{kind: '_'}, rest, err
		}
		return answer{kind: '$', s: s}, rest, err
	case '*':
		n, rest, err := arrayHead(b)
		if err != nil || n < 0 || n > len(rest) {
			return a, nil, errFrame
		}
		a = answer{kind: '*', of: make([]answer, n)}
		for i := range a.of {
			if a.of[i], rest, err = nextAnswer(rest); err != nil {
				return a, nil, err
			}
		}
		return a, rest, nil
	}
	line, rest, ok := bytes.Cut(b[1:], []byte("\r\n"))
	switch {
	case !ok:
	case b[0] == '-':
		return answer{kind: '-', s: line}, rest, nil
	case b[0] == ':':
		n, err := strconv.ParseInt(rueidis.BinaryString(line), 10, 64)
		return answer{kind: ':', n: n}, rest, err
	}
	return a, nil, errFrame
}

// arrayHead reads how many elements the array at the beginning of b has.
func arrayHead(b []byte) (n int, rest []byte, err error) {
	line, rest, ok := bytes.Cut(b, []byte("\r\n"))
	if !ok || len(line) == 0 || line[0] != '*' {
		return 0, nil, errFrame
	}
	n, err = strconv.Atoi(rueidis.BinaryString(line[1:]))
	return n, rest, err
}

// answerOf is an answer that came through rueidis.
func answerOf(m rueidis.RedisMessage) (a answer, err error) {
	switch {
	case m.IsNil():
		return answer{kind: '_'}, nil
	case m.IsInt64():
		n, err := m.AsInt64()
		return answer{kind: ':', n: n}, err
	case m.IsArray():
		of, err := m.ToArray()
		if err != nil {
			return a, err
		}
		a = answer{kind: '*', of: make([]answer, len(of))}
		for i := range of {
			if a.of[i], err = answerOf(of[i]); err != nil {
				return a, err
			}
		}
		return a, nil
	}
	s, err := m.AsBytes()
	return answer{kind: '$', s: s}, err
}

// errUnexpected tells of an answer that a script does not give.
func errUnexpected(of string, a answer) error {
	return fmt.Errorf("redisl2: unexpected answer of %s: type %q, %d bytes, %d elements", of, a.kind, len(a.s), len(a.of))
}
