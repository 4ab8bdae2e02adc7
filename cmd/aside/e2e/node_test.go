package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/asidecache/aside/asidetest/testsync"
	"github.com/asidecache/aside/tests/testserver"
)

// patience is how long a test waits for an expected event, on the slowest machine.
const patience = 30 * time.Second

// node is one "aside serve" process, with failpoints.
type node struct {
	t       *testing.T
	program func() (path string, err error)
	name    string
	args    []string
	port    int // the same after restarts

	// Proxy is the proxy between this node and Redis; nil if it has none.
	Proxy *testserver.Proxy

	cmd   *exec.Cmd
	admin string
	ended chan struct{} // the process is gone and its log is complete

	mu  sync.Mutex
	log []string
}

// binary is the program under test. It is built once, with failpoints, and with the race
// detector if ASIDE_E2E_RACE is 1.
var binary = sync.OnceValues(func() (string, error) { return build("aside") })

// build builds the current program under a given name; args are further arguments of go
// build.
func build(name string, args ...string) (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if os.Getenv("ASIDE_E2E_RACE") == "1" {
		args = append(args, "-race")
	}
	args = append([]string{"build", "-tags", "failpoints", "-o", path}, args...)
	cmd := exec.Command("go", append(args, "github.com/asidecache/aside/cmd/aside")...)
	cmd.Env = append(os.Environ(), "GOWORK=") // use the workspace, however the tests were built
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return path, nil
}

// builds is the directory of the builds, which TestMain removes; "" if there is none.
var builds string

var buildDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "aside-e2e")
	builds = dir
	return dir, err
})

// todaysArgs are arguments that the previous release does not know. The tests check the
// cache, not the limits on requests.
var todaysArgs = []string{"--max-strong-loads", "unlimited"}

// startNode starts a node that is killed when the test ends.
func startNode(t *testing.T, name string, args ...string) *node {
	t.Helper()
	return startNodeOf(t, binary, name, append(args, todaysArgs...)...)
}

// startNodeOf starts a node of a given program.
func startNodeOf(t *testing.T, program func() (string, error), name string, args ...string) *node {
	t.Helper()
	n := &node{t: t, program: program, name: name, args: args}
	// Another process may take the port before the node binds it.
	for try := 0; ; try++ {
		n.port = freePort(t)
		err := n.start()
		if err == nil {
			break
		}
		if try == 4 || !strings.Contains(n.logged(), "choose another port") {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		n.Kill()
		log := n.logged()
		if strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic: ") {
			t.Errorf("%s has a data race, or has panicked", n.name)
		}
		if t.Failed() && log != "" {
			lines := strings.Split(log, "\n")
			t.Logf("end of the log of %s:\n%s", n.name, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	})
	return n
}

// freePort returns a free port. It is below the range for outgoing connections, so that
// none of them takes it while the node is down.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port in 100 tries")
	return 0
}

// URL returns the base URL of the node.
func (n *node) URL() string { return fmt.Sprintf("http://127.0.0.1:%d", n.port) }

// start starts the process and returns when the node serves requests.
func (n *node) start() error {
	path, err := n.program()
	if err != nil {
		return err
	}
	n.cmd = exec.Command(path, append([]string{
		"serve", "--listen", fmt.Sprintf("127.0.0.1:%d", n.port), "--admin", "127.0.0.1:0",
		"--log-format", "json", "--shutdown-timeout", "5s",
	}, n.args...)...)
	n.cmd.SysProcAttr = dieWithParent()
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ASIDE_") {
			n.cmd.Env = append(n.cmd.Env, v)
		}
	}
	stderr, err := n.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	n.ended = make(chan struct{})
	ready, admin := make(chan struct{}), ""
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var entry struct{ Msg, URL string }
			_ = json.Unmarshal(lines.Bytes(), &entry)
			n.mu.Lock()
			n.log = append(n.log, lines.Text())
			n.mu.Unlock()
			switch entry.Msg {
			case "admin listener started", "serving the operator": // the second in old releases
				admin = entry.URL
			case "serving":
				close(ready)
			}
		}
		_ = cmd.Wait()
	}(n.cmd, n.ended)
	select {
	case <-ready:
		n.admin = admin
		return nil
	case <-n.ended:
		return fmt.Errorf("%s ended at once:\n%s", n.name, n.logged())
	case <-time.After(patience):
		n.Kill()
		return fmt.Errorf("%s does not serve:\n%s", n.name, n.logged())
	}
}

