package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// intact holds reads against the writes that they say they saw, and writes
// against each other.
func (l *life) intact() {
	byTag := map[uint64]Op{}
	for _, op := range l.all {
		if op.Kind != Write {
			continue
		}
		if other, ok := byTag[op.Tag]; ok {
			l.violated(Intact, op, func() string { return "two writes have the same tag." }, other, op)
		}
		byTag[op.Tag] = op
	}
	for _, read := range l.reads {
		if read.Version != 0 {
			l.mixedUp(read, byTag)
		}
	}
	versions := l.versions()
	l.writtenTwice(versions)
	l.missing(versions)
}

// mixedUp looks at a read that found a record.
func (l *life) mixedUp(read Op, byTag map[uint64]Op) {
	w, ok := byTag[read.Tag]
	first := l.seen[read.Tag]
	switch {
	case read.Version < 0:
		l.violated(Intact, read, func() string { return saw(read) + ", which no write makes." }, read)
	case !ok:
		l.violated(Intact, read, func() string { return saw(read) + fmt.Sprintf(" with tag %x, which nobody wrote.", read.Tag) }, read)
	case !w.Unknown && w.Version != read.Version:
		l.violated(Intact, read, func() string {
			return saw(read) + fmt.Sprintf(" with tag %x, which is that of version %d.", read.Tag, w.Version)
		}, w, read)
	case w.Unknown && first.Version != read.Version:
		l.violated(Intact, read, func() string {
			return saw(read) + fmt.Sprintf(" with tag %x, with which version %d had been returned.", read.Tag, first.Version)
		}, w, first, read)
	case read.Return < w.Call:
		l.violated(Intact, read, func() string { return saw(read) + ", before the write that made it was called." }, read, w)
	}
}

// versions returns the writes that made a version, by version.
func (l *life) versions() []Op {
	var ws []Op
	for _, w := range l.writes {
		switch {
		case w.Kind == Delete:
		case w.Version < 1:
			l.violated(Intact, w.Op, func() string { return fmt.Sprintf("a write was acknowledged with version %d.", w.Version) }, w.Op)
		default:
			ws = append(ws, w.Op)
		}
	}
	slices.SortStableFunc(ws, func(a, b Op) int { return cmp.Compare(a.Version, b.Version) })
	return ws
}

func (l *life) writtenTwice(versions []Op) {
	for i := 1; i < len(versions); i++ {
		a, b := versions[i-1], versions[i]
		if a.Version != b.Version {
			continue
		}
		ops := []Op{a, b}
		for _, w := range ops[:2] {
			if w.Unknown { // it is a read that tells of it
				ops = append(ops, l.seen[w.Tag])
			}
		}
		l.violated(Intact, b, func() string { return fmt.Sprintf("two writes made version %d.", a.Version) }, ops...)
	}
}

// missing looks for versions that no recorded write made: a write was applied
// twice, or one that was refused was applied. Writes of unknown outcome that no
// read saw can account for as many of them as had been called by the time that
// a later version was there.
func (l *life) missing(versions []Op) {
	// proven is when an operation first returned that tells of a version; there[i]
	// when one did that tells of versions[i] or of a later state.
	proven := map[int64]time.Duration{}
	prove := func(version int64, t time.Duration) {
		if first, ok := proven[version]; !ok || t < first {
			proven[version] = t
		}
	}
	for _, w := range l.writes {
		// The primary had what an outside write returned, whatever reads showed.
		prove(w.rank, l.recorded(w.Op).Return)
	}
	for _, read := range l.reads {
		prove(read.Version, read.Return)
	}
	there := make([]time.Duration, len(versions))
	earliest := never
	if t, ok := proven[deleted]; ok {
		earliest = t
	}
	for i, w := range slices.Backward(versions) {
		earliest = min(earliest, proven[w.Version])
		there[i] = earliest
	}
	var before Op
	var needed int64
	called := 0 // of l.unseen, which is by time of call
	for i, w := range versions {
		for called < len(l.unseen) && l.unseen[called].Call <= there[i] {
			called++
		}
		gap := max(w.Version-before.Version-1, 0)
		needed += gap
		if gap > 0 && needed > int64(called) {
			ops := []Op{w}
			if i > 0 {
				ops = append(ops, before)
			}
			l.violated(Intact, w, func() string {
				return fmt.Sprintf("version %d was made after %s; no write made what is in between, and writes of unknown outcome cannot account for it.", w.Version, state(before.Version))
			}, ops...)
			needed = int64(called) // told once
		}
		before = w
	}
}
