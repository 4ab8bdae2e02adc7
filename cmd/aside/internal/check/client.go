package check

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/pause"
)

// caller sends the requests of one client. It has one connection to each target, and sends
// one request at a time.
type caller struct {
	conns   []*httpwire.Conn
	records []string // path of the records, by target
}

func newCaller(endpoints []httpwire.Endpoint, timeout time.Duration) *caller {
	c := &caller{}
	for _, e := range endpoints {
		conn := httpwire.NewConn(e, "aside-check", timeout)
		conn.Request.Header.Set("Accept", "application/json")
		conn.Request.Header.SetContentType("application/json") // sent with a body
		c.conns = append(c.conns, conn)
		c.records = append(c.records, e.Path+"/todos")
	}
	return c
}

func (c *caller) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// abortWith aborts the running request and all later ones when ctx ends.
func (c *caller) abortWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		for _, conn := range c.conns {
			conn.Abort()
		}
	})
}

// exchange is a request and its outcome.
type exchange struct {
	outcome
	call, end time.Time // just before it was written, and when it ended
}

// do sends one request for the record id, once. tag is the tag of a write.
func (c *caller) do(ctx context.Context, target int, a act, id string, tag uint64) exchange {
	conn := c.conns[target]
	h := &conn.Request.Header
	h.SetMethod(methods[a])
	h.Del("Cache-Control")
	if a == readStrong {
		h.Set("Cache-Control", "no-cache")
	}
	path := c.records[target] + "/" + id // ids need no escaping
	var body []byte
	switch a {
	case create:
		path = c.records[target]
		body = mustEncode(draft{ID: id, Name: nameOf(tag)})
	case put:
		body = mustEncode(draft{Name: nameOf(tag)})
	}
	h.SetRequestURI(path)
	conn.Request.SetBodyRaw(body)

	answer, failure := conn.Do(ctx)
	if failure != nil {
		return exchange{judgeFailure(a, failure), failure.Began, time.Now()}
	}
	return exchange{judge(a, id, answer), answer.Began, answer.Ended}
}

var methods = [acts]string{
	readStrong: http.MethodGet, readDefault: http.MethodGet,
	create: http.MethodPost, put: http.MethodPut, remove: http.MethodDelete,
}

type draft struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name"`
}

func mustEncode(d draft) []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // two strings
	}
	return b
}

// client is one client of the run.
type client struct {
	*run
	*caller
	id  int
	rng *rand.Rand
}

// loop starts operations until begin ends. When ctx ends, it aborts the running one and
// starts no other. begin is a child of ctx and may end a little later.
func (c *client) loop(ctx, begin context.Context) {
	defer c.close()
	defer c.abortWith(ctx)()
	delay := minPause
	for begin.Err() == nil && ctx.Err() == nil {
		if c.Operations > 0 && c.begun.Add(1) > c.Operations {
			c.stop()
			return
		}
		if c.operation(ctx) {
			delay = minPause
			continue
		}
		// Do not send a million requests per second to a failing system, but notice
		// soon that it works again.
		if !pause.For(begin, delay) {
			return
		}
		delay = min(2*delay, maxPause)
	}
}

const (
	minPause = 5 * time.Millisecond
	maxPause = 80 * time.Millisecond
)

// operation does one operation and reports whether it succeeded.
func (c *client) operation(ctx context.Context) bool {
	target := c.rng.IntN(len(c.conns))
	if c.Sticky {
		target = c.id % len(c.conns)
	}
	slot := c.slot(c.rng)
	if a := c.Drops.choose(c.rng); a.drop() {
		return c.drop(ctx, target, slot, a)
	}
	l, a, finished := slot.begin(c.rng.Float64() < c.Writes, c.since(time.Now()), c.rng)
	c.finish(finished)
	var tag uint64
	if a == create || a == put {
		tag = c.tags.Add(1)
	}

	begun := c.since(time.Now()) // again, since it may have waited for the checker
	x := c.do(ctx, target, a, l.id, tag)
	if x.problem != "" && ctx.Err() != nil {
		x.problem = "" // the run aborted it
		c.recorder.cutOff()
	}
	c.record(l.key, target, a, tag, x)
	end := c.since(x.end)
	finished, expected := slot.end(l, a, x.outcome, end, c.rng)
	c.finish(finished)
	took := end - begun
	switch {
	case expected:
		c.recorder.cameLate(begun, took)
	case x.problem != "":
		c.recorder.erred(target, a, begun, took, x.outcome)
		return false
	case x.sure == told:
		c.recorder.succeeded(target, a, begun, took)
	}
	return true
}

var kinds = [acts]history.Kind{
	readStrong: history.ReadStrong, readDefault: history.ReadDefault,
	create: history.Write, put: history.Write, remove: history.Delete,
	dropKey: history.Drop, dropTag: history.Drop,
}

// record adds an operation to the record's history, unless it tells nothing.
func (c *client) record(key *history.Key, target int, a act, tag uint64, x exchange) {
	if x.sure == nothing {
		return
	}
	op := history.Op{
		Client: c.id, Node: target, Kind: kinds[a],
		Call: c.since(x.call), Return: c.since(x.end),
		Version: x.version, Tag: x.tag,
	}
	if a.write() {
		op.Tag = tag
	}
	if x.sure == unknown {
		op.Unknown, op.Return, op.Version = true, 0, 0
	}
	key.Record(op)
}
