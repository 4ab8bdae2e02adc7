package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/mongodump"
	"github.com/asidecache/aside/cmd/aside/internal/printable"
)

// Selection restricts the choice of a collection. "" means any.
type Selection struct{ DB, Collection string }

const (
	// lookAhead is the maximum number of bytes of an archive that are kept in memory
	// for the choice. mongodump writes blocks of up to 16 MiB.
	lookAhead = 32 << 20
	// sampleSize is how many documents of a collection are checked.
	sampleSize = 20

	defaultNamespace  = "test.todos"
	defaultCollection = "todos"
)

// candidate is a collection that may contain the todos.
type candidate struct {
	mongodump.Namespace
	sampled, todos int
	empty          bool // the whole collection was read
}

// isView reports whether it is a view. mongodump writes documents of a view only with
// --viewsAsCollections.
func (c *candidate) isView() bool { return c.Type == "view" }

// isSeries reports whether it is a time series. mongodump writes its documents in buckets,
// under another name.
func (c *candidate) isSeries() bool { return c.Type == "timeseries" }

func (c *candidate) holdsTodos() bool { return c.sampled > 0 && 2*c.todos >= c.sampled }
func (c *candidate) unknown() bool    { return c.sampled == 0 && !c.empty }

// finding describes what was found in the collection.
func (c *candidate) finding() string {
	switch {
	case c.empty:
		return "is empty"
	case c.unknown():
		return "is not in the part of the archive that was read"
	case c.todos == 0:
		return fmt.Sprintf("contains no todos (none of %d documents has a string id and a name)", c.sampled)
	default:
		return fmt.Sprintf("%d of %d documents have a string id and a name", c.todos, c.sampled)
	}
}

// choose picks the collection that contains todos. It looks at the documents. It uses
// the name if several collections contain todos, or if their documents come too late
// in the archive.
func choose(r *mongodump.Reader, sel Selection) (namespace, reason string, err error) {
	listed := r.Namespaces()
	var list []*candidate
	for _, ns := range listed {
		if sel.DB != "" && sel.DB != ns.DB || sel.Collection != "" && sel.Collection != ns.Collection {
			continue
		}
		if sel.Collection == "" && isSystem(ns) {
			continue
		}
		list = append(list, &candidate{Namespace: ns})
	}
	if len(list) == 0 {
		return "", "", noCandidate(listed, sel)
	}
	if len(list) == 1 && sel.Collection != "" && !list[0].isView() && !list[0].isSeries() {
		return list[0].String(), "as selected", nil
	}
	look(r, list)
	// If the documents of a view were not dumped, only its definition is there.
	list = slices.DeleteFunc(list, func(c *candidate) bool { return c.isView() && c.empty })
	var series []*candidate
	list = slices.DeleteFunc(list, func(c *candidate) bool {
		if c.isSeries() && c.sampled == 0 {
			series = append(series, c)
			return true
		}
		return false
	})
	switch {
	case len(series) > 0 && !slices.ContainsFunc(list, func(c *candidate) bool { return c.holdsTodos() || c.unknown() }):
		return "", "", inBuckets(series)
	case len(list) == 0:
		return "", "", noCandidate(listed, sel)
	case len(list) == 1 && sel.Collection != "" && list[0].isView():
		return list[0].String(), "as selected; it is a view that was dumped as a collection", nil
	}
	return pick(withoutViews(list))
}

// withoutViews removes the views if there are other candidates. A view shows documents
// of a collection, and a view that was not read has most likely no documents.
func withoutViews(list []*candidate) []*candidate {
	collections := slices.DeleteFunc(slices.Clone(list), (*candidate).isView)
	if slices.ContainsFunc(collections, (*candidate).holdsTodos) {
		return collections
	}
	known := slices.DeleteFunc(slices.Clone(list), func(c *candidate) bool { return c.isView() && c.unknown() })
	if slices.ContainsFunc(known, func(c *candidate) bool { return c.holdsTodos() || c.unknown() }) {
		return known
	}
	return list
}

// isSystem reports whether it is a collection of the server or of mongodump.
func isSystem(ns mongodump.Namespace) bool {
	switch ns.DB {
	case "", "admin", "config", "local":
		return true
	}
	return strings.HasPrefix(ns.Collection, "system.") || strings.HasPrefix(ns.Collection, "$admin.")
}

