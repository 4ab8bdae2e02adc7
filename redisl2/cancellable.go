package redisl2

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// cancellable returns when a command's context ends. rueidis does so for a command that
// waits for its answer, but not for one that waits for a connection: that waits for
// the attempt of whoever began one, a probe or the refresh of the topology, with
// no other deadline than DialTimeout. Nor for one that finds no place in the queue
// of a server that answers nothing.
//
// The goroutine that this takes is spared while the connection is in no doubt.
type cancellable struct {
	rueidis.Client
	doubt *doubt // nil in a cluster, which has a connection for each server: always
}

func (p cancellable) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	raised := p.doubt.now()
	if raised == 0 {
		r := p.Client.Do(ctx, cmd)
		if r.NonRedisError() != nil {
			p.doubt.raise()
		}
		return r
	}
	if err := ctx.Err(); err != nil {
		return rueidis.NewErrorResult(err)
	}
	done := make(chan rueidis.RedisResult, 1)
	go func() { done <- p.Client.Do(ctx, cmd) }()
	select {
	case r := <-done:
		if r.NonRedisError() == nil {
			p.doubt.settle(raised)
		}
		return r
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
}

// grace is for DoMulti to hand out what other servers answered in time.
const grace = 20 * time.Millisecond

func (p cancellable) DoMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	raised := p.doubt.now()
	if raised == 0 {
		rs := p.Client.DoMulti(ctx, cmds...)
		if failed(rs) {
			p.doubt.raise()
		}
		return rs
	}
	if ctx.Err() != nil {
		return allFailed(ctx, len(cmds))
	}
	done := make(chan []rueidis.RedisResult, 1)
	go func() { done <- p.Client.DoMulti(ctx, cmds...) }()
	select {
	case rs := <-done:
		if !failed(rs) {
			p.doubt.settle(raised)
		}
		return rs
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case rs := <-done:
		return rs
	case <-timer.C:
		return allFailed(ctx, len(cmds))
	}
}

// failed reports whether the server has not answered all of a pipeline.
func failed(rs []rueidis.RedisResult) bool {
	return len(rs) > 0 && rs[len(rs)-1].NonRedisError() != nil
}

func allFailed(ctx context.Context, n int) []rueidis.RedisResult {
	rs := make([]rueidis.RedisResult, n)
	for i := range rs {
		rs[i] = rueidis.NewErrorResult(ctx.Err())
	}
	return rs
}

func (p cancellable) Nodes() map[string]rueidis.Client {
	nodes := p.Client.Nodes()
	for addr, n := range nodes {
		nodes[addr] = cancellable{n, p.doubt}
	}
	return nodes
}

// doubt is whether commands may have to wait for a connection: since one was lost,
// or dialed, or a command was not answered, and none has been answered that was
// sent after that.
type doubt struct {
	raised, settled atomic.Uint64
}

// now returns a number for settle, or 0 if there is no doubt.
func (d *doubt) now() uint64 {
	if d == nil {
		return 1
	}
	if n := d.raised.Load(); n != d.settled.Load() {
		return n
	}
	return 0
}

func (d *doubt) raise() {
	if d != nil {
		d.raised.Add(1)
	}
}

// settle tells that a command was answered that was sent when now returned n.
func (d *doubt) settle(n uint64) {
	if d != nil {
		d.settled.Store(n)
	}
}
