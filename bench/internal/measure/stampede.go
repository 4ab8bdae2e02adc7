package measure

import (
	"context"
	"sync"
	"time"
)

// StampedeArgs say how one cold key is asked for by many at once.
type StampedeArgs struct {
	Key     string
	Callers int
	At      time.Time // when all of them call, here and in the other processes
}

// Rush is what came of a stampede, in this process.
type Rush struct {
	Loads   int64
	Slowest time.Duration // from At to the last answer
	Late    bool          // At had passed before all callers were ready: no figure
	Trouble string
}

// Stampede has callers read one key, all at the same time.
func (s *Session) Stampede(ctx context.Context, a StampedeArgs) (r Rush) {
	loads := s.primary.Loads()
	begin := make(chan struct{})
	done := make([]time.Time, a.Callers)
	errs := make([]error, a.Callers)
	var ready, wg sync.WaitGroup
	ready.Add(a.Callers)
	for i := range a.Callers {
		wg.Go(func() {
			ready.Done()
			<-begin
			errs[i] = s.read(ctx, a.Key)
			done[i] = time.Now()
		})
	}
	ready.Wait()
	wait := time.Until(a.At)
	r.Late = wait < 0
	time.Sleep(wait)
	close(begin)
	wg.Wait()
	for i, at := range done {
		r.Slowest = max(r.Slowest, at.Sub(a.At))
		if errs[i] != nil {
			r.Trouble = errs[i].Error()
		}
	}
	r.Loads = s.primary.Loads() - loads
	if r.Trouble == "" {
		r.Trouble = s.check()
	}
	return r
}
