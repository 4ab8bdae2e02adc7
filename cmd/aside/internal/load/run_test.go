package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// settled checks that every record in the report has exactly one result.
func settled(t *testing.T, r load.Report) {
	t.Helper()
	if sum := r.Inserted + r.Existing + r.Faulty + r.NotLoaded + r.Unsettled; r.Read != sum {
		t.Errorf("read %d, but inserted, existing, faulty, not loaded and unsettled are %d: %+v", r.Read, sum, r)
	}
}

func fault(id string) *load.Fault {
	return &load.Fault{Unit: "byte", At: 7, ID: id, Fields: []todo.FieldError{{Field: "name", Message: "is missing"}}}
}

func TestRunCountsEveryRecord(t *testing.T) {
	store := &memory{}
	items := append(ids(25), record("3"), fault("x"), record("25"))
	report, err := load.Run(t.Context(), store, &script{items: items}, load.Options{BatchRecords: 10})
	if !errors.Is(err, load.ErrFaulty) || !strings.Contains(err.Error(), "1 of 28") {
		t.Errorf("got %v, want ErrFaulty, 1 of 28", err)
	}
	settled(t, report)
	if report.Inserted != 26 || report.Existing != 1 || report.Faulty != 1 || store.len() != 26 {
		t.Errorf("got %+v with %d in the store", report, store.len())
	}
	if !reflect.DeepEqual(report.Extra, map[string]int64{"tags": 1}) {
		t.Errorf("extra fields: %v", report.Extra)
	}
}

// TestRunAgain: a second run changes nothing and counts the existing records.
func TestRunAgain(t *testing.T) {
	store := &memory{}
	for i, want := range []load.Report{{Read: 25, Inserted: 25}, {Read: 25, Existing: 25}} {
		report, err := load.Run(t.Context(), store, &script{items: ids(25)}, load.Options{})
		if err != nil {
			t.Fatal(err)
		}
		report.Elapsed, report.Extra = 0, nil
		if !reflect.DeepEqual(report, want) {
			t.Errorf("run %d: got %+v, want %+v", i+1, report, want)
		}
	}
}

func TestBatchesAreBounded(t *testing.T) {
	store := &memory{}
	if _, err := load.Run(t.Context(), store, &script{items: ids(25)}, load.Options{BatchRecords: 10}); err != nil {
		t.Fatal(err)
	}
	if want := []int{10, 10, 5}; !slices.Equal(store.batches, want) {
		t.Errorf("by records: got batches of %v, want %v", store.batches, want)
	}

	large := strings.Repeat("x", 1000)
	var items []any
	for i := range 5 {
		items = append(items, todo.Record{Todo: todo.Todo{ID: fmt.Sprint(i), Description: &large}})
	}
	store = &memory{}
	if _, err := load.Run(t.Context(), store, &script{items: items}, load.Options{BatchBytes: 2000}); err != nil {
		t.Fatal(err)
	}
	if want := []int{2, 2, 1}; !slices.Equal(store.batches, want) {
		t.Errorf("by bytes: got batches of %v, want %v", store.batches, want)
	}
}

// counted counts the records that were read from it.
type counted struct {
	script
	taken atomic.Int64
}

func (c *counted) Next() (todo.Record, error) {
	c.taken.Add(1)
	return c.script.Next()
}

// TestDecodingWaitsForTheStore: a slow store delays the source, so that memory stays
// constant. Caught: a queue that was too long.
func TestDecodingWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		store := &memory{before: func(context.Context, int) error { <-gate; return nil }}
		src := &counted{script: script{items: ids(1000)}}
		done := make(chan error)
		go func() {
			_, err := load.Run(t.Context(), store, src, load.Options{BatchRecords: 10})
			done <- err
		}()
		synctest.Wait()
		// One batch in the store, two waiting, one more decoded.
		if n := src.taken.Load(); n > 40 {
			t.Errorf("%d records were read while the first batch was being stored, want 40 at most", n)
		}
		close(gate)
		if err := <-done; err != nil || store.len() != 1000 {
			t.Errorf("got %v and %d records, want all 1000", err, store.len())
		}
	})
}

