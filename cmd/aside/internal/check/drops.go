package check

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/pause"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Drops configures operations that drop records from the cache, as an operator would. They
// change no record. But strong reads that begin after a drop has returned must show every
// outside write that was acknowledged before the drop began, and so must all reads on the
// node that did it. The drop of a tag counts for all records that have it.
//
// Half of the outside writes are followed by a drop at once, by the same writer.
type Drops struct {
	// Keys is the share of operations that drop a record by its key, Tags of those that
	// drop all records with the tag of one.
	Keys, Tags float64
	// Admin are the base URLs at which the nodes take the calls of operators, in the
	// order of the targets; default: the targets.
	Admin []string
	// Token is sent with these calls; "" means none.
	Token string
}

func (d *Drops) faults(targets []string) []error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !(d.Keys >= 0 && d.Tags >= 0 && d.Keys+d.Tags > 0 && d.Keys+d.Tags <= 1) {
		fault("drops by key and by tag must together be a share from 0 to 1, and not 0, are %v and %v", d.Keys, d.Tags)
	}
	if n := len(d.Admin); n > 0 && n != len(targets) {
		fault("there must be one admin URL for each target, in the same order, or none: there are %d for %d targets", n, len(targets))
	}
	if _, err := d.endpoints(nil); err != nil {
		errs = append(errs, err)
	}
	return errs
}

func (d *Drops) endpoints(targets []httpwire.Endpoint) ([]httpwire.Endpoint, error) {
	if len(d.Admin) == 0 {
		return targets, nil
	}
	return parseURLs("admin", d.Admin)
}

func (d *Drops) share(a act) float64 {
	if a == dropTag {
		return d.Tags
	}
	return d.Keys
}

// choose decides whether the next operation is a drop, and of which kind.
func (d *Drops) choose(rng *rand.Rand) act {
	if d == nil {
		return readDefault
	}
	switch f := rng.Float64(); {
	case f < d.Keys:
		return dropKey
	case f < d.Keys+d.Tags:
		return dropTag
	}
	return readDefault
}

// maxAdminConns is the number of connections for drops to each node. A node accepts few on
// its admin listener.
const maxAdminConns = 8

// dropper sends drops. Clients share its connections.
type dropper struct {
	endpoints []httpwire.Endpoint
	free      []chan *httpwire.Conn // by target
	all       []*httpwire.Conn
}

func newDropper(endpoints []httpwire.Endpoint, token string, conns int, timeout time.Duration) *dropper {
	d := &dropper{endpoints: endpoints}
	for _, e := range endpoints {
		free := make(chan *httpwire.Conn, conns)
		for range conns {
			conn := httpwire.NewConn(e, "aside-check", timeout)
			conn.Request.Header.SetMethod(http.MethodPost)
			if token != "" {
				conn.Request.Header.Set("Authorization", "Bearer "+token)
			}
			d.all = append(d.all, conn)
			free <- conn
		}
		d.free = append(d.free, free)
	}
	return d
}

func (d *dropper) close() {
	for _, conn := range d.all {
		conn.Close()
	}
}

// abortWith aborts running drops and all later ones when ctx ends.
func (d *dropper) abortWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		for _, conn := range d.all {
			conn.Abort()
		}
	})
}

// do drops a record by its key, or all with a tag.
func (d *dropper) do(ctx context.Context, target int, a act, what string) exchange {
	conn := <-d.free[target]
	defer func() { d.free[target] <- conn }()
	name := "id"
	if a == dropTag {
		name = "tag"
	}
	conn.Request.SetRequestURI(d.endpoints[target].Path + "/ops/drop?" + name + "=" + url.QueryEscape(what))
	answer, failure := conn.Do(ctx)
	if failure != nil {
		return exchange{judgeFailure(a, failure), failure.Began, time.Now()}
	}
	return exchange{judge(a, "", answer), answer.Began, answer.Ended}
}

// drop drops a record of the slot and reports whether that succeeded.
func (c *client) drop(ctx context.Context, target int, s *slot, a act) bool {
	id, tag := s.toDrop(c.rng)
	return c.run.drop(ctx, c.id, target, s, a, id, tag)
}

// mended drops a record that was changed outside, half of the times.
func (w *outsider) mended(ctx context.Context, s *slot, l *life) {
	if w.Drops == nil || w.rng.IntN(2) == 0 {
		return
	}
	a := dropTag
	if w.rng.Float64()*(w.Drops.Keys+w.Drops.Tags) < w.Drops.Keys {
		a = dropKey
	}
	w.drop(ctx, w.id, w.rng.IntN(len(w.endpoints)), s, a, l.id, s.tagOf(l))
}

// drop drops a record of a slot, or all with its tag, and reports whether that succeeded.
// It does nothing if there is none yet.
func (r *run) drop(ctx context.Context, client, target int, s *slot, a act, id, tag string) bool {
	what, is := id, func(i, _ string) bool { return i == id }
	if a == dropTag {
		what, is = tag, func(_, t string) bool { return t == tag }
	}
	if what == "" {
		return true
	}
	begun := r.since(time.Now())
	x := r.dropper.do(ctx, target, a, what)
	took := r.since(x.end) - begun
	switch {
	case x.problem != "" && ctx.Err() != nil:
		r.recorder.cutOff() // the run aborted it
		return true
	case x.problem != "":
		r.recorder.erred(target, a, begun, took, x.outcome)
		return false
	}
	op := history.Op{Client: client, Node: target, Kind: history.Drop, Call: r.since(x.call), Return: r.since(x.end)}
	slots := []*slot{s}
	if a == dropTag {
		slots = r.slots
	}
	for _, s := range slots {
		s.dropped(op, is)
	}
	r.recorder.succeeded(target, a, begun, took)
	return true
}

// probeDrops checks that every node can drop what the run is to drop, by the record that a
// node has created last.
func (r *run) probeDrops(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.grace())
	defer cancel()
	d := newDropper(r.admin, r.Drops.Token, 1, min(r.Timeout, probeTimeout))
	defer d.close()
	defer d.abortWith(ctx)()
	for t := range r.Targets {
		for _, a := range []act{dropKey, dropTag} {
			what := r.probed.id
			if a == dropTag {
				what = todo.DayTag(time.Now())
			}
			if r.Drops.share(a) == 0 {
				continue
			}
			for delay := probePause; ; delay *= 2 {
				x := d.do(ctx, t, a, what)
				if x.sure == told {
					break
				}
				if x.foreign() || !pause.For(ctx, delay) {
					return &TargetError{r.adminURL(t), dropFault(a, x.outcome)}
				}
			}
		}
	}
	return nil
}

func (r *run) adminURL(t int) string {
	if len(r.Drops.Admin) == 0 {
		return r.Targets[t]
	}
	return r.Drops.Admin[t]
}

// dropFault says why a node could not drop anything, and what to do.
func dropFault(a act, o outcome) string {
	why := fmt.Sprintf("it cannot %s: ", a)
	switch o.code {
	case "no_tags":
		return why + "its entries have no tags; start it with aside serve --tag-days"
	case "no_such_path":
		return why + "it has no calls for operators; give the URL of its admin listener with --admin"
	case "token_required":
		return why + "it wants a token, or another one; give its file with --token-file"
	}
	return why + o.problem + ": " + o.detail
}
