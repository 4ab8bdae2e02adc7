package check

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func newSlot(ops int) *slot {
	n := 0
	return &slot{newID: func() string { n++; return fmt.Sprint(n) }, targets: 2, ops: ops, strong: 0.5, next: 1, step: 1}
}

// With any outcomes and any order of operations: only one operation at a time creates or
// deletes a record; writes happen only while it exists; reads also before and after; a life
// is finished once, without running operations, and has no operations afterwards. Caught: a
// creation and a deletion started twice; a life finished with running operations; a life
// never finished, since the next one ended before its late reads; a deletion after a creation
// with unknown outcome; a refused deletion counted as done.
func TestSlotLives(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		s := newSlot(30)
		type op struct {
			l *life
			a act
		}
		var under []op
		finished := map[*life]bool{}
		counts := map[act]int{}
		early, late := map[*life]int{}, map[*life]int{}
		var order []*life
		finish := func(lives []*life) {
			for _, l := range lives {
				if finished[l] || slices.ContainsFunc(under, func(o op) bool { return o.l == l }) {
					t.Fatalf("seed %d: %s finished twice, or with operations under way", seed, l.id)
				}
				finished[l] = true
			}
		}
		for step := range 3000 {
			now := time.Duration(step) * time.Millisecond
			if len(under) < 6 && rng.IntN(2) == 0 {
				l, a, done := s.begin(rng.IntN(3) == 0, now, rng)
				finish(done)
				if finished[l] {
					t.Fatalf("seed %d: %v of %s, which is finished", seed, a, l.id)
				}
				turning := slices.ContainsFunc(under, func(o op) bool { return o.l == l && (o.a == create || o.a == remove) })
				switch {
				case (a == create) && (l.state != absent || turning),
					a == put && l.state != live,
					a == remove && (l.state != live || turning || l.doubtful):
					t.Fatalf("seed %d: %v of %s: %+v", seed, a, l.id, l)
				case !a.write() && l.state == absent:
					early[l]++
				case !a.write() && l.state == deleted:
					late[l]++
				}
				if !slices.Contains(order, l) {
					order = append(order, l)
				}
				counts[a]++
				under = append(under, op{l, a})
				continue
			}
			if len(under) == 0 {
				continue
			}
			i := rng.IntN(len(under))
			o := under[i]
			under = slices.Delete(under, i, i+1)
			x := outcome{}
			switch rng.IntN(8) {
			case 0:
				x = outcome{sure: nothing, problem: "p"}
			case 1:
				if o.a.write() {
					x = outcome{sure: unknown, problem: "p"}
				}
			}
			if o.a == create && o.l.doubtful && rng.IntN(2) == 0 {
				x = outcome{sure: nothing, problem: "p", code: "already_exists"}
			}
			remains := o.l.remains
			done, expected := s.end(o.l, o.a, x, now, rng)
			finish(done)
			if expected != (x.code == "already_exists" && o.a == create) {
				t.Fatalf("seed %d: %v of %s was expected: %v", seed, o.a, o.l.id, expected)
			}
			switch {
			case o.a == create && x.sure != nothing && !o.l.remains,
				o.a == remove && x.sure == told && o.l.remains,
				o.a == remove && x.sure == nothing && o.l.remains != remains,
				o.a == remove && x.sure == unknown && !o.l.remains:
				t.Fatalf("seed %d: after %v: %+v", seed, o.a, o.l)
			}
		}
		for len(under) > 0 {
			o := under[0]
			under = under[1:]
			done, _ := s.end(o.l, o.a, outcome{}, time.Hour, rng)
			finish(done)
		}
		finish(s.drain())
		if len(finished) != len(order) && len(finished) != len(order)+1 { // the last life may be unused
			t.Errorf("seed %d: %d of %d lives were finished", seed, len(finished), len(order))
		}
		for _, a := range []act{create, put, remove, readStrong, readDefault} {
			if counts[a] == 0 {
				t.Errorf("seed %d: no %v", seed, a)
			}
		}
		if len(order) < 10 || len(early) < 3 || len(late) < 3 {
			t.Errorf("seed %d: %d lives, %d read before they began, %d after", seed, len(order), len(early), len(late))
		}
		for l, n := range late {
			if n > 4*s.targets {
				t.Errorf("seed %d: %s was read %d times after its end", seed, l.id, n)
			}
		}
	}
}

