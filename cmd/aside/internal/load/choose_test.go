package load_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/load"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/mongodump/dumptest"
)

// archive returns an archive with one collection for each argument: "name", or "name:todos",
// "name:other", "name:mixed", "name:late" (todos, after 33 MiB of the others). A name that
// ends with "(view)" is a view. One that ends with "(timeseries)" is a time series, whose
// one document is in a bucket.
func archive(specs ...string) []byte {
	var names []string
	for _, s := range specs {
		name, _, _ := strings.Cut(s, ":")
		names = append(names, name)
	}
	w := dumptest.New(names...)
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, "(view)")
	}
	for i, name := range names {
		if name, ok := strings.CutSuffix(name, "(timeseries)"); ok {
			db, collection, _ := strings.Cut(name, ".")
			names[i] = db + ".system.buckets." + collection
			w.Add(names[i], dumptest.Doc("_id", "b", "control", dumptest.Doc("version", int32(1)), "data", dumptest.Doc("id", "x")))
		}
	}
	for i, s := range specs {
		name := names[i]
		switch _, kind, _ := strings.Cut(s, ":"); kind {
		case "todos":
			w.Add(name, todoDocs(25)...)
		case "other":
			w.Add(name, otherDocs(25)...)
		case "mixed":
			w.Add(name, todoDocs(12)...).Add(name, otherDocs(8)...)
		case "late":
			filler := dumptest.Doc("title", strings.Repeat("x", 11<<20))
			w.Add(names[0], filler, filler, filler)
			w.Add(name, todoDocs(1)...)
		}
	}
	return w.End(names...).Bytes()
}

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		name  string
		specs string
		sel   load.Selection
		want  string
		says  string // part of the reason or of the error
	}{
		{"the only one", "shop.items:todos", load.Selection{}, "shop.items", "only collection whose documents"},
		{"by its documents", "test.users:other a.b:todos test.notes:other", load.Selection{}, "a.b", "only collection whose documents"},
		{"documents before names", "test.todos:other a.b:todos", load.Selection{}, "a.b", "only collection whose documents"},
		{"the default name of two", "other.todos:todos test.todos:todos", load.Selection{}, "test.todos", "it has the default name, among the collections that may contain todos: other.todos, test.todos"},
		{"the one called todos", "x.a:todos x.todos:todos", load.Selection{}, "x.todos", "the name todos"},
		{"mostly todos", "x.a:mixed x.b:other", load.Selection{}, "x.a", "only collection"},
		{"empty", "x.a:other test.todos", load.Selection{}, "test.todos", "it is empty"},
		{"empty and alone", "x.a", load.Selection{}, "x.a", "it is empty"},
		{"default name, too late to be looked at", "x.a:other test.todos:late", load.Selection{}, "test.todos", "default name"},
		{"another name, too late to be looked at", "x.a:other x.b:late", load.Selection{}, "x.b", "come later"},
		{"a holder and one too late", "x.a:todos x.b:late", load.Selection{}, "x.a", "not checked, since they come later: x.b"},
		{"system collections aside", "admin.todos:todos config.x:todos x.system.y:todos x.b:todos", load.Selection{}, "x.b", "only collection"},

		{"as selected", "test.todos:todos x.b:other", load.Selection{DB: "x", Collection: "b"}, "x.b", "as selected"},
		{"collection told", "test.todos:todos x.b:todos", load.Selection{Collection: "b"}, "x.b", "as selected"},
		{"collection told, two databases", "test.b:other x.b:todos", load.Selection{Collection: "b"}, "x.b", "only collection whose"},
		{"database told", "test.todos:todos x.a:other x.b:todos", load.Selection{DB: "x"}, "x.b", "only collection whose"},

		{"a view dumped as a collection", "x.users:other x.open(view):todos", load.Selection{}, "x.open", "only collection whose"},
		{"a view alone", "x.open(view):todos", load.Selection{}, "x.open", "only collection whose"},
		{"a view told", "x.todos:todos x.open(view):todos", load.Selection{Collection: "open"}, "x.open", "as selected; it is a view that was dumped as a collection"},
		{"a collection before its view", "x.open(view):todos x.all:todos", load.Selection{}, "x.all", "only collection whose"},
		{"a view without documents", "x.todos(view) x.all:todos", load.Selection{}, "x.all", "only collection whose"},
		{"a collection that comes late, and views", "x.a:other x.b:late x.late(view):todos x.none(view)", load.Selection{}, "x.b", "come later"},
		{"a view that was looked at, and a collection that was not", "x.open(view):todos x.users:other x.b:late", load.Selection{}, "x.open", "come later"},
		{"no documents of the view told", "x.todos:todos x.open(view)", load.Selection{Collection: "open"}, "", "no collection open; it has x.todos, x.open (a view); mongodump writes documents of a view only with --viewsAsCollections"},
		{"views without documents only", "x.a(view)", load.Selection{}, "", "x.a (a view); mongodump writes documents of a view"},

		// Caught: "is empty", nothing loaded, and success.
		{"a time series", "test.todos(timeseries)", load.Selection{}, "", "a time series may: test.todos; mongodump writes a time series as buckets, which cannot be read"},
		{"a time series told", "test.todos(timeseries) x.a:todos", load.Selection{Collection: "todos"}, "", "a time series may: test.todos; mongodump"},
		{"a time series beside what has no todos", "test.todos(timeseries) x.a:other x.b", load.Selection{}, "", "a time series may: test.todos; mongodump"},
		{"a time series beside todos", "test.todos(timeseries) x.a:todos", load.Selection{}, "x.a", "only collection whose"},

		{"two, no name to go by", "x.a:todos x.b:todos x.c:other", load.Selection{}, "", "several collections may contain the todos; choose one with --db and --collection:\n  x.a 20 of 20 documents"},
		{"two called todos", "x.todos:todos y.todos:todos", load.Selection{}, "", "several collections may contain the todos"},
		{"none", "x.a:other x.b:other", load.Selection{}, "", "x.b contains no todos"},
		{"two too late", "x.a:other x.b:late x.c:late", load.Selection{}, "", "several collections may contain the todos"},
		{"not there", "x.a:todos x.b:todos", load.Selection{DB: "x", Collection: "c"}, "", "no collection x.c; it has x.a, x.b"},
		{"no such database", "x.a:todos", load.Selection{DB: "y"}, "", "no collection in database y; it has x.a"},
		{"no such collection", "x.a:todos", load.Selection{Collection: "y"}, "", "no collection y; it has x.a"},
		{"system collections only", "admin.a:todos", load.Selection{}, "", "no user collections; it has admin.a"},
		{"none at all", "", load.Selection{}, "", "has no collections"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := archive(strings.Fields(c.specs)...)
			a, err := load.OpenArchive(bytes.NewReader(in), 0, c.sel)
			if c.want == "" {
				var choice *load.ChoiceError
				if !errors.As(err, &choice) || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("got %v, want a ChoiceError that says %q", err, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, reason := a.Chosen()
			if got != c.want || !strings.Contains(reason, c.says) {
				t.Fatalf("got %s, %q; want %s, %q", got, reason, c.want, c.says)
			}
			// The documents that were read for the choice are read again.
			r, err := mongodump.NewReader(bytes.NewReader(in))
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			for d, err := r.Next(); err != io.EOF; d, err = r.Next() {
				if err != nil {
					t.Fatal(err)
				}
				if d.Namespace == c.want {
					want++
				}
			}
			todos, faults, _, err := drain(a)
			if err != io.EOF || len(todos)+len(faults) != want {
				t.Errorf("got %d todos, %d faults and %v, want %d documents", len(todos), len(faults), err, want)
			}
		})
	}
}

