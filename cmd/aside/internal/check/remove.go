package check

import (
	"context"

	"github.com/asidecache/aside/cmd/aside/internal/pause"
)

// everywhere makes removeAll use all targets, if they do not share one database.
const everywhere = true

// removeAll deletes the records that the run may have left in the database, even after ctx
// has ended. It uses the first target that works, or all targets. It returns the ids of the
// records that could not be deleted.
func (r *run) removeAll(ctx context.Context, all bool) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.grace())
	defer cancel()
	c := newCaller(r.endpoints, min(r.Timeout, probeTimeout))
	defer c.close()
	defer c.abortWith(ctx)()

	open := r.left
	r.left = nil
	first := 0 // the target that worked last
	for delay := probePause; len(open) > 0; delay *= 2 {
		var again []string
		for _, id := range open {
			done, hope := false, ctx.Err() != nil
			for i, start := 0, first; i < len(r.endpoints) && (all || !done) && ctx.Err() == nil; i++ {
				t := (start + i) % len(r.endpoints)
				x := c.do(ctx, t, remove, id, 0)
				if x.sure == told || x.code == "not_found" {
					done, first = true, t
				}
				hope = hope || !x.foreign()
			}
			switch {
			case done:
			case hope:
				again = append(again, id)
			default:
				left = append(left, id)
			}
		}
		if open = again; len(open) > 0 && !pause.For(ctx, delay) {
			break
		}
	}
	return append(left, open...)
}
