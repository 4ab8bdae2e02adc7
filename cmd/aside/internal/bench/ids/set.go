package ids

// Set is the ids that a workload chooses from: a [Range] or a [List].
type Set interface {
	// Len is the number of ids, at least 1.
	Len() uint64
	// String describes the set in reports.
	String() string
	// append appends the n-th id, from 0, percent-encoded for a URL path.
	append(dst []byte, n uint64) []byte
}

var (
	_ Set = Range{}
	_ Set = (*List)(nil)
)
