package history

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"pgregory.net/rapid"
)

// property is rapid.Check for a number of histories, or for what -rapid.checks
// says.
func property(t *testing.T, checks int, holds func(*rapid.T)) {
	f := flag.Lookup("rapid.checks")
	if byDefault := f.Value.String(); byDefault == f.DefValue {
		f.Value.Set(strconv.Itoa(checks))
		defer f.Value.Set(byDefault)
	}
	rapid.Check(t, holds)
}

// simulated draws a history of one record that is one: each operation happens at
// an instant between its call and its return, and reads return what is there.
// Times are small, so that many are equal.
func simulated(t *rapid.T, clients, operations int, spread int) []Op {
	var ops []Op
	free := make([]time.Duration, clients) // when each client's last operation returned
	var version int64
	var tag uint64
	exists, gone := false, false
	now := time.Duration(0)
	for range operations {
		now += time.Duration(rapid.IntRange(0, spread).Draw(t, "pause"))
		client := rapid.IntRange(0, clients-1).Draw(t, "client")
		if free[client] > now {
			continue
		}
		op := Op{
			Client: client, Node: client % 3,
			Call:   max(now-time.Duration(rapid.IntRange(0, 2*spread).Draw(t, "early")), free[client]),
			Return: now + time.Duration(rapid.IntRange(0, 2*spread).Draw(t, "late")),
		}
		free[client] = op.Return + 1
		switch what := rapid.IntRange(0, 19).Draw(t, "what"); {
		case what < 6 && !gone:
			version, exists = version+1, true
			tag = uint64(len(ops)) + 1
			op.Kind, op.Version, op.Tag = Write, version, tag
		case what == 6 && !gone: // applied, but nobody is told
			version, exists = version+1, true
			tag = uint64(len(ops)) + 1
			op.Kind, op.Unknown, op.Tag = Write, true, tag
		case what == 7: // not applied
			op.Kind, op.Unknown, op.Tag = Write, true, uint64(len(ops))+1
		case what == 8 && rapid.IntRange(0, 3).Draw(t, "whether to delete") == 0 && exists && !gone:
			op.Kind, gone = Delete, true
			op.Unknown = rapid.Bool().Draw(t, "unknown")
		default:
			op.Kind = rapid.SampledFrom([]Kind{ReadStrong, ReadStrong, ReadDefault}).Draw(t, "level")
			if exists && !gone {
				op.Version, op.Tag = version, tag
			}
		}
		ops = append(ops, op)
	}
	return ops
}

// mutated changes one operation or two, mostly so that the history is one no more.
func mutated(t *rapid.T, ops []Op) []Op {
	ops = slices.Clone(ops)
	for range rapid.IntRange(1, 2).Draw(t, "changes") {
		if len(ops) == 0 {
			break
		}
		op := &ops[rapid.IntRange(0, len(ops)-1).Draw(t, "which")]
		by := time.Duration(rapid.IntRange(-6, 6).Draw(t, "by"))
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0: // a read tells an older version, or a newer
			if other := ops[rapid.IntRange(0, len(ops)-1).Draw(t, "of")]; op.isRead() && other.Kind != Delete && !other.Unknown {
				op.Version, op.Tag = other.Version, other.Tag
			}
		case 1: // it was called, and returned, at another time
			op.Call, op.Return = op.Call+by, op.Return+by
		case 2:
			op.Call = min(op.Call+by, op.Return)
		case 3:
			op.Return = max(op.Return+by, op.Call)
		}
	}
	return ops
}

// arbitrary draws operations that have nothing to do with each other.
func arbitrary(t *rapid.T) []Op {
	n := rapid.IntRange(0, 7).Draw(t, "operations")
	var ops []Op
	for i := range n {
		call := rapid.IntRange(0, 8).Draw(t, "call")
		version := int64(rapid.IntRange(0, 3).Draw(t, "version"))
		op := Op{
			Client: i, Node: rapid.IntRange(0, 1).Draw(t, "node"),
			Kind: rapid.SampledFrom([]Kind{Write, Write, Delete, ReadStrong, ReadStrong, ReadStrong, ReadDefault}).Draw(t, "kind"),
			Call: time.Duration(call), Return: time.Duration(call + rapid.IntRange(0, 4).Draw(t, "takes")),
			Version: version, Tag: uint64(version),
		}
		switch op.Kind {
		case Write:
			op.Version = max(op.Version, 1)
			op.Tag = uint64(op.Version)
			op.Unknown = rapid.IntRange(0, 4).Draw(t, "unknown") == 0
			// Two writes of one version differ in their tags, as all writes do.
			for slices.ContainsFunc(ops, func(o Op) bool { return o.Kind == Write && o.Tag == op.Tag }) {
				op.Tag += 10
			}
			if op.Unknown {
				op.Version = 0
			}
		case Delete:
			op.Version, op.Tag = 0, 0
			op.Unknown = rapid.IntRange(0, 2).Draw(t, "unknown") == 0
		}
		ops = append(ops, op)
	}
	return ops
}

