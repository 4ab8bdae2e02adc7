package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Violation is a promise that was broken, with its evidence.
type Violation struct {
	Promise Promise
	Key     string
	// Text tells people what happened, in a sentence or two.
	Text string
	// Ops is the shortest piece of history that shows it, by time of call. The
	// promise is broken whatever else was done.
	Ops []Op
	// Picture is the file in which Ops are drawn, "" if Options.Pictures was or
	// if PictureErr tells why it could not be written.
	Picture    string
	PictureErr error
}

// Summary says which guarantee does not hold, and why, in one line.
func (v Violation) Summary() string {
	return fmt.Sprintf("%s: it does not hold that %s: key %s: %s", v.Promise, v.Promise.Guarantee(), v.Key, v.Text)
}

// String is Summary and the operations, a line for each.
func (v Violation) String() string {
	s := v.Summary() + "\n\n" + table(v.Ops)
	switch {
	case v.PictureErr != nil:
		s += "\nnot drawn: " + v.PictureErr.Error() + "\n"
	case v.Picture != "":
		s += "\ndrawn in " + v.Picture + "\n"
	}
	return s
}

// table shows operations by time of call.
func table(ops []Op) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "client\tnode\toperation\tversion\ttag\tcall\treturn\t")
	for _, op := range byCall(ops) {
		tag := "-"
		if op.Kind == Write || op.isRead() && op.Version != 0 {
			tag = fmt.Sprintf("%x", op.Tag)
		}
		returned := at(op.Return)
		if op.Unknown {
			returned = "unknown"
		}
		node := fmt.Sprint(op.Node)
		if op.Outside {
			node = outside
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", op.Client, node, op.Kind, versionOf(op), tag, at(op.Call), returned)
	}
	w.Flush()
	return b.String()
}

// outside is what texts say in place of a node.
const outside = "outside"

// through says which way an operation went.
func through(op Op) string {
	if op.Outside {
		return outside
	}
	return fmt.Sprintf("node %d", op.Node)
}

func versionOf(op Op) string {
	switch {
	case op.Kind == Delete:
		return "deleted"
	case op.Kind == Drop:
		return "-"
	case op.isRead() && op.Version == 0:
		return "absent"
	case op.Unknown && op.Version == 0:
		return "unknown"
	}
	return fmt.Sprint(op.Version)
}

// at shows a time on the recorder's clock.
func at(t time.Duration) string { return fmt.Sprintf("%.6fs", t.Seconds()) }

func byCall(ops []Op) []Op {
	return slices.SortedStableFunc(slices.Values(ops), func(a, b Op) int {
		return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Return, b.Return))
	})
}
