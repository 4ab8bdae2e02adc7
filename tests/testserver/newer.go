package testserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Newer stands before a Redis 7 and makes a newer server of it: it puts a script in the
// place of each command that Redis 7 does not know. The scripts read nothing that has the
// server track a key, as those commands do, which are writes. So tracking, MULTI, errors
// and the order of answers and notices are a real server's. What the commands cost is not.
//
// The rewritten commands count for the server as scripts. A user needs the rights to EVAL,
// GETEX and UNLINK.
type Newer struct {
	to   string
	kind NewerKind
	addr string

	mu      sync.Mutex
	l       net.Listener // nil while it is down
	conns   map[net.Conn]bool
	calls   map[string]int
	refused []string
	before  func(cmd []string)
	done    sync.WaitGroup
}

// NewerKind is which server a Newer makes.
type NewerKind string

const (
	Valkey81 NewerKind = "valkey8.1" // SET .. IFEQ
	Valkey9  NewerKind = "valkey9"   // the same, DELIFEQ
	Redis84  NewerKind = "redis8.4"  // the same, DELEX .. IFEQ
)

// NewerVariable is the environment variable that has a Newer of this kind put before every
// server that tests start, but for those of a cluster.
const NewerVariable = "ASIDE_TEST_REDIS_NEWER"

func newerAsked() NewerKind { return NewerKind(os.Getenv(NewerVariable)) }

const (
	setIfScript = `#!lua
local v = redis.pcall('GETEX', KEYS[1])
if type(v) == 'table' then return v end
if v == ARGV[2] then
  if ARGV[4] then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4]) else redis.call('SET', KEYS[1], ARGV[1]) end
  if ARGV[3] == '' then return redis.status_reply('OK') end
end
return ARGV[3] ~= '' and v`
	delIfScript = `local v = redis.pcall('GETEX', KEYS[1])
if type(v) == 'table' then return v end
if v ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])`
)

// NewerThan starts one before a server, which ends with the test. If the environment asks
// for another before every server, this one is in its place.
func NewerThan(t testing.TB, srv *RedisServer, kind NewerKind) *Newer {
	t.Helper()
	n := newNewer(t, srv.listensAt(), kind)
	if err := n.listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return n
}

func newNewer(t testing.TB, to string, kind NewerKind) *Newer {
	t.Helper()
	if !slices.Contains([]NewerKind{Valkey81, Valkey9, Redis84}, kind) {
		t.Fatalf("testserver: %q is no newer server", kind)
	}
	n := &Newer{to: to, kind: kind, conns: map[net.Conn]bool{}, calls: map[string]int{}}
	t.Cleanup(n.close)
	return n
}

// Addr is host:port.
func (n *Newer) Addr() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr
}

// Calls is how often a command was sent: SET IFEQ, DELIFEQ, DELEX, or any other by its
// first word.
func (n *Newer) Calls(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls[name]
}

// Refuse has the commands refused from now on, as to a user without the right.
func (n *Newer) Refuse(names ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refused = names
}

// Before has f called before each command is passed on; those before it have been.
func (n *Newer) Before(f func(cmd []string)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.before = f
}

func (n *Newer) listen(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.l, n.addr = l, l.Addr().String()
	n.mu.Unlock()
	n.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.done.Go(func() { n.serve(c) })
		}
	})
	return nil
}

// Down closes all connections and refuses new ones, until Up.
func (n *Newer) Down() { n.close() }

// Up ends Down.
func (n *Newer) Up() error { return n.listen(n.addr) }

func (n *Newer) close() {
	n.mu.Lock()
	if n.l != nil {
		_ = n.l.Close()
		n.l = nil
	}
	for c := range n.conns {
		_ = c.Close()
	}
	n.mu.Unlock()
	n.done.Wait()
}

