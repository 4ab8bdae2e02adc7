package worker

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asidecache/aside/bench/internal/measure"
	"github.com/asidecache/aside/bench/internal/record"
)

func TestMain(m *testing.M) {
	Main()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// A worker measures in another process, tells errors, and ends when it is told
// to, or when nobody is left to ask it.
func TestWorker(t *testing.T) {
	ctx := context.Background()
	p, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if p.cmd.Process.Pid == os.Getpid() {
		t.Fatal("the worker is this process")
	}
	hits := measure.HitArgs{Dist: record.Zipf, Goroutines: 1, For: 10 * time.Millisecond}
	var sample measure.Sample
	if err := p.Call(ctx, "Hits", hits, &sample); err == nil || !strings.Contains(err.Error(), errNotOpen.Error()) {
		t.Errorf("measured without a session: %v", err)
	}
	if err := p.Call(ctx, "Open", measure.Options{Peer: "none of them"}, &None{}); err == nil {
		t.Error("opened a peer that there is not")
	}
	if err := p.Call(ctx, "Open", measure.Options{Peer: "aside-l1", Keys: 100}, &None{}); err != nil {
		t.Fatal(err)
	}
	var missing int64
	if err := p.Call(ctx, "Fill", None{}, &missing); err != nil || missing != 0 {
		t.Fatalf("%d keys missing, %v", missing, err)
	}
	if err := p.Call(ctx, "Hits", hits, &sample); err != nil || sample.Ops == 0 || sample.Elapsed < hits.For || sample.Loads != 0 {
		t.Errorf("%+v, %v", sample, err)
	}
	var rush measure.Rush
	at := time.Now().Add(20 * time.Millisecond)
	if err := p.Call(ctx, "Stampede", StampedeArgs{Key: "k", Callers: 10, At: at.UnixNano()}, &rush); err != nil || rush.Loads != 1 || time.Now().Before(at) {
		t.Errorf("%+v, %v", rush, err)
	}
	if err := p.Call(ctx, "Close", None{}, &None{}); err != nil {
		t.Error(err)
	}
}

// A call that takes too long ends with its context, and the worker with it.
func TestCallEndsWithItsContext(t *testing.T) {
	p, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if err := p.Call(context.Background(), "Open", measure.Options{Peer: "aside-l1", Keys: 100}, &None{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var sample measure.Sample
	err = p.Call(ctx, "Hits", measure.HitArgs{Dist: record.Uniform, Goroutines: 1, For: time.Hour}, &sample)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call ended with %v", err)
	}
	<-p.done
}

// A worker ends when nobody is left to ask it, in the middle of a call too.
//
// Caught: a worker that answered its last call first.
func TestWorkerEndsWithItsParent(t *testing.T) {
	p, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	ctx := context.Background()
	if err := p.Call(ctx, "Open", measure.Options{Peer: "aside-l1", Keys: 100}, &None{}); err != nil {
		t.Fatal(err)
	}
	var sample measure.Sample
	call := p.rpc.Go("Worker.Hits", measure.HitArgs{Dist: record.Uniform, Goroutines: 1, For: time.Hour}, &sample, nil)
	if err := p.rpc.Close(); err != nil { // as the system does when the parent dies
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		t.Error("the worker goes on")
	}
	if <-call.Done; call.Error == nil {
		t.Error("the call was answered")
	}
}
