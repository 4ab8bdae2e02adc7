package tags

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/asidecache/aside/driver"
)

// node is a mirror of a table that is asked without delay.
type node struct {
	*testing.T
	*Mirror
	of  *Table
	now *time.Time
}

func cluster(t *testing.T, most, nodes int) (table *Table, now *time.Time, all []node) {
	table, now = &Table{}, new(time.Time)
	*now = time.Now()
	for range nodes {
		all = append(all, node{t, NewMirror(most), table, now})
	}
	return table, now, all
}

// ask is one question and its answer.
func (n node) ask(tags ...string) {
	n.Helper()
	for range 4 {
		q := n.Ask("k", tags)
		again, _ := n.Learn(q, n.of.Do(q.TagRequest, *n.now))
		if !again {
			return
		}
		tags = nil
	}
	n.Fatal("asked again and again")
}

// entry is one that is loaded now.
func (n node) entry(tags ...string) *Marks {
	s, _ := n.Stamp()
	return NewMarks(tags, s)
}

func (n node) want(k *Marks, v Verdict, why string) {
	n.Helper()
	k = NewMarks(k.Tags, Stamp{TagStamp: k.Stamp.TagStamp}) // as L2 has it
	if got := n.Judge(k); got != v {
		n.Errorf("%s: verdict %d, want %d; entry %+v, table %+v", why, got, v, k.Stamp, n.table.TagStamp)
	}
}

// Caught: a stamp taken after the load; a tag that the node had never seen; entries of
// other tags that go too; an invalidation from before the load that counts.
func TestInvalidation(t *testing.T) {
	_, _, nodes := cluster(t, 10, 2)
	a, b := nodes[0], nodes[1]
	a.ask("x") // before
	b.ask()
	before, other := b.entry("x", "y"), b.entry("z")
	a.ask("y")
	b.want(before, Useful, "not told yet")
	b.ask()
	b.want(before, Useless, "a tag that b had never seen")
	b.want(other, Useful, "another tag")
	b.want(b.entry("x", "y"), Useful, "loaded since")
	a.want(before, Useless, "on the node that invalidated")
	if a.Good(before) || !a.Good(a.entry("y")) {
		t.Error("Good says otherwise than Judge")
	}
}

// A node that is behind asks before it judges. Caught: an entry of a later time that is
// taken for good, by a node that does not know its table.
func TestBehind(t *testing.T) {
	_, _, nodes := cluster(t, 10, 2)
	a, b := nodes[0], nodes[1]
	a.ask()
	b.want(a.entry("x"), Unknown, "b has never seen the table")
	b.ask()
	a.ask("y")
	later := a.entry("x")
	b.want(later, Unknown, "a later entry")
	a.ask("x")
	b.ask()
	b.want(later, Useless, "now b knows")
}

// Caught: a judgement that is kept although the table has moved.
func TestJudgementIsNotKept(t *testing.T) {
	_, _, nodes := cluster(t, 10, 1)
	a := nodes[0]
	a.ask()
	k := &Held{Marks: a.entry("x")}
	for i := range 6 {
		if !a.Holds(k) {
			t.Fatal("no good")
		}
		if i%2 == 1 { // each judgement is asked for once more
			a.ask("y")
		}
	}
	a.ask("x")
	if a.Holds(k) {
		t.Error("good for ever")
	}
}

// A table that is full: nobody can tell for entries from before its floor, and later ones
// are not touched. Caught: a floor that does not rise; one that is too high.
func TestFloor(t *testing.T) {
	_, _, nodes := cluster(t, 3, 2)
	a, b := nodes[0], nodes[1]
	a.ask()
	b.ask()
	oldest := a.entry("quiet")
	var later *Marks
	for i := range 6 {
		a.ask(fmt.Sprint("t", i))
		if i == 3 {
			later = a.entry("quiet")
		}
	}
	b.ask()
	for _, n := range []node{a, b} {
		n.want(oldest, Useless, "from before the floor")
		n.want(later, Useful, "from after it")
	}
	a.ask("1", "2", "3", "4") // more at once than there may be
	a.want(later, Useless, "the floor is now the last number")
	a.want(a.entry("1"), Useful, "loaded since")
	if n := len(a.of.Numbers); n > 3 {
		t.Errorf("%d tags", n)
	}
}

// A table that is lost. Caught: an epoch that is kept.
func TestLostTable(t *testing.T) {
	table, _, nodes := cluster(t, 10, 2)
	a, b := nodes[0], nodes[1]
	a.ask("x")
	b.ask()
	k := b.entry("y")
	*table = Table{}
	a.ask("z")
	b.ask()
	b.want(k, Unknown, "of the lost table")
	b.want(b.entry("y"), Useful, "of the new one")
	a.want(b.entry("y"), Useful, "of the new one, on the other node")
}

