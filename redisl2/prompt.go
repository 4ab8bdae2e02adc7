package redisl2

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// prompt returns when a command's context ends. rueidis' cluster client may not:
// a command for a server that it is connecting to waits for that attempt, which
// may be the topology refresh's, with no other deadline than DialTimeout.
type prompt struct{ rueidis.Client }

func (p prompt) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	done := make(chan rueidis.RedisResult, 1)
	go func() { done <- p.Client.Do(ctx, cmd) }()
	select {
	case r := <-done:
		return r
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
}

// grace is for DoMulti to hand out what other servers answered in time.
const grace = 20 * time.Millisecond

func (p prompt) DoMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	done := make(chan []rueidis.RedisResult, 1)
	go func() { done <- p.Client.DoMulti(ctx, cmds...) }()
	select {
	case rs := <-done:
		return rs
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case rs := <-done:
		return rs
	case <-timer.C:
		rs := make([]rueidis.RedisResult, len(cmds))
		for i := range rs {
			rs[i] = rueidis.NewErrorResult(ctx.Err())
		}
		return rs
	}
}

func (p prompt) Nodes() map[string]rueidis.Client {
	nodes := p.Client.Nodes()
	for addr, n := range nodes {
		nodes[addr] = prompt{n}
	}
	return nodes
}
