package bench

import (
	"context"
	"time"
)

// open sends each request when it is due, or later, as soon as this user is free.
func (u *user) open(ctx, begin context.Context) {
	free := u.start // time since when this user is free
	for {
		due, now, ok := u.schedule.next(begin.Done())
		if !ok {
			return
		}
		if now.Sub(due) > u.Timeout {
			u.rec.fail(FailureKey{Kind: Dropped}, "no connection was free for "+u.Timeout.String(), now)
			free = now
			continue
		}
		if !u.choose() {
			u.stop()
			return
		}
		u.rec.depart(max(free.Sub(due), 0), now.Sub(later(due, free)))
		var v verdict
		if v, free = u.send(ctx, due, now); v == cutOff {
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