// TestDamageAheadOfTheChoice: the choice ignores a fault. The load finds it again, and loads
// the records before it.
func TestDamageAheadOfTheChoice(t *testing.T) {
	in := dumptest.New("test.todos", "x.b").Add("test.todos", todoDocs(3)...).Bytes()
	in = in[:len(in)-10]
	for _, in := range [][]byte{in, gzipped(t, in)} {
		todos, _, _, err := drain(openArchive(t, in, load.Selection{}))
		if !errors.Is(err, mongodump.ErrTruncated) || len(todos) != 2 {
			t.Errorf("got %d todos and %v, want 2 and ErrTruncated", len(todos), err)
		}
	}
	_, err := load.OpenArchive(strings.NewReader("{}"), 0, load.Selection{})
	if !errors.Is(err, mongodump.ErrMagic) {
		t.Errorf("not an archive: got %v, want ErrMagic", err)
	}
}

// TestDamagedNeighbour: a wrong CRC of any collection is reported, and the todos after it are
// read.
func TestDamagedNeighbour(t *testing.T) {
	in := dumptest.New("test.users", "test.todos").
		Add("test.users", otherDocs(30)...).EndWith("test.users", 1).
		Add("test.todos", todoDocs(2)...).End("test.todos").Bytes()
	todos, _, damage, err := drain(openArchive(t, in, load.Selection{}))
	if err != io.EOF || len(todos) != 2 || len(damage) != 1 || !errors.Is(damage[0], mongodump.ErrCRC) {
		t.Errorf("got %d todos, damage %v and %v, want 2 and one ErrCRC", len(todos), damage, err)
	}
}
