package redisl2

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside/asidetest/testsync"
)

// Frames end where they end, however the stream is cut into reads.
func TestFrames(t *testing.T) {
	var draw func(depth int) string
	draw = func(depth int) string {
		kinds := 10
		if depth > 0 {
			kinds = 14
		}
		n := rand.IntN(4)
		many := func(n int) (s string) {
			for range n {
				s += draw(depth - 1)
			}
			return s
		}
		switch rand.IntN(kinds) {
		case 0:
			return "+OK\r\n"
		case 1:
			return "-ERR no $5 such *3 thing\r\n"
		case 2:
			return fmt.Sprintf(":%d\r\n", rand.IntN(1000)-500)
		case 3:
			return "_\r\n"
		case 4:
			return "$-1\r\n"
		case 5:
			return "#t\r\n"
		case 6:
			return ",-1.5e3\r\n"
		case 7:
			return "(3492890328409238509324850943850943825024385\r\n"
		case 8:
			return "=7\r\ntxt:a\r\n\r\n"
		case 9:
			s := strings.Repeat("*1\r\n$", rand.IntN(30))
			return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s)
		case 10:
			return fmt.Sprintf("*%d\r\n", n) + many(n)
		case 11:
			return fmt.Sprintf("~%d\r\n", n) + many(n)
		case 12:
			return fmt.Sprintf("%%%d\r\n", n) + many(2*n)
		}
		return fmt.Sprintf(">%d\r\n", n) + many(n)
	}
	for range 2000 {
		var all []string
		for range 1 + rand.IntN(5) {
			all = append(all, draw(3))
		}
		stream := []byte(strings.Join(all, ""))
		var f frames
		var got []string
		frame := ""
		for len(stream) > 0 {
			chunk := stream[:1+rand.IntN(len(stream))]
			stream = stream[len(chunk):]
			for len(chunk) > 0 {
				n, whole, err := f.next(chunk)
				if err != nil || n == 0 {
					t.Fatalf("%q: %d bytes, %v", all, n, err)
				}
				if frame += string(chunk[:n]); whole {
					got = append(got, frame)
					frame = ""
				}
				chunk = chunk[n:]
			}
		}
		if strings.Join(got, "|") != strings.Join(all, "|") || !f.between() {
			t.Fatalf("got %q, want %q", got, all)
		}
	}
	for _, odd := range []string{"x\r\n", "|1\r\n", "$?\r\n", "$99999999999999999999\r\n"} {
		var f frames
		if _, _, err := f.next([]byte(odd)); err == nil {
			t.Errorf("%q: no error", odd)
		}
	}
}

func TestBulkString(t *testing.T) {
	for in, want := range map[string]string{"$3\r\nabc\r\n:1": "abc|:1", "$0\r\n\r\n": "|", "_\r\n:1": "nil|:1", "$-1\r\n": "nil|"} {
		s, rest, err := bulkString([]byte(in))
		got := string(s) + "|" + string(rest)
		if s == nil {
			got = "nil|" + string(rest)
		}
		if err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "$", "$3\r\nab", "-ERR\r\n", ":1\r\n", "$x\r\n", "\r\n"} {
		if s, _, err := bulkString([]byte(in)); err == nil {
			t.Errorf("%q: %q", in, s)
		}
	}
}

// line is a connection whose server the test is, and what rueidis reads of it.
type line struct {
	t      *testing.T
	c      *conn
	server net.Conn
	sent   *bufio.Reader // by the client
	heard  chan string   // lines, as rueidis reads them
}

func newLine(t *testing.T) *line {
	client, server := net.Pipe()
	cs := &conns{}
	l := &line{t: t, c: &conn{Conn: client, of: cs, addr: "a"}, server: server, sent: bufio.NewReader(server), heard: make(chan string)}
	go func() {
		defer close(l.heard)
		for r := bufio.NewReader(l.c); ; {
			s, err := r.ReadString('\n')
			if err != nil {
				return
			}
			l.heard <- strings.TrimSpace(s)
		}
	}()
	t.Cleanup(func() {
		_, _ = client.Close(), server.Close()
		for range l.heard {
		}
	})
	return l
}

type outcomeOf struct {
	ok      bool
	err     error
	answers string
}