// TestDamageKeepsWhatWasRead: a partial batch before the fault is stored too. Caught: an
// error that was handled before the previous records.
func TestDamageKeepsWhatWasRead(t *testing.T) {
	boom := errors.New("truncated at byte 77")
	store := &memory{}
	items := append(ids(13), fault("x"), boom)
	report, err := load.Run(t.Context(), store, &script{items: items}, load.Options{BatchRecords: 10})
	if !errors.Is(err, boom) || !errors.Is(err, load.ErrSource) {
		t.Errorf("got %v, want ErrSource and its cause", err)
	}
	settled(t, report)
	if report.Inserted != 13 || report.Faulty != 1 || store.len() != 13 {
		t.Errorf("got %+v with %d in the store, want the 13 before the fault", report, store.len())
	}
}

func TestDamageThatDoesNotEndTheSource(t *testing.T) {
	bad := errors.New("CRC mismatch")
	store := &memory{}
	items := append(append(ids(3), &load.Damage{Err: bad}), record("a"), record("b"))
	report, err := load.Run(t.Context(), store, &script{items: items}, load.Options{})
	if !errors.Is(err, bad) || !errors.Is(err, load.ErrSource) {
		t.Errorf("got %v, want ErrSource and its cause", err)
	}
	settled(t, report)
	if report.Inserted != 5 {
		t.Errorf("got %+v, want 5 inserted", report)
	}
}

func TestShownFaultsAreFew(t *testing.T) {
	out := &console{}
	var items []any
	for i := range 2500 {
		items = append(items, fault(fmt.Sprint(i)))
	}
	report, err := load.Run(t.Context(), &memory{}, &script{items: items}, load.Options{Console: out})
	if !errors.Is(err, load.ErrFaulty) || report.Faulty != 2500 {
		t.Errorf("got %+v and %v", report, err)
	}
	settled(t, report)
	if n := len(out.lines); n != 11 {
		t.Fatalf("%d lines: %q", n, out.lines)
	}
	if want := `skipped: record at byte 7 (id "9"): name is missing`; out.lines[9] != want {
		t.Errorf("line 10 is %q, want %q", out.lines[9], want)
	}
	if want := "and 2490 more faulty records"; out.lines[10] != want {
		t.Errorf("the last line is %q, want %q", out.lines[10], want)
	}
}

// TestStoreFailure: what the store certainly did not take is not loaded, and the rest of a
// batch that failed in another way is unsettled. Caught: a database that was never reached
// left records of unknown outcome.
func TestStoreFailure(t *testing.T) {
	unavailable := fmt.Errorf("%w: connection refused", todo.ErrUnavailable)
	for _, tt := range []struct {
		err    error
		failAt int
		want   load.Report
		says   string
	}{
		{unavailable, 0, load.Report{Read: 30, Inserted: 20, NotLoaded: 10}, "20 inserted, 0 already there, 0 faulty, 10 not loaded"},
		{unavailable, 4, load.Report{Read: 30, Inserted: 24, NotLoaded: 6}, "24 inserted, 0 already there, 0 faulty, 6 not loaded"},
		{fmt.Errorf("%w: %w", todo.ErrUnavailable, context.DeadlineExceeded), 0, load.Report{Read: 30, Inserted: 20, NotLoaded: 10}, "10 not loaded"},
		{fmt.Errorf("%w: bad name", todo.ErrInvalid), 4, load.Report{Read: 30, Inserted: 24, NotLoaded: 6}, "6 not loaded"},
		{fmt.Errorf("%w: connection lost", todo.ErrUnknownOutcome), 4, load.Report{Read: 30, Inserted: 24, Unsettled: 6}, "0 faulty, 6 with unknown outcome"},
		{fmt.Errorf("%w: %w", todo.ErrUnknownOutcome, todo.ErrUnavailable), 0, load.Report{Read: 30, Inserted: 20, Unsettled: 10}, "10 with unknown outcome"},
		{context.DeadlineExceeded, 0, load.Report{Read: 30, Inserted: 20, Unsettled: 10}, "10 with unknown outcome"},
	} {
		store := &memory{failAt: tt.failAt, before: func(_ context.Context, n int) error {
			if n == 2 {
				return tt.err
			}
			return nil
		}}
		report, err := load.Run(t.Context(), store, &script{items: ids(1000)}, load.Options{BatchRecords: 10})
		if !errors.Is(err, tt.err) || !strings.Contains(err.Error(), `starting with id "20"`) {
			t.Errorf("got %v, want %v and where", err, tt.err)
		}
		settled(t, report)
		if text := report.String(); !strings.HasSuffix(text, tt.says) {
			t.Errorf("%v: got %q, want %q", tt.err, text, tt.says)
		}
		report.Elapsed, report.Extra = 0, nil
		if !reflect.DeepEqual(report, tt.want) || store.len() != int(tt.want.Inserted) {
			t.Errorf("%v: got %+v with %d in the store, want %+v", tt.err, report, store.len(), tt.want)
		}
	}
}