// tiny draws a history that brute force can decide.
func tiny(t *rapid.T) []Op {
	switch rapid.IntRange(0, 3).Draw(t, "history") {
	case 0:
		return arbitrary(t)
	case 1:
		return mutated(t, simulated(t, 4, 8, 2))
	case 2:
		return ending(t)
	default:
		return simulated(t, 4, 8, 2)
	}
}

// ending draws a short life with a delete, and reads that found the record there
// or absent, at any time.
func ending(t *rapid.T) []Op {
	at := func(what string) (time.Duration, time.Duration) {
		call := rapid.IntRange(0, 9).Draw(t, what)
		return time.Duration(call), time.Duration(call + rapid.IntRange(0, 4).Draw(t, "takes"))
	}
	w := Op{Kind: Write, Version: 1, Tag: 1}
	w.Call, w.Return = at("write")
	d := Op{Kind: Delete, Client: 1, Unknown: rapid.Bool().Draw(t, "unknown")}
	d.Call, d.Return = at("delete")
	ops := []Op{w, d}
	for i := range rapid.IntRange(1, 5).Draw(t, "reads") {
		r := Op{Client: i + 2, Node: rapid.IntRange(0, 1).Draw(t, "node"), Kind: rapid.SampledFrom([]Kind{ReadStrong, ReadStrong, ReadDefault}).Draw(t, "level")}
		r.Version = int64(rapid.IntRange(0, 1).Draw(t, "version"))
		r.Tag = uint64(r.Version)
		r.Call, r.Return = at("read")
		ops = append(ops, r)
	}
	return ops
}

// TestSimulatedRecordKeepsAllPromises: what a linearizable record does is never
// taken for a violation, and nothing of it is stale.
// Caught: operations that touch in an instant taken for ordered; unknown writes
// left out though seen; absent reads settled the other way; parts without the
// write of an older read.
func TestSimulatedRecordKeepsAllPromises(t *testing.T) {
	property(t, 500, func(t *rapid.T) {
		ops := simulated(t, rapid.IntRange(1, 12).Draw(t, "clients"), rapid.IntRange(0, 400).Draw(t, "operations"), rapid.IntRange(1, 6).Draw(t, "spread"))
		r := Check(keyOf(ops...), Options{})
		if r.Violated() > 0 || r.Undecided > 0 || r.Strong.Stale+r.Default.Stale > 0 {
			t.Fatalf("%v, undecided %d, stale %d and %d\n%v\n%s", r.Broken, r.Undecided, r.Strong.Stale, r.Default.Stale, r.Violations, table(ops))
		}
		if int(r.Total()) != len(ops) {
			t.Fatalf("%d operations, %d were recorded", r.Total(), len(ops))
		}
	})
}

