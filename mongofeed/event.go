package mongofeed

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// fields is the projection of an event: what this package reads of it. The server keeps
// the rest.
func (f *Feed) fields(images bool) bson.D {
	p := bson.D{}
	add := func(names ...string) {
		for _, name := range names {
			p = append(p, bson.E{Key: name, Value: 1})
		}
	}
	add("operationType", "documentKey._id", "clusterTime", "wallTime", "txnNumber", "lsid.id")
	for _, field := range f.read() {
		add("fullDocument."+field, "updateDescription.updatedFields."+field)
		if images {
			add("fullDocumentBeforeChange." + field)
		}
	}
	if !f.byID() {
		add("updateDescription.removedFields")
	}
	return p
}

// read returns the fields of a document that this package reads.
func (f *Feed) read() (fields []string) {
	if !f.byID() {
		fields = append(fields, f.opts.Key)
	}
	if f.opts.Version != "" {
		fields = append(fields, f.opts.Version)
	}
	return fields
}

// record is what a feed needs of a document at one time.
type record struct {
	key     string
	keyed   bool // it has a key
	odd     bool // it has a key that Format does not know
	version uint64
}

// event is one event of a change stream.
type event struct {
	op   string
	id   bson.RawValue // _id of the document
	time bson.Timestamp
	wall time.Time
	txn  string // of the transaction; empty: none

	after  *record // of insert, replace, and of update if newKey; its version of every update that sets it
	before *record // pre-image
	newKey bool    // the update sets or removes the key
}

// all reports whether the event says that every document may have changed.
func (e *event) all() bool {
	switch e.op {
	case "insert", "update", "replace", "delete":
		return false
	}
	return true // drop, rename, dropDatabase, invalidate, or one that is not known
}

func (f *Feed) parse(raw bson.Raw) (event, error) {
	var e event
	var ok bool
	if e.op, ok = raw.Lookup("operationType").StringValueOK(); !ok {
		return e, fmt.Errorf("an event has no operationType")
	}
	if t, i, ok := raw.Lookup("clusterTime").TimestampOK(); ok {
		e.time = bson.Timestamp{T: t, I: i}
	}
	if wall, ok := raw.Lookup("wallTime").TimeOK(); ok {
		e.wall = wall
	}
	if txn := raw.Lookup("txnNumber"); txn.Value != nil {
		lsid := raw.Lookup("lsid", "id")
		e.txn = string(txn.Value) + string(lsid.Value)
	}
	if e.all() {
		return e, nil
	}
	e.id = raw.Lookup("documentKey", idField)
	if e.id.Value == nil {
		return e, fmt.Errorf("an event %q has no documentKey._id", e.op)
	}
	if doc, ok := raw.Lookup("fullDocumentBeforeChange").DocumentOK(); ok {
		e.before = f.record(doc, e.id)
	}
	switch e.op {
	case "insert", "replace":
		doc, ok := raw.Lookup("fullDocument").DocumentOK()
		if !ok {
			doc = nil // nothing of it is left by the projection
		}
		e.after = f.record(doc, e.id)
	case "update":
		doc, _ := raw.Lookup("updateDescription", "updatedFields").DocumentOK()
		e.after = f.record(doc, bson.RawValue{})
		e.newKey = e.after.keyed || e.after.odd || f.removesKey(raw)
	}
	return e, nil
}

// removesKey reports whether an update removes the key.
func (f *Feed) removesKey(raw bson.Raw) bool {
	list, ok := raw.Lookup("updateDescription", "removedFields").ArrayOK()
	if !ok {
		return false
	}
	values, err := list.Values()
	if err != nil {
		return true
	}
	for _, v := range values {
		if name, ok := v.StringValueOK(); ok && name == f.opts.Key {
			return true
		}
	}
	return false
}

// record reads a document, of which only fields that matter need be there.
func (f *Feed) record(doc bson.Raw, id bson.RawValue) *record {
	r := new(record)
	switch {
	case f.byID():
		r.key, r.keyed, r.odd = f.keyOf(id)
	case doc != nil:
		r.key, r.keyed, r.odd = f.keyOf(doc.Lookup(f.opts.Key))
	}
	if doc == nil {
		return r
	}
	if f.opts.Version != "" {
		r.version = version(doc.Lookup(f.opts.Version))
	}
	return r
}

// keyOf returns the key that a value stands for. A document without a value has none.
func (f *Feed) keyOf(v bson.RawValue) (key string, keyed, odd bool) {
	if v.Value == nil && v.Type == 0 || v.Type == bson.TypeNull || v.Type == bson.TypeUndefined {
		return "", false, false
	}
	key, ok := f.format(v)
	return key, ok, !ok
}

func version(v bson.RawValue) uint64 {
	if n, ok := v.Int64OK(); ok {
		return uint64(max(n, 0))
	}
	if n, ok := v.Int32OK(); ok {
		return uint64(max(n, 0))
	}
	if x, ok := v.DoubleOK(); ok && x > 0 && x < 1<<53 && x == math.Trunc(x) {
		return uint64(x)
	}
	return 0
}

// format is the default of Options.Format.
func format(v bson.RawValue) (string, bool) {
	if s, ok := v.StringValueOK(); ok {
		return strings.Clone(s), true
	}
	if id, ok := v.ObjectIDOK(); ok {
		return id.Hex(), true
	}
	if n, ok := v.Int32OK(); ok {
		return strconv.FormatInt(int64(n), 10), true
	}
	if n, ok := v.Int64OK(); ok {
		return strconv.FormatInt(n, 10), true
	}
	if sub, b, ok := v.BinaryOK(); ok && sub == bson.TypeBinaryUUID && len(b) == 16 {
		return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), true
	}
	return "", false
}

// idOf returns an _id in a form that is equal for equal ones.
func idOf(v bson.RawValue) string {
	b := make([]byte, 0, 1+len(v.Value))
	b = append(b, byte(v.Type))
	// 1 as an int32, an int64 and a double is one _id.
	if n, ok := v.AsInt64OK(); ok {
		if x, isDouble := v.DoubleOK(); !isDouble || x == float64(n) {
			return string(binary.LittleEndian.AppendUint64(append(b[:0], 0), uint64(n)))
		}
	}
	return string(append(b, v.Value...))
}