// A failover to a replica that lacks the last invalidations. Each way in which a node
// can notice it gives the table another epoch. Caught: each of them left out.
func TestTableGoesBack(t *testing.T) {
	back := func(t *testing.T) (table *Table, a, b node, lost *Marks, now *time.Time) {
		table, now, nodes := cluster(t, 10, 2)
		a, b = nodes[0], nodes[1]
		a.ask("x")
		b.ask()
		lost = b.entry("y") // and then invalidated
		old := Table{table.TagStamp, table.Floor, maps.Clone(table.Numbers)}
		a.ask("y")
		*table = old
		return table, a, b, lost, now
	}
	t.Run("seen by the number", func(t *testing.T) {
		table, a, b, lost, _ := back(t)
		epoch := table.Epoch
		a.ask()
		if table.Epoch == epoch {
			t.Error("the table keeps its epoch")
		}
		b.ask()
		b.want(lost, Unknown, "was invalidated, and that was lost")
	})
	t.Run("hidden by a later number", func(t *testing.T) {
		_, a, b, lost, _ := back(t)
		b.ask("z") // b has not seen what was lost
		a.Lost()   // as a connection's end tells
		a.ask()
		b.ask()
		b.want(lost, Unknown, "was invalidated, and that was lost")
		a.want(lost, Unknown, "was invalidated, and that was lost")
	})
	t.Run("seen by an entry", func(t *testing.T) {
		table, a, b, _, _ := back(t)
		k := a.entry("w") // from after what was lost
		b.ask()
		b.want(k, Unknown, "later than the table")
		if !b.WentBack(k) {
			t.Fatal("not noticed")
		}
		epoch := table.Epoch
		b.ask()
		if table.Epoch == epoch {
			t.Error("the table keeps its epoch")
		}
		b.want(k, Unknown, "of another table")
		if b.WentBack(k) {
			t.Error("of another table: this one did not go back")
		}
	})
	t.Run("numbers are not given again", func(t *testing.T) {
		_, a, b, _, now := back(t)
		*now = now.Add(time.Second)
		k := a.entry("q") // a is gone, what it stored is there
		b.ask("q")
		b.want(k, Useless, "invalidated after the failover")
	})
}

// Answers may come in another order than the table gave them. Caught: an older answer
// that takes a newer one's place; a table that is taken for the newer one.
func TestAnswersInAnyOrder(t *testing.T) {
	table, now, nodes := cluster(t, 10, 2)
	a, b := nodes[0], nodes[1]
	a.ask()
	b.ask()
	k := a.entry("x")
	first := a.Ask("k", nil)
	early := table.Do(first.TagRequest, *now)
	b.ask("x")
	a.ask()
	a.Learn(first, early)
	a.want(k, Useless, "an older answer came later")

	// Of two tables, the old one's answer comes last.
	old := a.Ask("k", nil)
	late := table.Do(old.TagRequest, *now)
	*table = Table{}
	b.ask()
	a.ask()
	s, _ := a.Stamp()
	if again, _ := a.Learn(old, late); !again {
		t.Error("taken in")
	}
	if now, _ := a.Stamp(); now != s || s.Epoch != table.Epoch {
		t.Errorf("the node believes in %+v, the table is %+v", now, table.TagStamp)
	}
}

// An answer to a question from before a loss does not tell that changes are told.
// Caught: watched as soon as anything was answered.
func TestWatched(t *testing.T) {
	table, now, nodes := cluster(t, 10, 2)
	a, b := nodes[0], nodes[1]
	if a.Watched() {
		t.Error("watched from the start")
	}
	q := a.Ask("k", nil)
	answer := table.Do(q.TagRequest, *now)
	a.Lost()
	if a.Learn(q, answer); a.Watched() {
		t.Error("watched by an answer from before the loss")
	}
	if a.ask(); !a.Watched() {
		t.Error("not watched")
	}
	q = a.Ask("k", nil)
	answer = table.Do(q.TagRequest, *now)
	b.ask("x")
	a.Moved()
	if _, more := a.Learn(q, answer); !more {
		t.Error("the change after the answer is not asked for")
	}
}

// Invalidations that L2 has not been told of. Caught: an entry of L2, or one that was
// loaded before, that is used; one that was loaded since, that is not.
func TestPending(t *testing.T) {
	for name, names := range map[string][]string{"one": {"x"}, "too many": {"x", "1", "2", "3"}} {
		t.Run(name, func(t *testing.T) {
			_, _, nodes := cluster(t, 3, 2)
			a, b := nodes[0], nodes[1]
			a.ask()
			b.ask()
			before, other := a.entry("x"), a.entry("y")
			a.Pend(names)
			since := a.entry("x")
			a.want(since, Useless, "of L2: from before or after, who knows")
			if a.Good(before) || !a.Good(since) || a.Good(other) != (name == "one") || a.Pending() == 0 {
				t.Errorf("before %v, since %v, of another tag %v, pending %d", a.Good(before), a.Good(since), a.Good(other), a.Pending())
			}
			owed, all, upTo := a.Owed(10)
			a.ask(owed...)
			a.Told(owed, all, upTo)
			b.ask()
			if a.Pending() != 0 || a.Good(before) || b.Judge(before) == Useful {
				t.Errorf("told: pending %d, before %v and %v", a.Pending(), a.Good(before), b.Judge(before))
			}
			if k := a.entry("x"); !a.Good(k) || b.Judge(k) != Useful {
				t.Error("loaded after all that, and no good")
			}
		})
	}
}

