package bench

import (
	"context"
	"sync"
	"time"
)

const (
	minPause = 10 * time.Millisecond
	maxPause = time.Second
)

// spawn starts the users. No request begins after begin has ended; one under way
// is cut off when ctx ends.
func (r *run) spawn(ctx, begin context.Context, users *sync.WaitGroup) {
	for i := range r.Users {
		if r.SpawnRate > 0 && r.schedule == nil {
			at := r.start.Add(time.Duration(float64(i) / r.SpawnRate * float64(time.Second)))
			if !sleep(begin, time.Until(at)) {
				return
			}
		}
		users.Go(func() {
			r.atWork.Add(1)
			defer r.atWork.Add(-1)
			u := r.newUser(i)
			defer context.AfterFunc(ctx, u.line.abort)()
			defer u.line.close()
			defer func() { r.dialed.Add(u.line.dialed()) }()
			if r.schedule != nil {
				u.open(ctx, begin)
			} else {
				u.closed(ctx, begin)
			}
		})
	}
}

// closed sends the next request when the last is answered.
func (u *user) closed(ctx, begin context.Context) {
	pause := minPause
	stopped := begin.Done()
	for {
		select {
		case <-stopped:
			return
		default:
		}
		if u.Requests > 0 && u.begun.Add(1) > u.Requests {
			u.stop()
			return
		}
		if !u.choose() {
			u.stop() // users that are still to come would only make the run longer
			return
		}
		switch v, _ := u.send(ctx, time.Now(), time.Time{}); v {
		case cutOff:
			return
		case noServer:
			// It must not be asked a million times a second.
			if !sleep(begin, pause) {
				return
			}
			pause = min(2*pause, maxPause)
		case answered:
			pause = minPause
		}
	}
}

// sleep reports whether it lasted as long as it should.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
