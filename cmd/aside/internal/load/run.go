package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Options of a run. The zero value works.
type Options struct {
	// BatchRecords and BatchBytes bound one InsertMany: 1,000 records and 4 MiB
	// of them if zero. A record that is larger alone goes alone.
	BatchRecords int
	BatchBytes   int
	// Grace is how long the batch in flight may take once ctx is cancelled: 10
	// seconds if zero.
	Grace time.Duration
	// Console is told what goes on; nil is nobody.
	Console Console
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.BatchRecords <= 0 {
		o.BatchRecords = 1000
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 4 << 20
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.Console == nil {
		o.Console = silent{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Report says what became of the records. Read is the sum of Inserted, Existing,
// Faulty and Unsettled: records that were decoded ahead and never offered to the
// store are not in it.
type Report struct {
	Read     int64
	Inserted int64
	Existing int64 // their ID was taken: by an earlier run, or twice in the source
	Faulty   int64
	// Unsettled records were in a batch that failed; the store may hold them.
	Unsettled int64
	Elapsed   time.Duration
	// Extra counts the fields that no Todo has. It is known if the source was
	// read to its end, or up to its damage.
	Extra map[string]int64
	// Odd are the fields that were read otherwise than they are written, known as
	// Extra is.
	Odd []Odd
}

// Rate is in records per second.
func (r Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Read) / r.Elapsed.Seconds()
}

func (r Report) String() string {
	s := fmt.Sprintf("%d records read in %.1f s (%.0f/s): %d inserted, %d already there, %d faulty",
		r.Read, r.Elapsed.Seconds(), r.Rate(), r.Inserted, r.Existing, r.Faulty)
	if r.Unsettled > 0 {
		s += fmt.Sprintf(", %d unsettled", r.Unsettled)
	}
	return s
}

// Errors of Run, beside those of the store and the source.
var (
	// ErrInterrupted: ctx was cancelled. Whatever the report counts is settled.
	ErrInterrupted = errors.New("interrupted")
	// ErrFaulty: some records could not be loaded; all others were.
	ErrFaulty = errors.New("faulty records were left out")
	// ErrSource matches an error of the source: damage, or a failure to read it.
	ErrSource = errors.New("the source could not be read to its end undamaged")
)

const maxShownFaults = 10

// Run loads src into store. The report is right whatever the error: everything
// that it counts as inserted is in the store, and since records whose ID is
// taken are skipped, the same load can be started again at any time.
//
// src is read in a goroutine of Run's. If ctx is cancelled, or the store fails,
// while src waits for input (a terminal, a pipe), Run does not wait with it.
func Run(ctx context.Context, store todo.Store, src Source, opts Options) (Report, error) {
	r := runner{Options: opts.withDefaults(), store: store}
	r.start = r.Now()
	r.Console.Progress(Progress{Extent: src.Extent()})

	decodeCtx, stop := context.WithCancel(ctx)
	defer stop()
	batches := make(chan batch, 2)
	go r.decode(decodeCtx, src, batches)

	// The batch in flight outlives ctx: an insert that is cut off would leave it
	// open what was stored.
	insertCtx, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	defer context.AfterFunc(ctx, func() {
		grace := time.NewTimer(r.Grace)
		defer grace.Stop()
		select {
		case <-grace.C:
			abort()
		case <-insertCtx.Done():
		}
	})()

	err := r.insertAll(ctx, insertCtx, batches)
	r.report.Elapsed = r.Now().Sub(r.start)
	if n := r.report.Faulty - maxShownFaults; n > 0 {
		r.Console.Println(fmt.Sprintf("and %d more faulty records", n))
	}
	return r.report, err
}

type runner struct {
	Options
	store  todo.Store
	start  time.Time
	report Report
}

// batch is a stretch of the source: records to insert, and what else was met.
type batch struct {
	records []todo.Record
	bytes   int
	faults  []*Fault // the first few
	faulty  int64
	damage  []error
	extent  Extent
	// err ends the source; io.EOF if that is well. extra and odd are set with it.
	err   error
	extra map[string]int64
	odd   []Odd
}

// decode sends src's batches until one with an err, or until ctx is done.
func (r *runner) decode(ctx context.Context, src Source, out chan<- batch) {
	for ctx.Err() == nil {
		b := r.fill(ctx, src)
		select {
		case out <- b:
		case <-ctx.Done():
			return
		}
		if b.err != nil {
			return
		}
	}
}

func (r *runner) fill(ctx context.Context, src Source) (b batch) {
	// Faulty records count towards the size too, or a source of nothing else
	// would never give a batch and show no progress.
	for len(b.records)+int(b.faulty) < r.BatchRecords && b.bytes < r.BatchBytes && ctx.Err() == nil {
		rec, err := src.Next()
		var fault *Fault
		var damage *Damage
		switch {
		case err == nil:
			rec.BSON = slices.Clone(rec.BSON)
			b.records = append(b.records, rec)
			b.bytes += size(rec)
		case errors.As(err, &fault):
			if b.faulty++; b.faulty <= maxShownFaults {
				b.faults = append(b.faults, fault)
			}
		case errors.As(err, &damage):
			b.damage = append(b.damage, damage.Err)
		default:
			b.err, b.extra, b.odd, b.extent = err, src.Extra(), src.Odd(), src.Extent()
			return b
		}
	}
	b.extent = src.Extent()
	return b
}

// size is what a record takes in a batch, in bytes, more or less.
func size(rec todo.Record) int {
	n := 64 + len(rec.Todo.ID) + len(rec.Todo.Name) + len(rec.BSON)
	if d := rec.Todo.Description; d != nil {
		n += len(*d)
	}
	return n
}

func (r *runner) insertAll(ctx, insertCtx context.Context, batches <-chan batch) error {
	var damage []error
	for {
		var b batch
		select {
		case <-ctx.Done():
		case b = <-batches:
		}
		if ctx.Err() != nil {
			return errors.Join(append([]error{ErrInterrupted}, damage...)...)
		}
		r.showFaults(b)
		for _, err := range b.damage {
			switch n := len(damage); {
			case n < maxShownFaults:
				damage = append(damage, fmt.Errorf("%w: %w", ErrSource, err))
			case n == maxShownFaults:
				damage = append(damage, fmt.Errorf("%w: and there is more damage", ErrSource))
			}
		}
		if err := r.insert(insertCtx, b); err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", ErrInterrupted, err)
			}
			return errors.Join(append(damage, err)...)
		}
		r.Console.Progress(Progress{Settled: r.report.Read, Extent: b.extent, Elapsed: r.Now().Sub(r.start)})
		if b.err == nil {
			continue
		}
		r.report.Extra, r.report.Odd = b.extra, b.odd
		if b.err != io.EOF {
			damage = append(damage, fmt.Errorf("%w: %w", ErrSource, b.err))
		}
		if len(damage) == 0 && r.report.Faulty > 0 {
			return fmt.Errorf("%w: %d of %d", ErrFaulty, r.report.Faulty, r.report.Read)
		}
		return errors.Join(damage...)
	}
}

func (r *runner) showFaults(b batch) {
	for _, f := range b.faults {
		if r.report.Faulty < maxShownFaults {
			r.Console.Println("left out: " + f.Error())
		}
		r.report.Faulty++
	}
	r.report.Faulty += b.faulty - int64(len(b.faults))
	r.report.Read += b.faulty
}

func (r *runner) insert(ctx context.Context, b batch) error {
	if len(b.records) == 0 {
		return nil
	}
	n := int64(len(b.records))
	res, err := r.store.InsertMany(ctx, b.records)
	r.report.Read += n
	r.report.Inserted += int64(res.Inserted)
	r.report.Existing += int64(res.Existing)
	if err != nil {
		r.report.Unsettled += n - int64(res.Inserted) - int64(res.Existing)
		return fmt.Errorf("the store failed in a batch of %d records, from id %q: %w", n, b.records[0].Todo.ID, err)
	}
	return nil
}