// What is pended while L2 is told stays pended. Caught: all is forgotten.
func TestPendWhileTold(t *testing.T) {
	_, _, nodes := cluster(t, 3, 1)
	a := nodes[0]
	a.ask()
	a.Pend([]string{"x"})
	owed, all, upTo := a.Owed(10)
	k := a.entry("x")
	a.Pend([]string{"x"})
	a.Told(owed, all, upTo)
	if a.Pending() != 1 || a.Good(k) {
		t.Errorf("pending %d, an entry from before %v", a.Pending(), a.Good(k))
	}
}

func TestAlone(t *testing.T) {
	m := NewMirror(2)
	m.Alone()
	n := node{T: t, Mirror: m}
	k, other := n.entry("x"), n.entry("y")
	if m.Invalidate([]string{"x"}); m.Good(k) || !m.Good(other) || !m.Good(n.entry("x")) {
		t.Error("x alone is invalidated")
	}
	m.Invalidate([]string{"1", "2", "3"})
	if m.Good(other) {
		t.Error("from before the floor")
	}
}

func TestTableBytes(t *testing.T) {
	table := Table{TagStamp: driver.TagStamp{Epoch: 5, Seq: 7}, Floor: 6, Numbers: map[string]uint64{"a": 7, "": 1}}
	b := table.Append(nil)
	got, err := Parse(b)
	if err != nil || got.TagStamp != table.TagStamp || got.Floor != 6 || !maps.Equal(got.Numbers, table.Numbers) {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range len(b) {
		if _, err := Parse(b[:n]); err == nil && n != 26 && n != 26+9 && n != 26+10 {
			t.Errorf("%d bytes are a table", n)
		}
	}
}

// Random histories: entries, invalidations, answers that are late, tables that are lost
// or go back while a node that saw the loss is alive. Then every node that asks refuses
// every entry that was invalidated.
func TestRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		table, now, nodes := cluster(t, 4, 3)
		type stored struct {
			*Marks
			dead bool
		}
		var entries []*stored
		var snapshot Table
		names := []string{"a", "b", "c", "d", "e", "f"}
		for _, n := range nodes {
			n.ask()
		}
		for range 60 {
			*now = now.Add(time.Duration(r.IntN(3)) * time.Microsecond)
			n := nodes[r.IntN(len(nodes))]
			switch r.IntN(10) {
			case 0, 1, 2:
				entries = append(entries, &stored{Marks: n.entry(names[r.IntN(6)], names[r.IntN(6)])})
			case 3, 4:
				tag := names[r.IntN(6)]
				n.ask(tag)
				for _, e := range entries {
					e.dead = e.dead || e.Tags[0] == tag || e.Tags[1] == tag
				}
			case 5:
				snapshot = Table{table.TagStamp, table.Floor, maps.Clone(table.Numbers)}
			case 6:
				if r.IntN(4) == 0 && snapshot.Epoch == table.Epoch {
					*table = Table{snapshot.TagStamp, snapshot.Floor, maps.Clone(snapshot.Numbers)}
					*now = now.Add(time.Millisecond)
					for _, n := range nodes {
						n.Lost()
					}
					nodes[0].ask() // node 0 has seen everything, see below
				}
			case 7:
				if r.IntN(8) == 0 {
					*table = Table{}
				}
			default:
				n.ask()
			}
			nodes[0].ask()
		}
		for i, n := range nodes {
			n.ask()
			for _, e := range entries {
				if e.dead && n.Judge(NewMarks(e.Tags, Stamp{TagStamp: e.Stamp.TagStamp})) == Useful {
					t.Fatalf("seed %d: node %d uses %+v, which was invalidated; table %+v", seed, i, e.Marks, table)
				}
			}
		}
	}
}

// A node owes an invalidation of all tags, and finds a table that others have made anew
// meanwhile: it makes another. Caught: it took that for its own.
func TestAllTagsOfATableMadeAnew(t *testing.T) {
	table, _, nodes := cluster(t, 1, 2)
	a, b := nodes[0], nodes[1]
	a.ask()
	b.ask()
	*table = Table{} // the server has restarted empty
	b.ask()
	k := b.entry("x")
	b.want(k, Useful, "before")
	a.Pend([]string{"x", "y"}) // too many for a, which cannot reach the table
	names, all, upTo := a.Owed(100)
	a.ask(names...)
	a.Told(names, all, upTo)
	if a.Pending() != 0 {
		t.Error("pending")
	}
	b.ask()
	if a.Good(k) || b.Good(k) {
		t.Errorf("good on a: %v, on b: %v", a.Good(k), b.Good(k))
	}
}
