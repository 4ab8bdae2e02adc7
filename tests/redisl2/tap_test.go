package redisl2_test

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/tests/testserver"
)

// tap is a proxy that understands Redis's requests: it records the commands,
// holds answers back, and can put another command in a command's place, so that
// the server itself gives the answer that a test wants, in its order.
type tap struct {
	t    testing.TB
	srv  *testserver.RedisServer
	l    net.Listener
	done sync.WaitGroup

	mu      sync.Mutex
	answers *sync.Cond // on mu: held or closed changed
	conns   map[net.Conn]bool
	cmds    [][]string
	admits  [][]string // by connections that are there to admit the server
	held    bool
	bytes   int // of answers at a time, see trickle
	pause   time.Duration
	closed  bool
	swap    func(cmd []string) []string
}

func newTap(t testing.TB, srv *testserver.RedisServer) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{t: t, srv: srv, l: l, conns: map[net.Conn]bool{}}
	p.answers = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *tap) url() string { return via(p.srv, p.l.Addr().String()) }

func (p *tap) close() {
	_ = p.l.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.answers.Broadcast()
	p.done.Wait()
}

func (p *tap) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("tcp", p.srv.Addr())
		if err != nil {
			_ = c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[s] = true, true
		closed := p.closed
		p.mu.Unlock()
		if closed {
			_, _ = c.Close(), s.Close()
			return
		}
		end := func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			_, _ = c.Close(), s.Close()
			delete(p.conns, c)
			delete(p.conns, s)
		}
		p.done.Go(func() { defer end(); p.requests(c, s) })
		p.done.Go(func() { defer end(); p.replies(s, c) })
	}
}

func (p *tap) requests(client io.Reader, server io.Writer) {
	r, w := bufio.NewReaderSize(client, 1<<20), bufio.NewWriterSize(server, 1<<20)
	to := &p.cmds
	for {
		cmd, err := testserver.ReadCommand(r)
		if err != nil {
			return
		}
		if cmd[0] == "HELLO" && strings.HasSuffix(cmd[len(cmd)-1], "-admits") {
			to = &p.admits
		}
		p.mu.Lock()
		*to = append(*to, cmd)
		if p.swap != nil {
			cmd = p.swap(cmd)
		}
		p.mu.Unlock()
		_ = testserver.WriteCommand(w, cmd) // Flush tells
		if r.Buffered() == 0 {
			if w.Flush() != nil {
				return
			}
		}
	}
}

func (p *tap) replies(server io.Reader, client io.Writer) {
	b := make([]byte, 1<<20)
	for {
		n, err := server.Read(b)
		p.mu.Lock()
		for p.held && !p.closed {
			p.answers.Wait()
		}
		p.mu.Unlock()
		if _, werr := (slowly{p, client}).Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// hold keeps answers back until release.
func (p *tap) hold() { p.mu.Lock(); defer p.mu.Unlock(); p.held = true }

func (p *tap) release() {
	p.mu.Lock()
	p.held = false
	p.mu.Unlock()
	p.answers.Broadcast()
}

// replace sets what is put in a command's place; nil ends that.
func (p *tap) replace(f func(cmd []string) []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swap = f
}

// answer replaces the answer of every command of the library, and of its
// probes, with an error.
func (p *tap) answer(reply string) {
	p.replace(func(cmd []string) []string {
		switch cmd[0] {
		case "EVALSHA", "EVAL", "PING":
			return []string{"EVAL", "return redis.error_reply(ARGV[1])", "0", reply}
		}
		return cmd
	})
}

// forget drops the commands seen so far.
func (p *tap) forget() { p.mu.Lock(); defer p.mu.Unlock(); p.cmds = nil }

// commands returns the commands since forget, without those that are
// sent to set a connection up and to see whether it is alive.
func (p *tap) commands() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.cmds {
		if !slices.Contains([]string{"HELLO", "CLIENT", "CLUSTER", "PING", "SELECT", "INFO", "CONFIG"}, c[0]) && c[len(c)-1] != "pulse" {
			names = append(names, c[0])
		}
	}
	return names
}

func (p *tap) want(names ...string) {
	p.t.Helper()
	if got := p.commands(); !slices.Equal(got, names) {
		p.t.Errorf("commands on the wire: %v, want %v", got, names)
	}
}
