package asidetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
)

// Primary is a primary whose feed is tested. Its functions fail the test if they
// cannot do what they are asked for.
type Primary struct {
	Feed driver.Feed
	// Put inserts or updates records, all in one transaction.
	Put func(t testing.TB, keys ...string)
	// Delete deletes records, all in one transaction.
	Delete func(t testing.TB, keys ...string)
	// Version reads the version of a record as a loader does; 0 if there is none. It is
	// nil if the feed's changes have no versions.
	Version func(t testing.TB, key string) uint64
	// All makes a change after which every record may have changed. nil: the primary
	// has no such change.
	All func(t testing.TB)
	// Lose has the primary forget the changes up to now. nil: it cannot be made to.
	Lose func(t testing.TB)
}

// TestFeed checks a feed against the contract in package driver. open returns a
// primary that nothing else uses. The suite uses keys of letters and digits.
func TestFeed(t *testing.T, open func(t *testing.T) Primary) {
	for _, c := range []struct {
		name string
		f    func(*feedSuite)
	}{
		{"BeginsAtNow", (*feedSuite).beginsAtNow},
		{"TellsEveryChangeInOrder", (*feedSuite).inOrder},
		{"TellsDeletions", (*feedSuite).deletions},
		{"TellsTransactionsAsAWhole", (*feedSuite).transactions},
		{"TellsVersions", (*feedSuite).versions},
		{"AChangeIsVisibleWhenItIsTold", (*feedSuite).visible},
		{"AQuietStreamShowsThatItIsAlive", (*feedSuite).quiet},
		{"OpensAtAPosition", (*feedSuite).opensAtPosition},
		{"OpensAtAPositionThatWasHandled", (*feedSuite).opensAtHandled},
		{"OpensAtTheFirstPosition", (*feedSuite).opensAtFirst},
		{"OpensAgainWhileAStreamIsOpen", (*feedSuite).takesOver},
		{"AStrangePositionIsAGap", (*feedSuite).strangePosition},
		{"LostChangesAreAGap", (*feedSuite).lost},
		{"EverythingMayHaveChanged", (*feedSuite).all},
		{"CloseEndsNext", (*feedSuite).closeEndsNext},
		{"TheContextEndsNext", (*feedSuite).contextEndsNext},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.f(&feedSuite{T: t, p: open(t)})
		})
	}
}

type feedSuite struct {
	*testing.T
	p Primary
}

// feedPatience is how long the suite waits for what must come.
const feedPatience = 30 * time.Second

// open opens the feed for the test.
func (s *feedSuite) open(from driver.Position) driver.Stream {
	s.Helper()
	st, err := s.p.Feed.Open(s.Context(), from)
	if err != nil {
		s.Fatalf("Open: %v", err)
	}
	s.Cleanup(func() { _ = st.Close() })
	return st
}

// told is what a stream has told so far.
type told struct {
	*feedSuite
	st      driver.Stream
	changes []driver.Change
	batches []driver.Batch
}

// until reads the stream until a condition holds.
func (w *told) until(what string, ok func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), feedPatience)
	defer cancel()
	for !ok() {
		b, err := w.st.Next(ctx)
		if err != nil {
			w.Fatalf("Next, waiting for %s: %v; told so far: %v", what, err, w.changes)
		}
		w.batches = append(w.batches, b)
		w.changes = append(w.changes, b.Changes...)
	}
}

func (w *told) has(key string) bool {
	return slices.ContainsFunc(w.changes, func(c driver.Change) bool { return c.Key == key })
}

func (w *told) untilKey(key string) {
	w.Helper()
	w.until("the change of "+key, func() bool { return w.has(key) })
}

func (s *feedSuite) read(st driver.Stream) *told { return &told{feedSuite: s, st: st} }

func (s *feedSuite) beginsAtNow() {
	s.p.Put(s, "a")
	w := s.read(s.open(nil))
	s.p.Put(s, "b")
	w.untilKey("b")
}

