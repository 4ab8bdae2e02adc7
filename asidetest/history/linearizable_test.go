package history

import (
	"slices"
	"testing"
	"time"
)

// TestSearchStaysSmall: a history in which much overlaps is decided, whether it
// is linearizable or not. Porcupine tries all orders of what overlaps, of which
// there are more than anyone can wait for.
// Caught: record, which lets a write go before the reads of what it replaces; all
// reads of a version instead of two; absent reads told apart by their tags.
func TestSearchStaysSmall(t *testing.T) {
	const versions, reads = partLength - 4, 40 // one part
	// Every version is there for 10 ms, and each operation takes 500 ms.
	var ops []Op
	client := 0
	for i := range reads { // their tags mean nothing
		client++
		ops = append(ops, strong(client, 0, 500, 0).tagged(uint64(i)))
	}
	for v := range versions {
		client++
		ops = append(ops, write(client, 10*v, 10*v+500, int64(v)+1))
		for range reads {
			client++
			ops = append(ops, strong(client, 10*v+1, 10*v+500, int64(v)+1))
		}
	}
	o := Options{Promises: []Promise{Linearizable}, Timeout: 5 * time.Second}
	if r := Check(keyOf(ops...), o); r.Undecided+r.Violated() != 0 {
		t.Errorf("undecided: %d, broken: %v", r.Undecided, r.Violations)
	}
	for _, old := range []int64{1, versions / 2, versions - 1} {
		stale := strong(client+1, 2000, 2001, old)
		r := Check(keyOf(append(ops, stale)...), o)
		if r.Undecided != 0 || r.Broken[Linearizable] != 1 {
			t.Fatalf("a read of version %d: undecided: %d, broken: %v", old, r.Undecided, r.Broken)
		}
		// Its write, that of a newer one, which returned before, and the read.
		if v := r.Violations[0]; len(v.Ops) != 3 || v.Ops[2] != stale {
			t.Errorf("a read of version %d: %s", old, v)
		}
	}
}

// TestPartsKnowWhatIsOlder: a read of what was just replaced is found wherever
// the history is cut.
// Caught: parts without the latest of the older operations, or with the earliest.
func TestPartsKnowWhatIsOlder(t *testing.T) {
	var ops []Op
	for v := range 3 * partLength {
		ops = append(ops, write(0, 100*v, 100*v+10, int64(v)+1))
	}
	for v := range len(ops) - 1 {
		stale := strong(1, 100*v+120, 100*v+130, int64(v)+1)
		r := Check(keyOf(append(ops, stale)...), Options{Promises: []Promise{Linearizable}})
		if want := []Op{ops[v], ops[v+1], stale}; !slices.Equal(first(r, Linearizable).Ops, want) {
			t.Errorf("broken: %v, %v, want these operations:\n%s", r.Broken, r.Violations, table(want))
		}
	}
}

// TestPartsKnowWhenTheRecordExisted: a read that finds the record absent after
// its creation means that it was deleted, though the creation is in another part.
// Caught: parts without the first proof of that, or with the last.
func TestPartsKnowWhenTheRecordExisted(t *testing.T) {
	for versions := range 2*partLength + 2 {
		var ops []Op
		for v := range versions + 1 {
			ops = append(ops, write(0, 10*v, 10*v+5, int64(v)+1))
		}
		gone, late := strong(2, 5001, 5002, 0), write(3, 5003, 5010, int64(versions)+2)
		ops = append(ops, del(1, 5000, 6000), gone)
		if r := Check(keyOf(ops...), Options{}); r.Violated() != 0 {
			t.Fatalf("%d versions: %v", versions, r.Violations)
		}
		r := Check(keyOf(append(ops, late)...), Options{Promises: []Promise{Linearizable}})
		if r.Broken[Linearizable] != 1 {
			t.Errorf("%d versions, and one written after the record was seen deleted: no violation", versions)
		} else if v := r.Violations[0]; len(v.Ops) != 4 || v.Ops[2] != gone || v.Ops[3] != late {
			t.Errorf("%d versions: %s", versions, v)
		}
	}
}

// TestOfOneVersionTwoReadsMatter: that which returned first, and that which was
// called last, whichever was recorded when.
// Caught: thin that keeps the read that was called first, or the one that
// returned last.
func TestOfOneVersionTwoReadsMatter(t *testing.T) {
	w1, w2 := write(0, 0, 10, 1), write(0, 20, 900, 2)
	middle := []Op{strong(1, 25, 700, 2), strong(2, 30, 650, 2), strong(3, 100, 600, 2), strong(4, 110, 500, 2)}
	for name, c := range map[string]struct {
		ops  []Op
		read Op
	}{
		// Not the first called, nor the last.
		"the first return": {[]Op{w1, w2, strong(6, 61, 62, 1)}, strong(5, 50, 60, 2)},
		// Not the first to return, nor the last.
		"the last call": {[]Op{w1, w2, write(9, 120, 130, 3)}, strong(5, 131, 620, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Promises: []Promise{Linearizable}}
			ops := append(c.ops, middle...)
			if r := Check(keyOf(ops...), o); r.Broken[Linearizable] != 0 {
				t.Errorf("without it, broken: %v", r.Violations)
			}
			if r := Check(keyOf(append(ops, c.read)...), o); r.Broken[Linearizable] != 1 {
				t.Errorf("with it, broken: %v", r.Broken)
			}
		})
	}
}
