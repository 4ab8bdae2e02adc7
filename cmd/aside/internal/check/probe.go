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
)

// TargetError: a target is no todo API, or cannot be reached, or has a database
// of its own, so that there is nothing to check.
type TargetError struct {
	URL  string // "" if it is all of them
	Text string
}

func (e *TargetError) Error() string {
	if e.URL == "" {
		return e.Text
	}
	return e.URL + ": " + e.Text
}

const (
	// probeTimeout is the longest for one request before the load and after it:
	// they are few, and one that hangs keeps all others waiting.
	probeTimeout = 2 * time.Second
	probePause   = 50 * time.Millisecond
)

// grace is how long nodes may take to come up before the load, and to come back
// after it.
func (r *run) grace() time.Duration { return min(2*r.Timeout, 5*time.Second) }

// probe finds out whether the targets are todo APIs over one database: a record
// that was created through one of them cannot be created again through another.
// That answer is the database's own, whatever the caches hold.
//
// It asks until all have answered, or for a few seconds; unshared then names
// those that did not. The error is a *TargetError.
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
	for pause := probePause; ; pause *= 2 {
		if err := p.round(ctx); err != nil {
			return nil, err
		}
		if len(p.joined) == len(r.Targets) {
			return nil, nil
		}
		if !sleep(ctx, pause) {
			return p.unshared()
		}
	}
}

type prober struct {
	*run
	*caller
	order   []int        // in which targets are asked: those that answer first
	answers []outcome    // by target, the last one
	joined  map[int]bool // the targets that are known to share one database
}

// round has every target create the same record.
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
				"it shares no database with %s: a record that had been created there could be created here again", p.Targets[creator])}
		case x.sure == told:
			creator = t
			same = append(same, t)
		case exists && creator >= 0:
			same = append(same, t)
		case !exists && x.foreign():
			return &TargetError{p.Targets[t], fmt.Sprintf(
				"this is no todo API: POST %s/todos was answered with %s: %s", p.endpoints[t].Path, x.problem, x.detail)}
		default:
			silent = append(silent, t)
		}
		if x.sure == unknown {
			// It may have created the record without saying so: what the others
			// answer from now on tells nothing.
			silent = slices.Concat(p.order[i+1:], silent)
			break
		}
	}
	p.join(same)
	p.order = slices.Concat(same, silent)
	return nil
}

// join adds targets that share a database with each other.
func (p *prober) join(same []int) {
	if len(p.joined) > 0 && !slices.ContainsFunc(same, func(t int) bool { return p.joined[t] }) {
		return
	}
	for _, t := range same {
		p.joined[t] = true
	}
}

// unshared names the targets that did not answer.
func (p *prober) unshared() (unshared, err error) {
	var silent []string
	for t, url := range p.Targets {
		if !p.joined[t] {
			silent = append(silent, fmt.Sprintf("%s (%s)", url, cmp.Or(p.answers[t].problem, "cut off")))
		}
	}
	list := strings.Join(silent, ", ")
	if len(silent) == len(p.Targets) {
		return nil, &TargetError{Text: "no target answers: " + list}
	}
	return errors.New("whether these share the others' database is not known, since they did not answer: " + list), nil
}

// foreign reports whether the outcome is none of a todo API, not even of one in
// trouble.
func (o *outcome) foreign() bool {
	switch o.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return o.problem == string(httpwire.Malformed) || o.status > 0 && o.status < 500
}
