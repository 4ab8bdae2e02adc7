package history

// keep is how many violations of each promise a Result holds in full.
const keep = 3

// Result is what the operations of one key, or of several, were and did. The
// zero value is that of no key.
type Result struct {
	Keys    int64
	Ops     [Drop + 1]int64 // by Kind
	Unknown int64           // writes and deletes among them that may have been applied, or not
	Outside int64           // writes and deletes among them that went past all nodes
	// Held counts the reads that were held to an outside write: of all writes that
	// counted as acknowledged, it was the newest. Without such reads a check says
	// nothing of outside writes.
	Held int64
	// HeldByDrop counts the strong reads among them that a Drop alone held to it: without
	// one, they could have missed the write.
	HeldByDrop int64

	Strong, Default Staleness
	// OutsideStrong and OutsideDefault are the staleness against outside writes alone,
	// from their returns on, without regard to MaxOutside.
	OutsideStrong, OutsideDefault Staleness

	// Broken counts violations: the reads that break a promise; for Linearizable
	// the keys, since a history that is not linearizable can be explained in many
	// ways; for Intact also the writes that are at odds.
	Broken map[Promise]int64
	// Undecided counts keys for which Linearizable was asked and not answered in
	// time. They are neither right nor wrong.
	Undecided int64
	// Violations are the first three of each promise. Their order is that in
	// which they were found.
	Violations []Violation
}

// Total is the number of operations.
func (r *Result) Total() int64 {
	var n int64
	for _, k := range r.Ops {
		n += k
	}
	return n
}

// Violated is the number of violations of all promises.
func (r *Result) Violated() int64 {
	var n int64
	for _, k := range r.Broken {
		n += k
	}
	return n
}

// Add adds what another key's operations were and did. It does not hold on to o.
func (r *Result) Add(o Result) {
	r.Keys += o.Keys
	for k, n := range o.Ops {
		r.Ops[k] += n
	}
	r.Unknown += o.Unknown
	r.Outside += o.Outside
	r.Held += o.Held
	r.HeldByDrop += o.HeldByDrop
	r.OutsideStrong.add(&o.OutsideStrong)
	r.OutsideDefault.add(&o.OutsideDefault)
	r.Strong.add(&o.Strong)
	r.Default.add(&o.Default)
	r.Undecided += o.Undecided
	for p, n := range o.Broken {
		r.broke(p, n)
	}
	for _, v := range o.Violations {
		if r.wants(v.Promise) {
			r.Violations = append(r.Violations, v)
		}
	}
}

func (r *Result) broke(p Promise, n int64) {
	if r.Broken == nil {
		r.Broken = map[Promise]int64{}
	}
	r.Broken[p] += n
}

// wants reports whether a violation of p is among the first.
func (r *Result) wants(p Promise) bool {
	n := 0
	for _, v := range r.Violations {
		if v.Promise == p {
			n++
		}
	}
	return n < keep
}
