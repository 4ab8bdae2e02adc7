package bench

import (
	"context"
	"sync"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
)

const (
	minPause = 10 * time.Millisecond
	maxPause = time.Second
)

// spawn starts the users. No request begins after begin has ended. A running request is
// aborted when ctx ends.
func (r *run) spawn(ctx, begin context.Context, users *sync.WaitGroup) {
	for i := range r.Users {
		if r.SpawnRate > 0 && r.schedule == nil {
			at := r.start.Add(time.Duration(float64(i) / r.SpawnRate * float64(time.Second)))
			if !pause.For(begin, time.Until(at)) {
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

// closed sends the next request when the previous one has its response.
func (u *user) closed(ctx, begin context.Context) {
	delay := minPause
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
			u.stop() // users that have not started yet would only make the run longer
			return
		}
		switch v, _ := u.send(ctx, time.Now(), time.Time{}); v {
		case cutOff:
			return
		case noServer:
			// Do not send a million requests per second to it.
			if !pause.For(begin, delay) {
				return
			}
			delay = min(2*delay, maxPause)
		case answered:
			delay = minPause
		}
	}
}