func (s *feedSuite) inOrder() {
	w := s.read(s.open(nil))
	var want []string
	for i := range 50 {
		k := fmt.Sprint("k", i%7)
		want = append(want, k)
		s.p.Put(s, k)
	}
	s.p.Put(s, "end")
	w.untilKey("end")
	var got []string
	for _, c := range w.changes {
		if got = append(got, c.Key); c.Deleted || c.Key == "end" && len(got) != len(want)+1 {
			break
		}
	}
	if want = append(want, "end"); !slices.Equal(got, want) {
		s.Errorf("told %v, want %v", got, want)
	}
}

func (s *feedSuite) deletions() {
	s.p.Put(s, "a", "b")
	w := s.read(s.open(nil))
	s.p.Delete(s, "a")
	s.p.Put(s, "b")
	w.untilKey("b")
	for _, c := range w.changes {
		if c.Deleted != (c.Key == "a") || c.Deleted && c.Version != 0 {
			s.Errorf("told %+v", c)
		}
	}
	if !w.has("a") {
		s.Errorf("the deletion was not told: %+v", w.changes)
	}
}

func (s *feedSuite) transactions() {
	w := s.read(s.open(nil))
	s.p.Put(s, "a", "b", "c")
	w.untilKey("a")
	for _, b := range w.batches {
		if n := len(b.Changes); n > 0 && !b.All && n < 3 {
			s.Errorf("a transaction of three changes was told as a batch of %+v", b.Changes)
		}
	}
}

func (s *feedSuite) versions() {
	if s.p.Version == nil {
		s.Skip("the changes of this feed have no versions")
	}
	w := s.read(s.open(nil))
	for range 3 {
		s.p.Put(s, "a")
	}
	s.p.Put(s, "end")
	w.untilKey("end")
	last := uint64(0)
	for _, c := range w.changes {
		if c.Key == "a" && c.Version <= last {
			s.Errorf("version %d was told after %d", c.Version, last)
		}
		if c.Key == "a" {
			last = c.Version
		}
	}
	if v := s.p.Version(s, "a"); last != v {
		s.Errorf("the last version told is %d, a read returns %d", last, v)
	}
}

// A read that begins after a change was told sees it. Other writers keep the primary
// busy meanwhile.
func (s *feedSuite) visible() {
	if s.p.Version == nil {
		s.Skip("the changes of this feed have no versions")
	}
	w := s.read(s.open(nil))
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.p.Put(s, fmt.Sprint("k", i))
				}
			}
		})
	}
	seen, next := 0, 0
	w.until("200 changes", func() bool {
		for ; next < len(w.changes) && seen < 200; next++ {
			c := w.changes[next]
			seen++
			if v := s.p.Version(s, c.Key); v < c.Version {
				s.Errorf("version %d of %s was told, and a read that began after that returns %d", c.Version, c.Key, v)
			}
		}
		return seen >= 200
	})
	close(stop)
	writers.Wait()
}

func (s *feedSuite) quiet() {
	w := s.read(s.open(nil))
	w.until("an empty batch", func() bool {
		return slices.ContainsFunc(w.batches, func(b driver.Batch) bool { return len(b.Changes) == 0 && !b.All })
	})
}

// after opens the feed at a position and returns the keys that are told until "end".
func (s *feedSuite) after(p driver.Position) []string {
	s.Helper()
	w := s.read(s.open(p))
	w.untilKey("end")
	var keys []string
	for _, c := range w.changes {
		keys = append(keys, c.Key)
	}
	return keys
}

// endsWith checks that keys ends with want: what was committed before the position
// may have been told again.
func (s *feedSuite) endsWith(keys []string, want ...string) {
	s.Helper()
	if len(keys) < len(want) || !slices.Equal(keys[len(keys)-len(want):], want) {
		s.Errorf("told %v, want those changes to end with %v", keys, want)
	}
}

