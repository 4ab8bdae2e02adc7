package history

import (
	"slices"
	"time"
)

// Options say what is checked. The zero value checks everything, and allows no
// default read to be stale at all.
type Options struct {
	// Promises to check; empty: all. Staleness is measured in any case.
	Promises []Promise
	// MaxStale is how stale a default read may be; negative: any.
	MaxStale time.Duration
	// MaxOutside is how long reads of all levels may miss an outside write: for every
	// promise it counts as acknowledged only so long after its return. A default read
	// later than that must show it, whatever MaxStale is above zero. Until then, reads may
	// also show it and then not: a read that goes to the primary shows it first. If its
	// outcome is unknown, that ends MaxOutside after a read has shown it. Negative: for ever.
	//
	// A Drop that was called after the write's return ends it too, at the drop's return:
	// for strong reads, for all reads on its node, and MaxStale later for default reads on
	// the other nodes.
	MaxOutside time.Duration
	// Pictures is the directory in which the violations that the result keeps are
	// drawn, as HTML; "": none. There are at most three for each promise and
	// call; who checks keys for hours stops naming a directory at some time.
	Pictures string
	// Timeout is for each of the parts in which Linearizable is decided; zero: 10s.
	// A part takes milliseconds.
	Timeout time.Duration
	// OnStale, if set, is called by Check for each stale read, strong or default,
	// by time of call.
	OnStale func(read Op, by time.Duration)
	// OnOutside, if set, is called by Check for each read that missed an outside
	// write, however late, by time of call. by is the time since the write's return.
	OnOutside func(read Op, by time.Duration)
	// OnViolation, if set, is called by Check for each violation, those too that
	// the result only counts, with the operation that broke the promise: the
	// latest of the piece, mostly a read.
	OnViolation func(p Promise, op Op)
}

func (o *Options) checks(p Promise) bool {
	return len(o.Promises) == 0 || slices.Contains(o.Promises, p)
}

// Check checks one key's whole life. An operation recorded while Check runs, or
// later, may be missed: that can hide a violation, or show one that is none.
func Check(k *Key, o Options) Result {
	return newLife(k, o).check()
}

func (l *life) check() Result {
	l.count()
	l.fresh()
	l.lag()
	if l.options.checks(OwnWrites) {
		l.ownWrites()
	}
	if l.options.checks(Monotonic) {
		l.monotonic()
	}
	if l.options.checks(Intact) {
		l.intact()
	}
	if l.options.checks(Linearizable) {
		l.linearizable()
	}
	return l.result
}

func (l *life) count() {
	l.result.Keys = 1
	for _, op := range l.all {
		l.result.Ops[op.Kind]++
		if op.Unknown {
			l.result.Unknown++
		}
		if op.Outside {
			l.result.Outside++
		}
	}
}

// violated counts one violation, and keeps it if it is among the first. The
// text is made only then.
func (l *life) violated(p Promise, by Op, text func() string, ops ...Op) {
	if l.options.OnViolation != nil {
		l.options.OnViolation(p, l.recorded(by))
	}
	l.result.broke(p, 1)
	if !l.result.wants(p) {
		return
	}
	v := Violation{Promise: p, Key: l.key, Text: text(), Ops: byCall(l.withDrops(ops))}
	if dir := l.options.Pictures; dir != "" {
		v.PictureErr = l.draw(&v, dir)
	}
	for i, op := range v.Ops {
		v.Ops[i] = l.recorded(op)
	}
	l.result.Violations = append(l.result.Violations, v)
}