func (n *Newer) serve(c net.Conn) {
	s, err := net.Dial("tcp", n.to)
	if err != nil {
		_ = c.Close()
		return
	}
	n.mu.Lock()
	up := n.l != nil
	if up {
		n.conns[c], n.conns[s] = true, true
	}
	n.mu.Unlock()
	end := func() {
		_, _ = c.Close(), s.Close()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.conns, c)
		delete(n.conns, s)
	}
	defer end()
	if !up {
		return
	}
	n.done.Go(func() { defer end(); _, _ = io.Copy(c, s) })
	n.requests(bufio.NewReaderSize(c, 64<<10), bufio.NewWriterSize(s, 64<<10), s)
}

func (n *Newer) requests(from *bufio.Reader, to *bufio.Writer, raw io.Writer) {
	for {
		if first, err := from.Peek(1); err != nil {
			return
		} else if first[0] != '*' { // no client library speaks so
			_ = to.Flush()
			_, _ = io.Copy(raw, from)
			return
		}
		cmd, err := ReadCommand(from)
		if err != nil {
			return
		}
		name := commandName(cmd)
		n.mu.Lock()
		n.calls[name]++
		refused, before := slices.Contains(n.refused, name), n.before
		n.mu.Unlock()
		if before != nil {
			_ = to.Flush()
			before(cmd)
		}
		if refused {
			cmd = []string{"EVAL", "return redis.error_reply(ARGV[1])", "0",
				"NOPERM User u has no permissions to run the '" + strings.ToLower(cmd[0]) + "' command"}
		} else {
			cmd = n.rewrite(name, cmd)
		}
		_ = WriteCommand(to, cmd)
		if from.Buffered() == 0 && to.Flush() != nil {
			return
		}
	}
}

// commandName is how a command is counted.
func commandName(cmd []string) string {
	name := strings.ToUpper(cmd[0])
	if name == "SET" && len(cmd) > 3 && slices.ContainsFunc(cmd[3:], func(a string) bool { return strings.EqualFold(a, "IFEQ") }) {
		return "SET IFEQ"
	}
	return name
}

// rewrite returns what Redis 7 is to be told.
func (n *Newer) rewrite(name string, cmd []string) []string {
	switch {
	case name == "SET IFEQ":
		old, get, life := "", "", []string(nil)
		for i := 3; i < len(cmd); i++ {
			switch word := strings.ToUpper(cmd[i]); {
			case word == "GET":
				get = word
			case word == "IFEQ" && i+1 < len(cmd):
				i++
				old = cmd[i]
			case word == "PX" && i+1 < len(cmd):
				i++
				life = cmd[i : i+1]
			default:
				return cmd // a syntax error
			}
		}
		return append([]string{"EVAL", setIfScript, "1", cmd[1], cmd[2], old, get}, life...)
	case name == "DELIFEQ" && n.kind == Valkey9 && len(cmd) == 3:
		return []string{"EVAL", delIfScript, "1", cmd[1], cmd[2]}
	case name == "DELEX" && n.kind == Redis84 && len(cmd) == 4 && strings.EqualFold(cmd[2], "IFEQ"):
		return []string{"EVAL", delIfScript, "1", cmd[1], cmd[3]}
	}
	return cmd
}

// ReadCommand reads a command as client libraries send it.
func ReadCommand(r *bufio.Reader) ([]string, error) {
	n, err := readSize(r, '*')
	if err != nil {
		return nil, err
	}
	cmd := make([]string, n)
	for i := range cmd {
		size, err := readSize(r, '$')
		if err != nil {
			return nil, err
		}
		b := make([]byte, size+2)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		cmd[i] = string(b[:size])
	}
	if n == 0 {
		return nil, fmt.Errorf("an empty command")
	}
	return cmd, nil
}

func readSize(r *bufio.Reader, kind byte) (int, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[0] != kind {
		return 0, fmt.Errorf("%q where %c was expected", line, kind)
	}
	return strconv.Atoi(line[1 : len(line)-2])
}

// WriteCommand writes a command so.
func WriteCommand(w io.Writer, cmd []string) error {
	_, err := fmt.Fprintf(w, "*%d\r\n", len(cmd))
	for _, a := range cmd {
		_, err = fmt.Fprintf(w, "$%d\r\n%s\r\n", len(a), a)
	}
	return err
}