// TestAgreesWithBruteForce: on tiny histories, right and wrong ones, every
// checker says what a check of all orders, all pairs and all meanings says.
// Outside writes count as if they had returned later: at the bound, or with a drop.
// Caught: each comparison of times or versions for P2 and P3 turned the other way
// or made to include the equal case; absent reads not settled; parts without the
// latest of what is older, or without the proof that the record existed; record
// and patient that disagree; default reads allowed to miss an outside write for the sum of
// both bounds; drops that were called before the write's return; drops of other nodes that
// count at once for default reads.
func TestAgreesWithBruteForce(t *testing.T) {
	var verdicts [2]int
	property(t, 10_000, func(t *rapid.T) {
		recorded := someDrops(t, someOutside(t, tiny(t)), 12)
		const bound = 2
		outside := time.Duration(rapid.IntRange(0, 3).Draw(t, "bound for outside writes"))
		l := newLife(keyOf(recorded...), Options{MaxStale: bound, MaxOutside: outside})
		ops := shifted(recorded, bruteShown(recorded, outside, atOnce))
		// Default reads have a little longer after a drop on another node.
		soon := shifted(recorded, bruteShown(recorded, outside, func(Op) time.Duration { return bound }))
		l.partLength = rapid.SampledFrom([]int{1, 2, partLength}).Draw(t, "part length")
		r := l.check()
		agree := func(p Promise, kept bool) {
			if (r.Broken[p] == 0) != kept {
				t.Errorf("%s: kept by brute force: %v; violations: %d\n%v\n%s", p, kept, r.Broken[p], first(r, p), table(ops))
			}
		}
		var stale, old, ownOld int64
		var worst, lag time.Duration
		for _, op := range ops {
			if !op.isRead() {
				continue
			}
			by := bruteStale(ops, op, func(Op) bool { return true })
			lag = max(lag, bruteStale(recorded, op, func(w Op) bool { return w.Outside }))
			if op.Kind == ReadStrong && by > 0 {
				stale++
			}
			if op.Kind == ReadDefault && (bruteStale(ops, op, func(w Op) bool { return !w.Outside }) > bound ||
				bruteStale(soon, op, func(w Op) bool { return w.Outside }) > 0) {
				old++
			}
			worst = max(worst, by)
			if bruteStale(ops, op, func(w Op) bool { return w.Node == op.Node && !w.Outside }) > 0 || op.Version != 0 && bruteDropped(recorded, op) {
				ownOld++
			}
		}
		for p, want := range map[Promise]int64{StrongReads: stale, Bounded: old, OwnWrites: ownOld} {
			if r.Broken[p] != want {
				t.Errorf("%s: %d violations, %d by brute force\n%s", p, r.Broken[p], want, table(ops))
			}
		}
		if got := max(r.Strong.Worst, r.Default.Worst); got != worst {
			t.Errorf("stalest read: %d, by brute force %d\n%s", got, worst, table(ops))
		}
		if got := max(r.OutsideStrong.Worst, r.OutsideDefault.Worst); got != lag {
			t.Errorf("latest sight of an outside write: %d, by brute force %d\n%s", got, lag, table(recorded))
		}
		var seen []Op
		for node := range 3 {
			for _, op := range shifted(recorded, bruteShown(recorded, outside, func(d Op) time.Duration {
				if d.Node == node {
					return 0
				}
				return bound
			})) {
				if op.isRead() && op.Node == node || !op.isRead() && node == 0 {
					seen = append(seen, op)
				}
			}
		}
		agree(Monotonic, bruteMonotonic(seen))
		linearizable := bruteLinearizable(ops, true)
		agree(Linearizable, linearizable)
		if verdict, _ := porcupine.CheckOperationsVerbose(record, operations(unranked(l.ordered())), time.Minute); (verdict == porcupine.Ok) != linearizable {
			t.Errorf("what is drawn is %s, linearizable by brute force: %v\n%s", verdict, linearizable, table(ops))
		}
		if linearizable {
			verdicts[0]++
		} else {
			verdicts[1]++
		}
	})
	if verdicts[0] == 0 || verdicts[1] == 0 {
		t.Errorf("%d histories were linearizable, %d were not", verdicts[0], verdicts[1])
	}
}

func unranked(ops []ranked) []Op {
	var plain []Op
	for _, op := range ops {
		plain = append(plain, op.Op)
	}
	return plain
}

// TestVersionsAreAccountedFor: where reads are strong and nothing is deleted,
// Intact and Linearizable hold together if and only if there is an order in
// which every write raises the version by one.
// Caught: unknown writes that can make two versions; that count from their call
// on without the bound; a bound that looks at acknowledgements alone.
func TestVersionsAreAccountedFor(t *testing.T) {
	property(t, 10_000, func(t *rapid.T) {
		ops := slices.DeleteFunc(tiny(t), func(op Op) bool { return op.Kind == Delete || op.Kind == ReadDefault })
		r := Check(keyOf(ops...), Options{})
		if kept, want := r.Broken[Intact]+r.Broken[Linearizable] == 0, bruteLinearizable(ops, false); kept != want {
			t.Fatalf("kept: %v, by brute force: %v\n%v\n%s", kept, want, r.Violations, table(ops))
		}
	})
}