// exchange begins one of two commands, and returns when the server has them.
func (l *line) exchange(ctx context.Context) <-chan outcomeOf {
	l.t.Helper()
	done := testsync.Async(func() outcomeOf {
		x := &exchange{commands: []byte("*1\r\n$3\r\nGET\r\n*1\r\n$6\r\nUNLINK\r\n"), want: 2, done: make(chan error, 1)}
		ok, err := l.c.exchange(ctx, x)
		if err != nil || !ok {
			return outcomeOf{ok: ok, err: err}
		}
		return outcomeOf{ok, nil, string(x.answers)}
	})
	l.gets("*1\r\n$3\r\nGET\r\n*1\r\n$6\r\nUNLINK\r\n")
	l.c.shared.sending.Lock() // until it has written
	defer l.c.shared.sending.Unlock()
	return done
}

func (l *line) gets(want string) {
	l.t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(l.sent, got); err != nil || string(got) != want {
		l.t.Fatalf("the server got %q, %v", got, err)
	}
}

// writes has rueidis write, and returns when the server has it.
func (l *line) writes(s string) {
	l.t.Helper()
	wrote := testsync.Async(func() error { _, err := io.WriteString(l.c, s); return err })
	l.gets(s)
	if err := testsync.Await(l.t, "rueidis writes", wrote); err != nil {
		l.t.Fatal(err)
	}
}

// says sends what the server says. Nobody need have read it when it returns.
func (l *line) says(s string) {
	go func() { _, _ = io.WriteString(l.server, s) }()
}

func (l *line) hears(want ...string) {
	l.t.Helper()
	for _, w := range want {
		if got := testsync.Await(l.t, w, l.heard); got != w {
			l.t.Fatalf("rueidis reads %q, want %q", got, w)
		}
	}
}

// The answers of an exchange go to its caller, and all else to rueidis. What came before
// the answers has had its effect when the caller gets them.
// Caught: an answer that overtakes the push before it; a push taken for an answer.
func TestExchange(t *testing.T) {
	l := newLine(t)
	x := &exchange{want: 2, done: make(chan error, 1)}
	l.c.shared.begin(turn{x, 2, 1})
	l.says(">2\r\n+invalidate\r\n+k\r\n$3\r\nabc\r\n:0\r\n>1\r\n+later\r\n")
	l.hears(">2", "+invalidate", "+k", ">1")
	if len(x.done) > 0 {
		t.Error("the answer is there before what came before it has been read")
	}
	l.hears("+later")
	if err := testsync.Await(t, "the answers", x.done); err != nil || string(x.answers) != "$3\r\nabc\r\n:0\r\n" {
		t.Errorf("%q, %v", x.answers, err)
	}

	// Cut anywhere.
	whole := ">2\r\n+a\r\n+b\r\n$3\r\nabc\r\n>1\r\n+c\r\n:0\r\n"
	for cut := range len(whole) {
		done := l.exchange(t.Context())
		go func() {
			_, _ = io.WriteString(l.server, whole[:cut])
			_, _ = io.WriteString(l.server, whole[cut:])
		}()
		l.hears(">2", "+a", "+b", ">1", "+c")
		if o := testsync.Await(t, "the answers", done); o != (outcomeOf{true, nil, "$3\r\nabc\r\n:0\r\n"}) {
			t.Errorf("cut at %d: %+v", cut, o)
		}
	}
}

// Each answer goes to whoever has sent its command, in whatever order they wrote.
// Caught: a caller who takes rueidis' answer, or that of another caller.
func TestExchangesInTurn(t *testing.T) {
	l := newLine(t)
	for range 50 {
		var says []string
		var dones []<-chan outcomeOf
		var hears []string
		for i := range 1 + rand.IntN(6) {
			if answer := fmt.Sprintf("+%d", i); rand.IntN(2) == 0 {
				l.writes("*1\r\n$4\r\nPING\r\n")
				says, hears = append(says, answer+"\r\n"), append(hears, answer)
				dones = append(dones, nil)
			} else {
				dones = append(dones, l.exchange(t.Context()))
				says = append(says, fmt.Sprintf("$1\r\n%d\r\n:%d\r\n", i, i))
			}
			if rand.IntN(3) == 0 {
				says[i] = ">1\r\n+push\r\n" + says[i]
				at := len(hears)
				if dones[i] == nil {
					at--
				}
				hears = slices.Insert(hears, at, ">1", "+push")
			}
		}
		l.says(strings.Join(says, ""))
		l.hears(hears...)
		for i, done := range dones {
			if done == nil {
				continue
			}
			if o := testsync.Await(t, "the answers", done); o != (outcomeOf{true, nil, fmt.Sprintf("$1\r\n%d\r\n:%d\r\n", i, i)}) {
				t.Fatalf("caller %d got %+v of %q", i, o, says)
			}
		}
	}
}

