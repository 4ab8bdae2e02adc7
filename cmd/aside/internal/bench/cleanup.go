package bench

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	cleanUpTime  = 30 * time.Second
	cleanUpUsers = 16
)

// cleanUp deletes the records that the run has created, also after an interrupt, unless
// Config.KeepCreated is set. It counts those that remain.
func (r *run) cleanUp(ctx context.Context, report *Report) {
	left := r.created.rest()
	report.Created.Prefix = r.created.prefix
	report.Created.Left = int64(len(left))
	if r.KeepCreated || len(left) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	work := make(chan *record)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(cleanUpUsers, r.Users) {
		wg.Go(func() {
			l := r.connect()
			defer context.AfterFunc(ctx, l.abort)()
			defer l.close()
			for rec := range work {
				q := request{op: Delete, own: rec, path: []byte(r.endpoint.Path + "/" + rec.id)}
				a, failed := l.exchange(ctx, &q)
				if failed == nil && (a.status/100 == 2 || a.status == http.StatusNotFound) {
					mu.Lock()
					report.Created.Left--
					mu.Unlock()
				}
			}
		})
	}
	for _, rec := range left {
		if ctx.Err() != nil {
			break
		}
		work <- rec
	}
	close(work)
	wg.Wait()
}
