package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
	"github.com/asidecache/aside/cmd/aside/internal/pause"
)

// TargetError: a target is not a todo API, is unreachable, or has a different database, so
// nothing can be checked.
type TargetError struct {
	URL  string // "" if it concerns all of them
	Text string
}

func (e *TargetError) Error() string {
	if e.URL == "" {
		return e.Text
	}
	return e.URL + ": " + e.Text
}

const (
	// probeTimeout is the timeout of a request before and after the load. There are few of
	// them, and they are sent one after the other.
	probeTimeout = 2 * time.Second
	probePause   = 50 * time.Millisecond
)

// grace is how long to wait for nodes to start before the load, and to come back after it.
func (r *run) grace() time.Duration { return min(2*r.Timeout, 5*time.Second) }

// probe checks whether the targets are todo APIs with one database: a record that was
// created through one target cannot be created again through another one. This answer
// comes from the database and does not depend on caches.
//
// It repeats the check until all targets have answered, at most for a few seconds.
// unshared names those that did not answer. The error is a *TargetError.
func (r *run) probe(ctx context.Context) (unshared, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.grace())
	defer cancel()
	c := newCaller(r.endpoints, min(r.Timeout, probeTimeout))
	defer c.close()
	defer c.abortWith(ctx)()

	p := &prober{run: r, caller: c, answers: make([]outcome, len(r.Targets)), joined: map[int]bool{}}
	for t := range r.Targets {
		p.order = append(p.order, t)
	}
	for delay := probePause; ; delay *= 2 {
		if err := p.round(ctx); err != nil {
			return nil, err
		}
		if len(p.joined) == len(r.Targets) {
			return nil, nil
		}
		if !pause.For(ctx, delay) {
			return p.unshared()
		}
	}
}

type prober struct {
	*run
	*caller
	order   []int        // order of the requests: targets that answer come first
	answers []outcome    // last answer, by target
	joined  map[int]bool // targets that are known to share one database
}

// round creates the same record through every target.
func (p *prober) round(ctx context.Context) error {
	id := p.newID()
	p.leave(id)
	creator := -1
	var same, silent []int
	for i, t := range p.order {
		x := p.do(ctx, t, create, id, p.tags.Add(1))
		p.answers[t] = x.outcome
		exists := x.code == "already_exists"
		switch {
		case x.sure == told && creator >= 0:
			return &TargetError{p.Targets[t], fmt.Sprintf(
				"it does not share a database with %s: a record that was created there could be created here again", p.Targets[creator])}
		case x.sure == told:
			creator = t
			p.probed.id, p.probed.target = id, t
			same = append(same, t)
		case exists && creator >= 0:
			same = append(same, t)
		case !exists && x.foreign():
			return &TargetError{p.Targets[t], fmt.Sprintf(
				"this is not a todo API: the response to POST %s/todos was %s: %s", p.endpoints[t].Path, x.problem, x.detail)}
		default:
			silent = append(silent, t)
		}
		if x.sure == unknown {
			// It may have created the record although it did not confirm it. So the
			// answers of the other targets tell nothing.
			silent = slices.Concat(p.order[i+1:], silent)
			break
		}
	}
	p.join(same)
	p.order = slices.Concat(same, silent)
	return nil
}

// join records targets that share a database.
func (p *prober) join(same []int) {
	if len(p.joined) > 0 && !slices.ContainsFunc(same, func(t int) bool { return p.joined[t] }) {
		return
	}
	for _, t := range same {
		p.joined[t] = true
	}
}

// unshared returns an error with the targets that did not answer.
func (p *prober) unshared() (unshared, err error) {
	var silent []string
	for t, url := range p.Targets {
		if !p.joined[t] {
			silent = append(silent, fmt.Sprintf("%s (%s)", url, cmp.Or(p.answers[t].problem, "aborted")))
		}
	}
	list := strings.Join(silent, ", ")
	if len(silent) == len(p.Targets) {
		return nil, &TargetError{Text: "no target answers: " + list}
	}
	return errors.New("these targets did not answer, so it is unknown whether they share the database of the others: " + list), nil
}

// foreign reports whether the outcome cannot come from a todo API, not even from one with
// errors.
func (o *outcome) foreign() bool {
	switch o.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return o.problem == string(httpwire.Malformed) || o.status > 0 && o.status < 500
}
