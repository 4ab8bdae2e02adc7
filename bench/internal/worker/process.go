package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"time"

	"github.com/asidecache/aside/bench/internal/peer"
)

// variable makes a program that calls Main a worker.
const variable = "ASIDE_BENCH_WORKER"

// Main makes this process a worker, if it was started as one, and does not
// return then. A program that starts workers calls it first of all.
func Main() {
	peer.Silence()
	if os.Getenv(variable) == "" {
		return
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Worker", new(Service)); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(2)
	}
	server.ServeCodec(jsonrpc.NewServerCodec(pipes{lifeline{os.NewFile(3, "requests")}, os.NewFile(4, "answers")}))
	os.Exit(0)
}

// lifeline ends the process with its parent, or when that wants no more of it,
// whatever is under way: a client whose Redis has gone may try for ever.
type lifeline struct{ *os.File }

func (l lifeline) Read(b []byte) (int, error) {
	n, err := l.File.Read(b)
	if err != nil {
		os.Exit(0)
	}
	return n, nil
}

// pipes are two one-way pipes as one connection.
type pipes struct {
	io.ReadCloser
	out *os.File
}

func (p pipes) Write(b []byte) (int, error) { return p.out.Write(b) }

func (p pipes) Close() error { return errors.Join(p.ReadCloser.Close(), p.out.Close()) }

// Process is a worker.
type Process struct {
	cmd  *exec.Cmd
	rpc  *rpc.Client
	done chan struct{} // closed when the process has ended
}

// Start starts a worker. What it prints goes to stderr.
func Start() (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	requests, send, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	receive, answers, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, requests.Close(), send.Close())
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.ExtraFiles = []*os.File{requests, answers}
	err = cmd.Start()
	_, _ = requests.Close(), answers.Close() // the worker has its own
	if err != nil {
		return nil, errors.Join(err, send.Close(), receive.Close())
	}
	p := &Process{cmd: cmd, done: make(chan struct{}), rpc: jsonrpc.NewClient(pipes{receive, send})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Call asks the worker and waits for its answer. When ctx ends it kills the
// worker, which has no other way to stop.
func (p *Process) Call(ctx context.Context, method string, args, answer any) error {
	call := p.rpc.Go("Worker."+method, args, answer, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		if call.Error != nil {
			return fmt.Errorf("%s: %w", method, call.Error)
		}
		return nil
	case <-ctx.Done():
		_ = p.cmd.Process.Kill()
		<-call.Done
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	}
}

// Stop ends the worker.
func (p *Process) Stop() {
	_ = p.rpc.Close() // it ends by itself
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}
