package dashboard

// ring keeps the latest samples.
type ring struct {
	samples []Sample
	next    int // where the next goes, once it is full
}

func (r *ring) add(s Sample) {
	if len(r.samples) < kept {
		r.samples = append(r.samples, s)
		return
	}
	r.samples[r.next] = s
	r.next = (r.next + 1) % kept
}

// all returns a copy, the oldest first.
func (r *ring) all() []Sample {
	out := make([]Sample, 0, len(r.samples))
	return append(append(out, r.samples[r.next:]...), r.samples[:r.next]...)
}

// last returns the latest n samples or fewer, the oldest first.
func (r *ring) last(n int) []Sample {
	all := r.samples
	if n = min(n, len(all)); n == 0 {
		return nil
	}
	out := make([]Sample, 0, n)
	for i := len(all) - n; i < len(all); i++ {
		out = append(out, all[(r.next+i)%len(all)])
	}
	return out
}