func (s *feedSuite) opensAtPosition() {
	w := s.read(s.open(nil))
	s.p.Put(s, "a")
	w.untilKey("a")
	p := w.st.Position()
	_ = w.st.Close()
	s.p.Put(s, "b")
	s.p.Put(s, "c")
	s.p.Put(s, "end")
	s.endsWith(s.after(p), "b", "c", "end")
}

func (s *feedSuite) opensAtHandled() {
	w := s.read(s.open(nil))
	var at []driver.Position
	for _, k := range []string{"a", "b", "c", "end"} {
		s.p.Put(s, k)
		w.untilKey(k)
		p := w.st.Position()
		at = append(at, p)
		if err := w.st.Handled(s.Context(), p); err != nil {
			s.Fatalf("Handled: %v", err)
		}
	}
	_ = w.st.Close()
	s.endsWith(s.after(at[1]), "c", "end")
	s.endsWith(s.after(at[0]), "b", "c", "end")
}

func (s *feedSuite) opensAtFirst() {
	st := s.open(nil)
	p := st.Position()
	if len(p) == 0 {
		s.Fatal("a stream that was opened at now has no position")
	}
	_ = st.Close()
	s.p.Put(s, "a")
	s.p.Put(s, "end")
	s.endsWith(s.after(p), "a", "end")
}

func (s *feedSuite) takesOver() {
	w := s.read(s.open(nil))
	s.p.Put(s, "a")
	w.untilKey("a")
	p := w.st.Position()
	s.p.Put(s, "b")
	s.p.Put(s, "end")
	s.endsWith(s.after(p), "b", "end")
}

func (s *feedSuite) strangePosition() {
	_ = s.open(nil).Close()
	for _, p := range []driver.Position{{0}, driver.Position("no position of this feed"), make(driver.Position, 1000)} {
		st, err := s.p.Feed.Open(s.Context(), p)
		if err == nil {
			_ = st.Close()
		}
		if !errors.Is(err, driver.ErrGap) {
			s.Errorf("Open with the position %q: %v, want ErrGap", p, err)
		}
	}
}

func (s *feedSuite) lost() {
	if s.p.Lose == nil {
		s.Skip("this primary cannot be made to lose changes")
	}
	w := s.read(s.open(nil))
	s.p.Put(s, "a")
	w.untilKey("a")
	p := w.st.Position()
	_ = w.st.Close()
	s.p.Put(s, "b")
	s.p.Lose(s)
	st, err := s.p.Feed.Open(s.Context(), p)
	for deadline := time.Now().Add(feedPatience); err == nil && time.Now().Before(deadline); {
		var b driver.Batch
		if b, err = st.Next(s.Context()); err == nil && len(b.Changes) > 0 {
			s.Fatalf("told %+v although changes before it are lost", b)
		}
	}
	if !errors.Is(err, driver.ErrGap) {
		s.Errorf("after changes were lost: %v, want ErrGap", err)
	}
}

func (s *feedSuite) all() {
	if s.p.All == nil {
		s.Skip("this primary has no such change")
	}
	s.p.Put(s, "a")
	w := s.read(s.open(nil))
	s.p.All(s)
	w.until("a batch with All", func() bool {
		return slices.ContainsFunc(w.batches, func(b driver.Batch) bool { return b.All })
	})
	s.p.Put(s, "b")
	w.untilKey("b")
}

func (s *feedSuite) endsNext(what string, st driver.Stream, ctx context.Context, end func()) {
	s.Helper()
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := st.Next(ctx); err != nil {
				ended <- err
				return
			}
		}
	}()
	end()
	select {
	case <-ended:
	case <-time.After(feedPatience):
		s.Errorf("%s did not end Next", what)
	}
}

func (s *feedSuite) closeEndsNext() {
	st := s.open(nil)
	s.endsNext("Close", st, s.Context(), func() { _ = st.Close() })
}

func (s *feedSuite) contextEndsNext() {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	st := s.open(nil)
	s.endsNext("the end of the context", st, ctx, cancel)
}
