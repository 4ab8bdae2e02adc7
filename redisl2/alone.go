package redisl2

import (
	"bytes"
	"context"
	"strconv"

	"github.com/redis/rueidis"
)

// A caller who is alone sends its commands over the connection by itself (shared.go), which
// spares it the goroutines of rueidis. It understands the usual answers alone. All others,
// errors above all, are left to rueidis: the script runs once more, and finds what it has
// already done. So it is for those scripts alone that may run twice, or that fail as a whole.

// aloneSize is how long the commands may be. More might not fit into the buffers of the
// connection, and then the caller would wait while it holds that.
const aloneSize = 16 << 10

// mayBeAlone reports whether the connection that alone would use is the one that is in
// use: it may have gone, and another come.
func (s *Store) mayBeAlone(c rueidis.Client, o *own) bool {
	return c.Mode() != rueidis.ClientModeCluster && s.verified(o, s.conns.gen.Load())
}

// alone sends commands and waits for their answers, if nobody else uses the connection.
// sent is false if it is used, or if they are too long.
func (s *Store) alone(ctx context.Context, cmds ...[]string) (answers []byte, err error, sent bool) {
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
	if size > aloneSize {
		return nil, nil, false
	}
	x := exchanges.Get().(*exchange)
	x.commands, x.want = x.commands[:0], len(cmds)
	for _, cmd := range cmds {
		x.commands = appendCommand(x.commands, cmd)
	}
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

// aloneBuilt is alone for commands that rueidis has built, and can still send.
func (s *Store) aloneBuilt(ctx context.Context, cmds ...rueidis.Completed) (answers []byte, err error, sent bool) {
	all := make([][]string, len(cmds))
	for i, cmd := range cmds {
		all[i] = cmd.Commands()
	}
	return s.alone(ctx, all...)
}

// answer is a number (':'), a string ('$') or nil ('_').
type answer struct {
	kind byte
	n    int64
	s    []byte
}

// runAlone runs the script for one key, if nobody else uses the connection. answered is
// false if that is to be done by rueidis, also once more.
func (sc script) runAlone(ctx context.Context, s *Store, key string, a args) (got answer, err error, answered bool) {
	c, err := s.get()
	if err != nil {
		return got, nil, false
	}
	o := s.own(key)
	if !s.mayBeAlone(c, o) {
		return got, nil, false
	}
	cmd := append(make([]string, 0, 4+len(a.of)), "EVALSHA", o.script(sc).sha, "1", key)
	answers, err, sent := s.alone(ctx, append(cmd, a.of[:a.n]...))
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