func (n *node) logged() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.log, "\n")
}

// Kill ends the process like kill -9.
func (n *node) Kill() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// AwaitDeath waits until a failpoint has killed the process.
func (n *node) AwaitDeath() {
	n.t.Helper()
	testsync.Await(n.t, n.name+" to be killed", n.ended)
}

// Restart starts the process again, on the same port.
func (n *node) Restart() {
	n.t.Helper()
	n.Kill()
	if err := n.start(); err != nil {
		n.t.Fatal(err)
	}
}

// Replace ends the process gracefully, with SIGTERM, and starts another program on the same
// port.
func (n *node) Replace(program func() (string, error), args ...string) {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	testsync.Await(n.t, n.name+" to end", n.ended)
	if state := n.cmd.ProcessState; !state.Success() {
		n.t.Errorf("%s did not end as it should: %v", n.name, state)
	}
	n.program, n.args = program, args
	if err := n.start(); err != nil {
		n.t.Fatal(err)
	}
}

// AwaitStop waits until the process is stopped, for example by a failpoint.
func (n *node) AwaitStop() {
	n.t.Helper()
	testsync.Eventually(n.t, n.name+" is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
		if err != nil {
			n.t.Fatal(err)
		}
		// The state comes after the name, which is in parentheses.
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "T")
	})
}

// Stop stops the process with SIGSTOP.
func (n *node) Stop() { n.t.Helper(); n.signal(syscall.SIGSTOP) }

// Continue continues a stopped process.
func (n *node) Continue() { n.t.Helper(); n.signal(syscall.SIGCONT) }

func (n *node) signal(s os.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
}

// Arm arms a failpoint. spec is the JSON for package failpoint.
func (n *node) Arm(point, spec string) {
	n.t.Helper()
	n.control(http.MethodPut, "/failpoints/"+point, spec)
}

// Disarm disarms a failpoint and releases the operations that it holds.
func (n *node) Disarm(point string) {
	n.t.Helper()
	n.control(http.MethodDelete, "/failpoints/"+point, "")
}

// AwaitHits waits until a failpoint has had this number of hits since it was armed.
func (n *node) AwaitHits(point string, hits int) {
	n.t.Helper()
	n.control(http.MethodGet, fmt.Sprintf("/failpoints/%s?hits=%d", point, hits), "")
}

// Flush flushes the cache, so that records are loaded again.
func (n *node) Flush() {
	n.t.Helper()
	testsync.Eventually(n.t, n.name+" empties the cache", func() bool {
		status, _, _ := send(http.MethodPost, n.admin+"/flush", "")
		return status == http.StatusNoContent // it fails while the node regards a busy Redis as down
	})
}

func (n *node) control(method, path, body string) {
	n.t.Helper()
	status, answer, err := send(method, n.admin+path, body)
	if err != nil || status/100 != 2 {
		n.t.Fatalf("%s: %s %s: %d, %v: %s", n.name, method, path, status, err, answer)
	}
}

// Do sends a request to the API and returns the status of the response, 0 without a
// response. headers are names and values in turn.
func (n *node) Do(method, path, body string, headers ...string) int {
	status, _, _ := send(method, n.URL()+path, body, headers...)
	return status
}

// Create creates a record, and retries until the node accepts it.
func (n *node) Create(id, name string) {
	n.t.Helper()
	testsync.Eventually(n.t, n.name+" takes a write", func() bool {
		status := n.Do(http.MethodPost, "/todos", fmt.Sprintf(`{"id":%q,"name":%q}`, id, name))
		return status == http.StatusCreated || status == http.StatusConflict // from an earlier attempt
	})
}

// Get returns the name of a record, "" if it could not be read.
func (n *node) Get(id, cacheControl string) string {
	status, answer, err := send(http.MethodGet, n.URL()+"/todos/"+id, "", "Cache-Control", cacheControl)
	var t struct{ Name string }
	if err != nil || status != http.StatusOK || json.Unmarshal(answer, &t) != nil {
		return ""
	}
	return t.Name
}

func send(method, url, body string, headers ...string) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}
