package check

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asidecache/aside/asidetest/history"
	"github.com/asidecache/aside/cmd/aside/internal/httpwire"
)

// Run checks until the first limit of the Config, or until ctx ends, and returns a report.
// It creates records with new ids, and deletes them.
//
// Run returns an error only if no load was started: the Config is invalid, a target is
// unsuitable (*TargetError), or ctx ended before (its cause). Errors during the run and
// violations are in the report.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Outside != nil && c.Outside.Store == nil {
		return nil, errors.New("outside writers need a store")
	}
	endpoints, err := c.endpoints()
	if err != nil {
		return nil, err
	}
	r := &run{Config: c.withDefaults(), endpoints: endpoints, prefix: newPrefix()}
	if r.Drops != nil {
		r.admin, _ = r.Drops.endpoints(endpoints) // valid, like the rest
	}
	unshared, err := r.probe(ctx)
	if err == nil && r.Outside != nil {
		err = r.probeOutside(ctx)
	}
	if err == nil && r.Drops != nil {
		err = r.probeDrops(ctx)
	}
	if err != nil {
		r.removeAll(ctx, everywhere)
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}

	var notFed []NotFed
	if r.Outside != nil {
		notFed = r.askFeeds(ctx)
		for _, n := range notFed {
			if r.Warn != nil {
				r.Warn(n.text(r.Targets))
			}
		}
	}

	report := r.load(ctx)
	if r.Outside != nil {
		report.Outside.NotFed = notFed
	}
	if unshared != nil && ctx.Err() == nil {
		// Targets that did not answer at the beginning may answer now.
		unshared, report.Apart = r.probe(ctx)
	}
	report.Unshared = unshared
	report.Left = r.removeAll(ctx, report.Apart != nil)
	return report, nil
}

// run is a running check.
type run struct {
	Config
	endpoints []httpwire.Endpoint
	admin     []httpwire.Endpoint // for drops, by target
	dropper   *dropper            // nil: there are none
	prefix    string
	start     time.Time
	stop      func() // no operation begins after it
	slots     []*slot
	rare      int // how many of the slots are patient, the first ones,
	patience  int // and how many times less often they are used than the others
	recorder  *recorder
	whole     chan *history.Key // for the checker

	begun atomic.Int64 // operations left, if their number is limited
	tags  atomic.Uint64
	// probed is the record that the probe created last.
	probed struct {
		id     string
		target int
	}
	ids atomic.Uint64

	mu   sync.Mutex
	left []string // ids of records that may be in the database
}

// newPrefix returns the prefix of the ids of a run.
func newPrefix() string {
	var b [5]byte
	rand.Read(b[:]) // never fails
	return "check-" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:])) + "-"
}

func (r *run) newID() string { return r.prefix + strconv.FormatUint(r.ids.Add(1), 10) }

func (r *run) since(t time.Time) time.Duration { return t.Sub(r.start) }

// waiting is how many records may wait for the checker before clients have to wait.
const waiting = 64

func (r *run) load(ctx context.Context) *Report {
	r.slots = make([]*slot, r.Keys)
	r.rare, r.patience = 1, patience
	if r.Outside != nil {
		r.rare, r.patience = max(r.Keys/4, 1), outsidePatience
	}
	for i := range r.slots {
		r.slots[i] = &slot{
			patient: i < r.rare && r.Keys > 1, newID: r.newID, targets: len(r.endpoints),
			ops: r.Life, strong: r.Strong, maxStale: r.MaxStale, next: i + 1, step: r.Keys,
		}
		if r.Outside != nil {
			r.slots[i].outside, r.slots[i].bound, r.slots[i].lives = true, r.Outside.Bound, i
		}
	}
	r.whole = make(chan *history.Key, waiting)
	r.start = time.Now()
	r.recorder = newRecorder(r.start, len(r.endpoints))
	begin, stop := context.WithCancel(ctx)
	defer stop()
	if r.Duration > 0 {
		defer time.AfterFunc(r.Duration, stop).Stop()
	}
	r.stop = stop

	if r.Drops != nil {
		r.dropper = newDropper(r.admin, r.Drops.Token, min(r.Clients, maxAdminConns), r.Timeout)
		defer r.dropper.close()
		defer r.dropper.abortWith(ctx)()
	}
	over := make(chan struct{})
	var clients, others sync.WaitGroup
	others.Go(r.check)
	if r.Stop != nil {
		others.Go(func() {
			select {
			case <-r.Stop:
				stop()
			case <-over:
			}
		})
	}
	for i := range r.Clients {
		clients.Go(func() {
			c := &client{
				run: r, caller: newCaller(r.endpoints, r.Timeout), id: i,
				rng: mathrand.New(mathrand.NewPCG(r.Seed, uint64(i))),
			}
			c.loop(ctx, begin)
		})
	}
	if r.Outside != nil {
		pace := newPace(r.Outside.Rate)
		for i := range r.Outside.Writers {
			id := r.Clients + i
			w := &outsider{run: r, pace: pace, id: id, rng: mathrand.New(mathrand.NewPCG(r.Seed, uint64(id)))}
			clients.Go(func() { w.loop(ctx, begin) })
		}
	}
	if r.Progress != nil {
		others.Go(func() { r.show(over) })
	}
	clients.Wait()
	elapsed := time.Since(r.start)
	for _, s := range r.slots {
		r.finish(s.drain())
	}
	close(over)
	close(r.whole)
	others.Wait()

	report := r.recorder.report(&r.Config)
	report.Config, report.Prefix, report.Start, report.Elapsed = r.Config, r.prefix, r.start, elapsed
	report.Interrupted = ctx.Err() != nil
	return report
}

// slot picks a slot for an operation.
func (r *run) slot(rng *mathrand.Rand) *slot {
	others := len(r.slots) - r.rare
	if others == 0 {
		return r.slots[0]
	}
	if i := rng.IntN(r.patience*others + r.rare); i < r.rare {
		return r.slots[i]
	}
	return r.slots[r.rare+rng.IntN(others)]
}

// finish passes complete histories to the checker. It waits if the checker is too slow, so
// that histories do not pile up.
func (r *run) finish(lives []*life) {
	for _, l := range lives {
		if l.remains {
			r.leave(l.id)
		}
		r.whole <- l.key
	}
}

// leave remembers a record that may be in the database, for removeAll.
func (r *run) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = append(r.left, id)
}

// maxDrawn is the maximum number of violations with a picture: a long run may have very
// many violations.
const maxDrawn = 20

// check checks complete histories.
func (r *run) check() {
	drawn := 0
	for key := range r.whole {
		o := history.Options{
			Promises: r.Promises, MaxStale: r.MaxStale,
			OnStale: r.recorder.stale, OnViolation: r.recorder.violated,
		}
		if r.Outside != nil {
			o.MaxOutside, o.OnOutside = r.Outside.Bound, r.recorder.missedOutside
		}
		if drawn < maxDrawn {
			o.Pictures = r.Pictures
		}
		result := history.Check(key, o)
		if result.Violated() > 0 {
			drawn++
		}
		r.recorder.checked(result)
	}
}

// show reports the progress until the load ends.
func (r *run) show(over <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.Progress(r.recorder.progress(time.Since(r.start)))
		case <-over:
			return
		}
	}
}
