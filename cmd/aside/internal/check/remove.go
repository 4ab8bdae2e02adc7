package check

import "context"

// everywhere is for targets that do not share one database.
const everywhere = true

// removeAll deletes what the run may have left in the database, also after ctx
// has ended, through the first target that does it, or through all of them. It
// returns the ids of the records for which that could not be done.
func (r *run) removeAll(ctx context.Context, all bool) (left []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.grace())
	defer cancel()
	c := newCaller(r.endpoints, min(r.Timeout, probeTimeout))
	defer c.close()
	defer c.abortWith(ctx)()

	open := r.left
	r.left = nil
	first := 0 // the target that did it last
	for pause := probePause; len(open) > 0; pause *= 2 {
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
		if open = again; len(open) > 0 && !sleep(ctx, pause) {
			break
		}
	}
	return append(left, open...)
}