// Where half a command of rueidis is written, or much is under way, nobody else writes.
// Caught: a command in the middle of another; a caller who may wait to write.
func TestExchangeDoesNotWait(t *testing.T) {
	l := newLine(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	refused := func(size int) {
		t.Helper()
		x := &exchange{commands: make([]byte, size), want: 1, done: make(chan error, 1)}
		if ok, _ := l.c.exchange(gone, x); ok {
			t.Error("an exchange was begun")
		}
	}
	l.writes("*1\r\n$4\r\nPI")
	refused(1)
	l.writes("NG\r\n")
	refused(directSize - len("*1\r\n$4\r\nPING\r\n") + 1)
	l.writes(fmt.Sprintf("*1\r\n$%d\r\n", directSize))
	refused(1)
	l.writes(strings.Repeat("x", directSize) + "\r\n")
	refused(1)
	l.says("+PONG\r\n+X\r\n")
	l.hears("+PONG", "+X")

	// The caller who left has its answer thrown away.
	ctx, leave := context.WithCancel(t.Context())
	done := l.exchange(ctx)
	leave()
	if o := testsync.Await(t, "the caller leaves", done); !o.ok || !errors.Is(o.err, context.Canceled) {
		t.Errorf("%+v", o)
	}
	l.writes("*1\r\n$4\r\nPING\r\n")
	done = l.exchange(t.Context())
	l.says("$3\r\nabc\r\n:0\r\n+PONG\r\n$-1\r\n:0\r\n")
	l.hears("+PONG")
	if o := testsync.Await(t, "the next one", done); o.answers != "$-1\r\n:0\r\n" {
		t.Errorf("%+v", o)
	}

	// What nobody has asked for ends the sharing, and rueidis gets it as it is; so does what
	// is no frame.
	for _, odd := range []string{"+odd", "x"} {
		l = newLine(t)
		l.says(odd + "\r\n")
		l.hears(odd)
		refused(1)
	}
}

// Caught: an answer that rueidis gets, who has asked nothing, since the frame before it is
// none that is known.
func TestExchangeBehindAnUnknownFrame(t *testing.T) {
	l := newLine(t)
	done := l.exchange(t.Context())
	l.says("x\r\n")
	if o := testsync.Await(t, "the end", done); !o.ok || !errors.Is(o.err, errFrame) {
		t.Errorf("%+v", o)
	}
	if s, ok := <-l.heard; ok {
		t.Errorf("rueidis reads %q", s)
	}
}

// The caller hears of the end of the connection.
func TestExchangeOnALostConnection(t *testing.T) {
	l := newLine(t)
	done := l.exchange(t.Context())
	l.says("$3\r\na")
	_ = l.server.Close()
	if o := testsync.Await(t, "the end", done); !o.ok || o.err == nil {
		t.Errorf("%+v", o)
	}
	if ok, _ := l.c.exchange(t.Context(), &exchange{want: 1, done: make(chan error, 1)}); ok {
		t.Error("an exchange on a connection that has ended")
	}
}

// Short commands before a long one do not hide it. Caught: bytes that are shared out evenly
// among the answers to all of them.
func TestLongCommandsAreCounted(t *testing.T) {
	l := newLine(t)
	const short, long = 127, 64 * directSize
	l.writes(strings.Repeat("*1\r\n$4\r\nPING\r\n", short))
	l.writes(fmt.Sprintf("*2\r\n$4\r\nECHO\r\n$%d\r\n%s\r\n", long, strings.Repeat("x", long)))
	l.says(strings.Repeat("+PONG\r\n", short))
	for range short {
		l.hears("+PONG")
	}
	if ok, _ := l.c.exchange(t.Context(), &exchange{commands: make([]byte, 10), want: 1, done: make(chan error, 1)}); ok {
		t.Error("an exchange was begun")
	}
}
