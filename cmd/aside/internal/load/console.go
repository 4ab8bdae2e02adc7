package load

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// Progress is the progress of a run.
type Progress struct {
	Settled int64 // records that are in the report
	Extent  Extent
	Elapsed time.Duration
}

// Rate returns the records per second since the start.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Settled) / p.Elapsed.Seconds()
}

// Left estimates the remaining time. ok is false if it is unknown.
func (p Progress) Left() (d time.Duration, ok bool) {
	e := p.Extent
	if e.Total <= 0 || e.Done <= 0 || p.Elapsed <= 0 {
		return 0, false
	}
	return time.Duration(float64(p.Elapsed) * float64(max(e.Total-e.Done, 0)) / float64(e.Done)), true
}

// Console shows the progress of a run. Only one goroutine calls its methods.
type Console interface {
	// Println writes a line. It escapes control characters, which may come from the
	// source.
	Println(line string)
	// Progress is called at the start and after every batch.
	Progress(p Progress)
	// Close leaves the cursor at the start of a line.
	Close()
}

type silent struct{}

func (silent) Println(string)    {}
func (silent) Progress(Progress) {}
func (silent) Close()            {}

// NewLines returns a Console for logs and pipes. It writes at most one line of
// progress per interval of the run's clock.
func NewLines(w io.Writer, every time.Duration) Console { return &lines{w: w, every: every} }

type lines struct {
	w           io.Writer
	every, last time.Duration
}

func (l *lines) Println(line string) { fmt.Fprintln(l.w, printable.Text(line)) }
func (l *lines) Close()              {}

func (l *lines) Progress(p Progress) {
	if p.Elapsed-l.last < l.every {
		return
	}
	l.last = p.Elapsed
	s := fmt.Sprintf("%d records", p.Settled)
	if e := p.Extent; e.Total > 0 {
		s += fmt.Sprintf(", %.0f %%", 100*float64(e.Done)/float64(e.Total))
	}
	s += fmt.Sprintf(", %.0f/s", p.Rate())
	if left, ok := p.Left(); ok {
		s += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	fmt.Fprintln(l.w, s)
}

// NewBar returns a Console for a terminal. It shows a bar with the rate and the
// remaining time.
func NewBar(w io.Writer) Console { return &bar{w: w} }

type bar struct {
	w     io.Writer
	bar   *progressbar.ProgressBar // created with the first progress, which has the total
	drawn bool                     // the bar is on the screen, and the cursor is after it
}

func (b *bar) Println(line string) {
	if b.drawn {
		_ = b.bar.Clear()
		b.drawn = false
	}
	fmt.Fprintln(b.w, printable.Text(line))
}

func (b *bar) Progress(p Progress) {
	total := p.Extent.Total
	if total <= 0 {
		total = -1
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(b.w),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionShowBytes(p.Extent.Unit == Bytes),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionShowCount(),
			// The spinner turns with each step, without a goroutine.
			progressbar.OptionSetSpinnerChangeInterval(0),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionSetElapsedTime(true),
		)
	}
	b.bar.Describe(fmt.Sprintf("%d records, %.0f/s", p.Settled, p.Rate()))
	_ = b.bar.Set64(p.Extent.Done)
	b.drawn = true
}

func (b *bar) Close() {
	if b.drawn {
		fmt.Fprintln(b.w)
		b.drawn = false
	}
}
