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
	// BatchRecords and BatchBytes are the maximum size of one InsertMany. Zero means
	// 1,000 records and 4 MiB. A larger record is inserted alone.
	BatchRecords int
	BatchBytes   int
	// Grace is how long the running batch may take after ctx is cancelled. Zero means
	// 10 seconds.
	Grace time.Duration
	// Console shows the progress; nil shows nothing.
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

// Report counts the records by their result. Read is the sum of Inserted, Existing,
// Faulty, NotLoaded and Unsettled. It does not include records that were decoded but not sent to
// the store.
type Report struct {
	Read     int64
	Inserted int64
	Existing int64 // their ID was taken: by an earlier run, or twice in the source
	Faulty   int64
	// NotLoaded and Unsettled records were in a batch that failed. Those that are NotLoaded
	// are certainly not in the store, those that are Unsettled may be.
	NotLoaded int64
	Unsettled int64
	Elapsed   time.Duration
	// Extra counts unknown fields. It is set if the source was read to its end, or up
	// to its damage.
	Extra map[string]int64
	// Odd are the unusual values. It is set when Extra is.
	Odd []Odd
}

// Rate returns the records per second.
func (r Report) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Read) / r.Elapsed.Seconds()
}

func (r Report) String() string {
	s := fmt.Sprintf("%d records processed in %.1f s (%.0f/s): %d inserted, %d already there, %d faulty",
		r.Read, r.Elapsed.Seconds(), r.Rate(), r.Inserted, r.Existing, r.Faulty)
	if r.NotLoaded > 0 {
		s += fmt.Sprintf(", %d not loaded", r.NotLoaded)
	}
	if r.Unsettled > 0 {
		s += fmt.Sprintf(", %d with unknown outcome", r.Unsettled)
	}
	return s
}

// Errors of Run, in addition to those of the store and the source.
var (
	// ErrInterrupted: ctx was cancelled. The counts in the report are final.
	ErrInterrupted = errors.New("interrupted")
	// ErrFaulty: some records could not be loaded; all others were.
	ErrFaulty = errors.New("faulty records were skipped")
	// ErrSource matches an error of the source: damage, or a failure to read it.
	ErrSource = errors.New("the source is damaged or could not be read completely")
)

const maxShownFaults = 10

// Run loads src into store. The report is correct after any error: all records that it
// counts as inserted are in the store. Records whose ID is taken are skipped, so the
// same load can be repeated.
//
// A separate goroutine reads src. If ctx is cancelled, or the store fails, while src
// waits for input (a terminal, a pipe), Run returns without waiting for it.
func Run(ctx context.Context, store todo.Store, src Source, opts Options) (Report, error) {
	r := runner{Options: opts.withDefaults(), store: store}
	r.start = r.Now()
	r.Console.Progress(Progress{Extent: src.Extent()})

	decodeCtx, stop := context.WithCancel(ctx)
	defer stop()
	batches := make(chan batch, 2)
	go r.decode(decodeCtx, src, batches)

	// The running batch may continue after ctx ends: if it were cancelled, it would
	// be unknown which records were stored.
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

// batch is a part of the source: records to insert, and faults.
type batch struct {
	records []todo.Record
	bytes   int
	faults  []*Fault // the first few
	faulty  int64
	damage  []error
	extent  Extent
	// err ends the source; it is io.EOF at the end. extra and odd are set with it.
	err   error
	extra map[string]int64
	odd   []Odd
}

// decode sends the batches of src until one has an err, or until ctx is done.
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
	// Faulty records count towards the size too. Otherwise a source with only
	// faulty records would show no progress.
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

// size returns the approximate size of a record in a batch, in bytes.
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
				damage = append(damage, fmt.Errorf("%w: and further damage", ErrSource))
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
			r.Console.Println("skipped: " + f.Error())
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
		rest := &r.report.Unsettled
		if todo.Definite(err) {
			rest = &r.report.NotLoaded
		}
		*rest += n - int64(res.Inserted) - int64(res.Existing)
		return fmt.Errorf("writing a batch of %d records, starting with id %q: %w", n, b.records[0].Todo.ID, err)
	}
	return nil
}
