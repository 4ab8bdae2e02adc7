package history

// Promise is one that docs/reference/guarantees.md makes, or a part of it, and the name of
// the checker for it.
type Promise string

// The promises.
const (
	// StrongReads is freshness alone: it holds the reads against the
	// acknowledgements that came before them.
	StrongReads Promise = "P2 strong reads"
	// Linearizable is all of P2. It also sees what no acknowledgement tells: two
	// reads that disagree on the order of writes, or a write of unknown outcome
	// that was seen and then was not.
	Linearizable Promise = "P2 linearizable"
	OwnWrites    Promise = "P3 own writes"
	Monotonic    Promise = "P3 monotonic"
	Bounded      Promise = "P3 bounded staleness"
	// Intact is what all others stand on: records are not mixed up, and every
	// version is the work of one recorded write.
	Intact Promise = "intact"
)

// Promises returns all of them.
func Promises() []Promise {
	return []Promise{StrongReads, Linearizable, OwnWrites, Monotonic, Bounded, Intact}
}

// Guarantee is what holds as long as the promise is kept.
func (p Promise) Guarantee() string {
	switch p {
	case StrongReads:
		return "a strong read returns no version older than a write that was acknowledged before its call"
	case Linearizable:
		return "strong reads, writes and deletes of a key take effect one after another, each between its call and its return"
	case OwnWrites:
		return "a read returns no version older than a write, and none from before a drop, that the same node acknowledged before its call"
	case Monotonic:
		return "on one node, a read that is called after another has returned returns nothing older"
	case Bounded:
		return "a default read returns no version for which a newer one had been acknowledged longer than the bound before its call"
	case Intact:
		return "every version is made by one write, and is read as that write made it and not before that write was called"
	}
	return ""
}