// look samples the candidates until each is known, or lookAhead is reached. A fault of
// the archive ends it without an error: the load finds the fault again and reports it.
func look(r *mongodump.Reader, list []*candidate) {
	byName := make(map[string]*candidate, len(list))
	for _, c := range list {
		byName[c.String()] = c
	}
	left := len(list)
	for left > 0 && r.Offset() < lookAhead {
		d, err := r.Next()
		if errors.Is(err, mongodump.ErrCRC) {
			continue
		}
		if err != nil {
			break
		}
		c := byName[d.Namespace]
		if c == nil || c.sampled == sampleSize {
			continue
		}
		if isTodo(d.Raw) {
			c.todos++
		}
		if c.sampled++; c.sampled == sampleSize {
			left--
		}
	}
	for _, ns := range r.Namespaces() {
		if c := byName[ns.String()]; c != nil {
			c.empty = ns.Complete && ns.Documents == 0
		}
	}
}

func isTodo(raw bson.Raw) bool {
	if raw.Validate() != nil {
		return false
	}
	id, ok := raw.Lookup("id").StringValueOK()
	_, err := raw.LookupErr("name")
	return ok && id != "" && err == nil
}

func pick(list []*candidate) (namespace, reason string, err error) {
	var holders, pool, empty []*candidate
	for _, c := range list {
		switch {
		case c.holdsTodos():
			holders, pool = append(holders, c), append(pool, c)
		case c.unknown():
			pool = append(pool, c)
		case c.empty:
			empty = append(empty, c)
		}
	}
	switch {
	case len(pool) == 0:
		if c, why := byName(empty); c != nil {
			return c.String(), why + ", and it is empty", nil
		}
		if len(list) == 1 && len(empty) == 1 {
			return empty[0].String(), "the only collection, and it is empty", nil
		}
	case len(holders) == 1 && len(pool) == 1:
		return holders[0].String(), "the only collection whose documents have a string id and a name", nil
	default:
		if c, why := byName(pool); c != nil {
			return c.String(), fmt.Sprintf("%s, among the collections that may contain todos: %s", why, names(pool)), nil
		}
		if len(holders) == 1 {
			return holders[0].String(), fmt.Sprintf("its documents have a string id and a name; not checked, since they come later: %s",
				names(without(pool, holders[0]))), nil
		}
		if len(pool) == 1 {
			return pool[0].String(), "the only collection that may contain todos; its documents come later in the archive", nil
		}
	}
	return "", "", unclear(list)
}

// byName prefers the collection that the service uses by default, then the only one
// of the same name in another database.
func byName(list []*candidate) (*candidate, string) {
	var named []*candidate
	for _, c := range list {
		switch {
		case c.String() == defaultNamespace:
			return c, "it has the default name"
		case c.Collection == defaultCollection:
			named = append(named, c)
		}
	}
	if len(named) == 1 {
		return named[0], "it is the only one with the name " + defaultCollection
	}
	return nil, ""
}

func without(list []*candidate, drop *candidate) []*candidate {
	var out []*candidate
	for _, c := range list {
		if c != drop {
			out = append(out, c)
		}
	}
	return out
}

func names(list []*candidate) string {
	out := make([]string, len(list))
	for i, c := range list {
		out[i] = printable.Name(c.String())
	}
	return abbreviate(out)
}

func abbreviate(list []string) string {
	const shown = 20
	if n := len(list) - shown; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:shown], ", "), n)
	}
	return strings.Join(list, ", ")
}

// ChoiceError says that no collection matches, or more than one.
type ChoiceError struct{ message string }

func (e *ChoiceError) Error() string { return e.message }

func noCandidate(listed []mongodump.Namespace, sel Selection) error {
	all, views := make([]string, len(listed)), ""
	for i, ns := range listed {
		all[i] = printable.Name(ns.String())
		if ns.Type == "view" {
			all[i] += " (a view)"
			views = "; mongodump writes documents of a view only with --viewsAsCollections"
		}
	}
	if len(all) == 0 {
		return &ChoiceError{"the archive has no collections"}
	}
	if sel == (Selection{}) {
		return &ChoiceError{"the archive has no user collections; it has " + abbreviate(all) + views}
	}
	want := "collection " + printable.Name(sel.Collection)
	switch {
	case sel.Collection == "":
		want = "collection in database " + printable.Name(sel.DB)
	case sel.DB != "":
		want = "collection " + printable.Name(sel.DB+"."+sel.Collection)
	}
	return &ChoiceError{fmt.Sprintf("the archive has no %s; it has %s%s", want, abbreviate(all), views)}
}

// inBuckets is the error if the todos can only be in a time series.
func inBuckets(series []*candidate) error {
	return &ChoiceError{"no collection contains todos that can be read; a time series may: " + names(series) +
		"; mongodump writes a time series as buckets, which cannot be read: use mongoexport, and load its file with --jsonl"}
}

func unclear(list []*candidate) error {
	var b strings.Builder
	b.WriteString("several collections may contain the todos; choose one with --db and --collection:")
	for i, c := range list {
		if i == 20 {
			fmt.Fprintf(&b, "\n  and %d more", len(list)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s %s", printable.Name(c.String()), c.finding())
	}
	return &ChoiceError{b.String()}
}
