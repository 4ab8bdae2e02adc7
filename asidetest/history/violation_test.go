package history

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestViolationsAreReadable: the text that people get, word for word.
func TestViolationsAreReadable(t *testing.T) {
	for name, c := range map[string]struct {
		ops  []Op
		p    Promise
		want string
	}{
		"strong": {
			p:   StrongReads,
			ops: []Op{write(0, 0, 10, 1), write(0, 20, 30, 2), strong(12, 1031, 1032, 1).on(2)},
			want: `P2 strong reads: it does not hold that a strong read returns no version older than a write that was acknowledged before its call: key k: a strong read of client 12 on node 2, called at 1.031000s, returned version 1, but version 2 (client 0, node 0) had been acknowledged 1.001s before.

  client  node    operation  version  tag       call     return
       0     0        write        2    2  0.020000s  0.030000s
      12     2  strong read        1    1  1.031000s  1.032000s
`,
		},
		"monotonic, deleted": {
			p:   Monotonic,
			ops: []Op{write(0, 0, 10, 1), read(1, 11, 12, 1), del(0, 20, 99), read(1, 21, 22, 0), read(1, 23, 24, 1)},
			want: `P3 monotonic: it does not hold that on one node, a read that is called after another has returned returns nothing older: key k: a default read of client 1 on node 1, called at 0.023000s, returned version 1, but this node had answered deleted to client 1, 1ms before.

  client  node     operation  version  tag       call     return
       1     1  default read        1    1  0.011000s  0.012000s
       1     1  default read   absent    -  0.021000s  0.022000s
       1     1  default read        1    1  0.023000s  0.024000s
`,
		},
		"own delete": {
			p:   OwnWrites,
			ops: []Op{write(0, 0, 10, 1), del(0, 20, 30), read(0, 31, 32, 1)},
			want: `P3 own writes: it does not hold that a read returns no version older than a write, and none from before a drop, that the same node acknowledged before its call: key k: a default read of client 0 on node 0, called at 0.031000s, returned version 1, but the delete (client 0, node 0) had been acknowledged 1ms before, through the same node.

  client  node     operation  version  tag       call     return
       0     0        delete  deleted    -  0.020000s  0.030000s
       0     0  default read        1    1  0.031000s  0.032000s
`,
		},
		"linearizable": {
			p:   Linearizable,
			ops: []Op{write(0, 0, 10, 1), unknown(1, 12, 0xbeef), strong(2, 20, 21, 2).tagged(0xbeef), strong(3, 22, 23, 1)},
			want: `P2 linearizable: it does not hold that strong reads, writes and deletes of a key take effect one after another, each between its call and its return: key k: no order of these 4 operations, each at some time between its call and its return, explains what was read.

  client  node    operation  version   tag       call     return
       0     0        write        1     1  0.000000s  0.010000s
       1     1        write        2  beef  0.012000s    unknown
       2     2  strong read        2  beef  0.020000s  0.021000s
       3     3  strong read        1     1  0.022000s  0.023000s
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := Check(keyOf(c.ops...), Options{})
			if got := first(r, c.p).String(); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// TestPictures: every violation is drawn, with the writes that made what its
// reads saw, under a name of its own that any file system takes.
// Caught: a second violation over the first one's file; a key's slashes taken
// for directories; evidence without writes, which shows nothing; operations that
// nobody waited for in the row of their client's later ones; the model that decides, which stops at the write rather than at the read that has no place.
func TestPictures(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	k := NewKey("../check-7f/Ä b")
	for _, op := range []Op{
		write(0, 0, 10, 1), write(0, 20, 30, 2), read(1, 31, 32, 2), read(1, 33, 34, 1), read(1, 35, 36, 1), unknown(7, 40, 3),
		strong(7, 50, 51, 3), strong(9, 52, 53, 2),
	} {
		k.Record(op)
	}
	r := Check(k, Options{MaxStale: -1, Pictures: dir})
	if len(r.Violations) != 3 {
		t.Fatalf("want three violations: %v", r.Violations)
	}
	for i, want := range []string{
		"P3-monotonic-..-check-7f---b.html", "P3-monotonic-..-check-7f---b-2.html", "P2-linearizable-..-check-7f---b.html",
	} {
		v := r.Violations[i]
		if v.PictureErr != nil || v.Picture != filepath.Join(dir, want) {
			t.Errorf("drawn in %s (%v), want %s", v.Picture, v.PictureErr, want)
		}
		if !strings.Contains(v.String(), "\ndrawn in "+v.Picture+"\n") {
			t.Errorf("the text does not tell the picture: %s", v)
		}
	}
	type box struct {
		ClientId, Start, End int
		Description          string
	}
	drawn := func(v Violation, newest string, want ...string) {
		t.Helper()
		page, err := os.ReadFile(v.Picture)
		if err != nil {
			t.Fatal(err)
		}
		_, data, _ := strings.Cut(string(page), "const data = ")
		var picture struct {
			Partitions []struct{ History []box }
		}
		if err := json.NewDecoder(strings.NewReader(data)).Decode(&picture); err != nil {
			t.Fatal(err)
		}
		boxes := picture.Partitions[0].History
		var got []string
		for i, b := range boxes {
			got = append(got, b.Description)
			for _, a := range boxes[:i] {
				if a.ClientId == b.ClientId && a.End >= b.Start {
					t.Errorf("%s: %q and %q lie over each other", v.Picture, a.Description, b.Description)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", v.Picture, got, want)
		}
		if !strings.Contains(string(page), `"StateDescription":"`+newest+`"`) {
			t.Errorf("%s never gets to %s", v.Picture, newest)
		}
	}
	drawn(r.Violations[0], "version 2", "write 1 (client 0, node 0)", "write 2 (client 0, node 0)",
		"default read 2 (client 1, node 1)", "default read 1 (client 1, node 1)")
	drawn(r.Violations[2], "version 3", "write 2 (client 0, node 0)", "write 3 (client 7, node 7), never acknowledged",
		"strong read 3 (client 7, node 7)", "strong read 2 (client 9, node 9)")
}

// TestPictureThatCannotBeWritten: the violation stands, and says so.
func TestPictureThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := Check(keyOf(write(0, 0, 10, 1), strong(1, 11, 12, 0)), Options{Promises: []Promise{StrongReads}, Pictures: dir})
	if r.Broken[StrongReads] != 1 || len(r.Violations) != 1 {
		t.Fatalf("broken: %v, kept: %v", r.Broken, r.Violations)
	}
	if v := r.Violations[0]; v.PictureErr == nil || v.Picture != "" || !strings.Contains(v.String(), "not drawn: ") {
		t.Errorf("picture %q, error %v, text: %s", v.Picture, v.PictureErr, v)
	}
}