// TestLongHistories: histories of many parts, with an operation moved far, are
// judged as by a look at every pair. And the evidence proves what it shows:
// checked alone it breaks the promise, and without any of its operations it does
// not.
// Caught: parts without the writes that their reads saw; absent reads not
// settled; the wrong reads of a version kept; nothing dropped from the evidence.
func TestLongHistories(t *testing.T) {
	var broken int
	property(t, 200, func(t *rapid.T) {
		ops := someDrops(t, someOutside(t, long(t)), 2000)
		outside := time.Duration(rapid.IntRange(0, 100).Draw(t, "bound for outside writes"))
		r := Check(keyOf(ops...), Options{Promises: []Promise{Linearizable}, MaxOutside: outside})
		kept := brutePairs(shifted(ops, bruteShown(ops, outside, atOnce)))
		if (r.Broken[Linearizable] == 0) != kept {
			t.Fatalf("kept by pairs: %v; violations: %v", kept, r.Violations)
		}
		if kept {
			return
		}
		broken++
		evidence := r.Violations[0].Ops
		piece := shifted(evidence, bruteShown(evidence, outside, atOnce))
		if bruteLinearizable(piece, true) {
			t.Fatalf("this evidence is linearizable:\n%s", table(piece))
		}
		for i, op := range piece {
			if op.isRead() && !bruteLinearizable(slices.Delete(slices.Clone(piece), i, i+1), true) {
				t.Fatalf("operation %d of the evidence can be dropped:\n%s", i, table(piece))
			}
		}
		if len(piece) > 5 {
			t.Fatalf("evidence of %d operations:\n%s", len(piece), table(piece))
		}
	})
	if broken == 0 {
		t.Error("no history was broken")
	}
}

// long draws some hundred writes, each with reads, then a delete, and moves an
// operation.
func long(t *rapid.T) []Op {
	writes := rapid.IntRange(2*partLength, 4*partLength).Draw(t, "writes")
	var ops []Op
	client := 0
	add := func(op Op) {
		client++
		op.Client = client
		ops = append(ops, op)
	}
	now := time.Duration(100)
	width := time.Duration(rapid.IntRange(0, 40).Draw(t, "width"))
	for v := int64(0); v <= int64(writes); v++ {
		if v > 0 {
			add(Op{Kind: Write, Version: v, Tag: uint64(v), Call: now - width, Return: now + width})
		}
		for i := range (v*7 + int64(writes)) % 5 {
			now += time.Duration(i)
			add(Op{Kind: ReadStrong, Version: v, Tag: uint64(v), Call: now - width, Return: now + width/2})
		}
		now += 10
	}
	if rapid.Bool().Draw(t, "deleted") {
		add(Op{Kind: Delete, Call: now - width, Return: now + width})
		for range 3 {
			now += 5
			add(Op{Kind: ReadStrong, Call: now - width/2, Return: now + width})
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "moves") {
		op := &ops[rapid.IntRange(0, len(ops)-1).Draw(t, "which")]
		far := int(now)
		if rapid.Bool().Draw(t, "near") {
			far = 60
		}
		by := time.Duration(rapid.IntRange(-far, far).Draw(t, "by"))
		op.Call, op.Return = op.Call+by, op.Return+by
	}
	return ops
}

// TestAnythingIsChecked: a history of nonsense is judged, not refused, with a
// picture of each violation.
// Caught: a write that claims to have made less than the first version, which has
// no state before it.
func TestAnythingIsChecked(t *testing.T) {
	dir := t.TempDir()
	n := 0
	property(t, 1000, func(t *rapid.T) {
		n++
		version := rapid.SampledFrom([]int64{-1 << 63, -1, 0, 1, 2, 3, deleted - 1, deleted})
		ops := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Op {
			op := Op{
				Client: rapid.IntRange(0, 2).Draw(t, "client"),
				Kind:   rapid.SampledFrom([]Kind{Write, Delete, ReadStrong, ReadDefault}).Draw(t, "kind"),
				Call:   time.Duration(rapid.IntRange(0, 9).Draw(t, "call")),
				Tag:    rapid.Uint64Range(0, 3).Draw(t, "tag"), Version: version.Draw(t, "version"),
			}
			op.Return = op.Call + time.Duration(rapid.IntRange(0, 9).Draw(t, "takes"))
			op.Unknown = !op.isRead() && rapid.Bool().Draw(t, "unknown")
			return op
		}), 0, 9).Draw(t, "operations")
		o := Options{}
		if n%20 == 0 {
			o.Pictures = dir
		}
		r := Check(keyOf(ops...), o)
		for _, v := range r.Violations {
			if v.PictureErr != nil || (v.Picture != "") != (o.Pictures != "") {
				t.Fatalf("picture %q: %v", v.Picture, v.PictureErr)
			}
			_ = fmt.Sprint(v)
		}
	})
}