// If a write after the deletion is refused, that is not an error. Before the deletion it is.
func TestSlotExpectsRefusals(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newSlot(2)
	refused := outcome{sure: nothing, problem: "status 404 not_found", code: "not_found"}
	begin := func(want act) {
		t.Helper()
		if _, a, _ := s.begin(true, 0, rng); a != want {
			t.Fatalf("%v, want %v", a, want)
		}
	}
	var l *life
	for l == nil || l.state != live {
		next, a, _ := s.begin(false, 0, rng)
		s.end(next, a, outcome{}, 0, rng)
		l = next
	}
	l.maxBegun = 1 << 30
	begin(put)
	if _, expected := s.end(l, put, refused, 0, rng); expected {
		t.Error("a write found nothing, and nobody deletes the record")
	}
	begin(put)
	begin(put)
	l.maxBegun = 0
	begin(remove)
	if _, expected := s.end(l, put, refused, 0, rng); !expected {
		t.Error("a write while the record is being deleted")
	}
	s.end(l, remove, outcome{}, 0, rng)
	if _, expected := s.end(l, put, refused, 0, rng); !expected {
		t.Error("a write after the record was deleted")
	}
}

// The record of a patient slot lives long enough for a read to be too stale. Other slots do
// not wait for that.
func TestSlotPatience(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := newSlot(100)
	s.maxStale = time.Minute
	impatient := s.newLife(0, rng)
	s.patient = true
	patient := s.newLife(0, rng)
	if impatient.strong == 0 || patient.strong != 0 {
		t.Errorf("the shares of strong reads are %v, and %v of the patient one", impatient.strong, patient.strong)
	}
	s.strong = 1
	if only := s.newLife(0, rng); only.strong != 1 {
		t.Errorf("share of strong reads: %v, of all", only.strong)
	}
	impatient.begun, patient.begun = 150, 150
	for at, want := range map[time.Duration][2]bool{
		time.Second:       {true, false},
		2 * time.Minute:   {true, true},
		119 * time.Second: {true, false},
	} {
		if got := [2]bool{impatient.due(at), patient.due(at)}; got != want {
			t.Errorf("at %v: due %v, want %v", at, got, want)
		}
	}
	impatient.begun = 1
	if !impatient.due(maxAge) || impatient.due(minAge-1) {
		t.Error("an impatient record grows old without operations")
	}
}

// Some records get no strong reads, but the overall share of strong reads is right. Caught: a
// random choice of records, which with few records often chose none.
func TestStrongShare(t *testing.T) {
	for _, share := range []float64{0, 0.1, 0.5, 0.8, 1} {
		const records = 300
		sum, without := 0.0, 0
		for n := range records {
			of := strongShare(share, n+1)
			if of < 0 || of > 1 {
				t.Errorf("%v: %v of the reads of record %d", share, of, n)
			}
			if sum += of; of == 0 {
				without++
			}
		}
		if got := sum / records; got < share-0.01 || got > share+0.01 {
			t.Errorf("%v of all reads, want %v", got, share)
		}
		if want := share > 0 && share < 1; want && (without < records/12 || without > records/2) || share == 1 && without > 0 {
			t.Errorf("%v: %d of %d records without strong reads", share, without, records)
		}
	}
	for first := range 10 { // any three records in a row
		with := 0
		for n := first + 1; n <= first+3; n++ {
			if strongShare(0.5, n) > 0 {
				with++
			}
		}
		if with != 2 {
			t.Errorf("%d of the records from %d on get strong reads", with, first)
		}
	}
}