// TestInterruptFinishesTheBatch: the running batch is finished, and the records that the
// report counts are in the store. Caught: ctx was passed to the store.
func TestInterruptFinishesTheBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := &memory{before: func(ctx context.Context, n int) error {
			if n == 1 {
				cancel()
				synctest.Wait()
			}
			return ctx.Err()
		}}
		report, err := load.Run(ctx, store, &script{items: ids(1000)}, load.Options{BatchRecords: 10})
		if !errors.Is(err, load.ErrInterrupted) {
			t.Errorf("got %v, want ErrInterrupted", err)
		}
		settled(t, report)
		if report.Inserted != 20 || store.len() != 20 {
			t.Errorf("got %+v with %d in the store, want 20 of each", report, store.len())
		}
		store.before = nil
		report, err = load.Run(t.Context(), store, &script{items: ids(1000)}, load.Options{BatchRecords: 10})
		if err != nil || report.Existing != 20 || report.Inserted != 980 {
			t.Errorf("started again: got %+v and %v, want 20 there and 980 inserted", report, err)
		}
	})
}

// TestInterruptIsBounded: Run waits for a hanging store for Grace. Records that the store did
// not acknowledge count as unsettled.
func TestInterruptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		store := &memory{before: func(ctx context.Context, _ int) error {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}}
		begin := time.Now()
		report, err := load.Run(ctx, store, &script{items: ids(1000)}, load.Options{BatchRecords: 10, Grace: 3 * time.Second})
		if !errors.Is(err, load.ErrInterrupted) || report.Unsettled != 10 {
			t.Errorf("got %v and %+v, want ErrInterrupted and 10 unsettled", err, report)
		}
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("it took %v, want the grace of 3 s", d)
		}
	})
}

// waiting is a Source that waits for input until release is closed.
type waiting struct {
	script
	entered, release chan struct{}
}

func (w *waiting) Next() (todo.Record, error) {
	close(w.entered)
	<-w.release
	return todo.Record{}, io.EOF
}

// TestInterruptDoesNotWaitForInput: Run does not wait for a source that waits for a terminal
// or a pipe.
func TestInterruptDoesNotWaitForInput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	src := &waiting{entered: make(chan struct{}), release: make(chan struct{})}
	defer close(src.release)
	go func() {
		<-src.entered
		cancel()
	}()
	report, err := load.Run(ctx, &memory{}, src, load.Options{})
	if !errors.Is(err, load.ErrInterrupted) {
		t.Errorf("got %v, want ErrInterrupted", err)
	}
	settled(t, report)
}

// TestRunUsesItsClock: the rates come from Options.Now.
func TestRunUsesItsClock(t *testing.T) {
	now := time.Unix(0, 0)
	clock := func() time.Time { return now }
	store := &memory{before: func(context.Context, int) error {
		now = now.Add(2 * time.Second)
		return nil
	}}
	out := &console{}
	report, err := load.Run(t.Context(), store, &script{items: ids(30)}, load.Options{BatchRecords: 10, Console: out, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	if report.Elapsed != 6*time.Second || report.Rate() != 5 {
		t.Errorf("got %v and %v/s, want 6s and 5/s", report.Elapsed, report.Rate())
	}
	if want := "30 records processed in 6.0 s (5/s): 30 inserted, 0 already there, 0 faulty"; report.String() != want {
		t.Errorf("got %q, want %q", report, want)
	}
	second := out.progress[2] // after the one at the start
	if left, ok := second.Left(); second.Settled != 20 || second.Rate() != 5 || !ok || left != 2*time.Second {
		t.Errorf("got %+v, %v left; want 20 records and 2 s left", second, left)
	}
}

// Only some of the damage is reported. Caught: a line for each of a hundred thousand damaged
// collections.
func TestShownDamageIsBounded(t *testing.T) {
	var items []any
	for i := range 1000 {
		items = append(items, &load.Damage{Err: fmt.Errorf("broken %d", i)}, record(fmt.Sprint(i)))
	}
	report, err := load.Run(t.Context(), &memory{}, &script{items: items}, load.Options{})
	if !errors.Is(err, load.ErrSource) || report.Inserted != 1000 {
		t.Fatalf("%v, %v", report, err)
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 11 || !strings.Contains(err.Error(), "broken 9\n") || !strings.Contains(err.Error(), "further damage") {
		t.Errorf("%d lines: %v", n, err)
	}
}
