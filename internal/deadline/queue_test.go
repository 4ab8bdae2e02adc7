package deadline

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type ends struct {
	mu   sync.Mutex
	late []int
	told []int
}

func (s *ends) entry(i int) *Entry {
	return &Entry{End: func(late bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if late {
			s.late = append(s.late, i)
		} else {
			s.told = append(s.told, i)
		}
	}}
}

func (s *ends) want(t *testing.T, late, told []int) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.told)
	if !slices.Equal(s.late, late) || !slices.Equal(s.told, told) {
		t.Errorf("late %v, want %v; told of the end %v, want %v", s.late, late, s.told, told)
	}
}

// Each entry ends when it is due, unless it was removed: from the front, the
// middle or the back, before the timer was set for it or after.
// Caught: a timer that is not set again for those who came later, and a Remove
// that forgets the neighbour's link.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var s ends
		var all []*Entry
		add := func() {
			e := s.entry(len(all))
			all = append(all, e)
			q.Add(e, time.Now().Add(time.Minute))
			time.Sleep(time.Second)
		}
		for range 6 {
			add() // 0 to 5, due at 60 to 65
		}
		q.Remove(all[0])
		q.Remove(all[2])
		q.Remove(all[5])
		q.Remove(all[5])
		time.Sleep(55 * time.Second) // 61
		s.want(t, []int{1}, nil)
		q.Remove(all[1]) // too late
		time.Sleep(3 * time.Second)
		s.want(t, []int{1, 3, 4}, nil)
		time.Sleep(time.Hour)
		add() // 6: the timer was not set any more
		add() // 7
		add() // 8
		q.Remove(all[7])
		time.Sleep(58 * time.Second)
		s.want(t, []int{1, 3, 4, 6}, nil)

		q.Close()
		s.want(t, []int{1, 3, 4, 6}, []int{8})
		add() // 9
		q.Remove(all[9])
		time.Sleep(time.Hour)
		s.want(t, []int{1, 3, 4, 6}, []int{8, 9})
	})
}

// Caught: a list that is not locked.
func TestQueueIsConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var s ends
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 200 {
					e := s.entry(g*1000 + i)
					q.Add(e, time.Now().Add(time.Millisecond))
					if i%10 != 0 {
						q.Remove(e)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if len(s.late) != 8*20 {
			t.Errorf("%d ended, want 160", len(s.late))
		}
	})
}
