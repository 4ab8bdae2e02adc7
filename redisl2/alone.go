package redisl2

import (
	"bytes"
	"context"
	"strconv"

	"github.com/redis/rueidis"
)

// A caller who is alone runs a script over the connection by itself (shared.go), which takes
// a third less time than by rueidis. It understands the usual answers alone. All others,
// errors above all, are left to rueidis: the script runs once more, and finds what it has
// already done. So it is for those scripts alone that may run twice, or that fail as a whole.

// aloneSize is how long a command may be. More might not fit into the buffers of the
// connection, and then the caller would wait while it holds that.
const aloneSize = 16 << 10

// answer is a number (':'), a string ('$') or nil ('_').
type answer struct {
	kind byte
	n    int64
	s    []byte
}

// runAlone runs the script for one key, if nobody else uses the connection. answered is
// false if that is to be done by rueidis, also once more.
func (sc script) runAlone(ctx context.Context, s *Store, o *own, key string, a args) (got answer, err error, answered bool) {
	if !s.verified(o, s.conns.gen.Load()) { // sole may have gone, and another come
		return got, nil, false
	}
	size := len(key) + 100
	for _, arg := range a.of[:a.n] {
		size += len(arg) + 10
	}
	if size > aloneSize {
		return got, nil, false
	}
	answers, err, sent := s.alone(ctx, 1, func(b []byte) []byte {
		b = strconv.AppendInt(append(b, '*'), int64(4+a.n), 10)
		b = appendBulk(append(b, "\r\n$7\r\nEVALSHA\r\n"...), sc.sha)
		b = appendBulk(append(b, "$1\r\n1\r\n"...), key)
		for _, arg := range a.of[:a.n] {
			b = appendBulk(b, arg)
		}
		return b
	})
	switch {
	case !sent:
		return got, nil, false
	case err != nil:
		return got, wrap(err), true
	}
	one, is := bytes.CutPrefix(answers, []byte("*1\r\n"))
	if is {
		got, is = readAnswer(one)
	}
	return got, nil, is
}

// alone sends commands and waits for their answers, if nobody else uses the connection.
// sent is false if it is used.
func (s *Store) alone(ctx context.Context, want int, commands func(b []byte) []byte) (answers []byte, err error, sent bool) {
	c := s.conns.sole.Load()
	if c == nil {
		return nil, nil, false
	}
	x := exchanges.Get().(*exchange)
	x.commands, x.want = commands(x.commands[:0]), want
	x.answers = make([]byte, 0, s.room.Load())
	sent, err = c.exchange(ctx, x)
	if sent && err != nil {
		return nil, err, true
	}
	answers = x.answers
	x.answers = nil
	exchanges.Put(x)
	if n := int64(len(answers)); n > s.room.Load() && n <= 4096 {
		s.room.Store(n)
	}
	return answers, nil, sent
}

// aloneCommands is alone for commands that rueidis has built, and can still send.
func (s *Store) aloneCommands(ctx context.Context, cmds ...rueidis.Completed) (answers []byte, err error, sent bool) {
	size := 0
	for _, cmd := range cmds {
		for _, arg := range cmd.Commands() {
			size += len(arg) + 10
		}
	}
	if size > aloneSize {
		return nil, nil, false
	}
	return s.alone(ctx, len(cmds), func(b []byte) []byte {
		for _, cmd := range cmds {
			args := cmd.Commands()
			b = append(strconv.AppendInt(append(b, '*'), int64(len(args)), 10), "\r\n"...)
			for _, arg := range args {
				b = appendBulk(b, arg)
			}
		}
		return b
	})
}

// readAnswer reads what is one answer and nothing else.
func readAnswer(b []byte) (a answer, ok bool) {
	if len(b) < 3 {
		return a, false
	}
	switch b[0] {
	case ':':
		n, err := strconv.ParseInt(rueidis.BinaryString(b[1:len(b)-2]), 10, 64)
		return answer{kind: ':', n: n}, err == nil
	case '$', '_':
		s, rest, err := bulkString(b)
		if s == nil {
			return answer{kind: '_'}, err == nil && len(rest) == 0
		}
		return answer{kind: '$', s: s}, err == nil && len(rest) == 0
	}
	return a, false
}
