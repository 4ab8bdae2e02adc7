package mongostore

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/internal/todo"
)

const (
	fieldKey         = "_id"
	fieldID          = "id"
	fieldName        = "name"
	fieldDescription = "description"
	fieldCompleted   = "completed"
	fieldCreated     = "created_at"
	fieldUpdated     = "updated_at"
	fieldVersion     = "version"
)

// contentFields are what an update must find as it was read. A version alone
// would do if all writers counted it; those of older systems do not.
var contentFields = [...]string{fieldID, fieldName, fieldDescription, fieldCompleted, fieldVersion}

// document is a todo and what it was read from.
type document struct {
	todo todo.Todo
	raw  bson.Raw
}

func newDocument(raw bson.Raw) document {
	return document{decode(raw), bytes.Clone(raw)}
}

// encode makes the document of a new record. Times are kept to the millisecond.
// Its _id is the ID: so two inserts of one ID collide even in a collection where
// duplicates in old data rule out a unique index on id.
func encode(t todo.Todo) bson.D {
	d := bson.D{
		{Key: fieldKey, Value: t.ID},
		{Key: fieldID, Value: t.ID},
		{Key: fieldName, Value: t.Name},
		{Key: fieldDescription, Value: t.Description},
		{Key: fieldCompleted, Value: t.Completed},
	}
	if !t.CreatedAt.IsZero() {
		d = append(d, bson.E{Key: fieldCreated, Value: t.CreatedAt})
	}
	if !t.UpdatedAt.IsZero() {
		d = append(d, bson.E{Key: fieldUpdated, Value: t.UpdatedAt})
	}
	if t.Version != 0 {
		d = append(d, bson.E{Key: fieldVersion, Value: t.Version})
	}
	return d
}

// unchanged is a filter that matches the document if it is still as it was read.
func (d document) unchanged() bson.D {
	filter := bson.D{{Key: fieldKey, Value: bson.D{{Key: "$eq", Value: d.raw.Lookup(fieldKey)}}}}
	for _, name := range contentFields {
		v, err := d.raw.LookupErr(name)
		var condition bson.E
		switch {
		case err != nil:
			condition = bson.E{Key: "$exists", Value: false}
		case v.Type == bson.TypeNull, v.Type == bson.TypeUndefined:
			// null in $eq matches a missing field too, undefined is refused.
			condition = bson.E{Key: "$type", Value: int32(v.Type)}
		default:
			condition = bson.E{Key: "$eq", Value: v}
		}
		filter = append(filter, bson.E{Key: name, Value: bson.D{condition}})
	}
	return filter
}

// update changes the document into next, and leaves fields that are not ours.
func (d document) update(next todo.Todo) bson.D {
	set := bson.D{
		{Key: fieldName, Value: next.Name},
		{Key: fieldDescription, Value: next.Description},
		{Key: fieldCompleted, Value: next.Completed},
		{Key: fieldVersion, Value: next.Version},
	}
	var unset bson.D
	for name, at := range map[string]time.Time{fieldCreated: next.CreatedAt, fieldUpdated: next.UpdatedAt} {
		if !at.IsZero() {
			set = append(set, bson.E{Key: name, Value: at})
		} else if _, err := d.raw.LookupErr(name); err == nil {
			unset = append(unset, bson.E{Key: name, Value: ""})
		}
	}
	u := bson.D{{Key: "$set", Value: set}}
	if unset != nil {
		u = append(u, bson.E{Key: "$unset", Value: unset})
	}
	return u
}

// decode reads a document, and keeps nothing of its memory.
func decode(raw bson.Raw) todo.Todo {
	var t todo.Todo
	elements, _ := raw.Elements() // those before a broken one, if there is one
	for _, e := range elements {
		switch v := e.Value(); e.Key() {
		case fieldID:
			t.ID, _ = v.StringValueOK()
		case fieldName:
			t.Name, _ = asText(v)
		case fieldDescription:
			if text, ok := asText(v); ok {
				t.Description = &text
			}
		case fieldCompleted:
			t.Completed = asBool(v)
		case fieldCreated:
			t.CreatedAt = asTime(v)
		case fieldUpdated:
			t.UpdatedAt = asTime(v)
		case fieldVersion:
			t.Version = asInt(v)
		}
	}
	return t
}

// asText reads a string as it is, and whatever else as a person would write it:
// numbers plainly, documents and the like as extended JSON. Null is no text.
func asText(v bson.RawValue) (string, bool) {
	switch v.Type {
	case bson.TypeString:
		return v.StringValueOK()
	case bson.TypeSymbol:
		return v.SymbolOK()
	case bson.TypeNull, bson.TypeUndefined:
		return "", false
	case bson.TypeBoolean:
		b, ok := v.BooleanOK()
		return strconv.FormatBool(b), ok
	case bson.TypeInt32, bson.TypeInt64:
		n, ok := v.AsInt64OK()
		return strconv.FormatInt(n, 10), ok
	case bson.TypeDouble:
		f, ok := v.DoubleOK()
		return strconv.FormatFloat(f, 'g', -1, 64), ok
	case bson.TypeObjectID:
		id, ok := v.ObjectIDOK()
		return id.Hex(), ok
	case bson.TypeDateTime:
		at := asTime(v)
		return at.Format(time.RFC3339Nano), true
	}
	return v.String(), true
}

func asBool(v bson.RawValue) bool {
	switch v.Type {
	case bson.TypeBoolean:
		b, _ := v.BooleanOK()
		return b
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble:
		return asFloat(v) != 0
	case bson.TypeString:
		s, _ := v.StringValueOK()
		b, _ := strconv.ParseBool(s)
		return b
	}
	return false
}

func asTime(v bson.RawValue) time.Time {
	switch v.Type {
	case bson.TypeDateTime:
		ms, _ := v.DateTimeOK()
		return time.UnixMilli(ms).UTC()
	case bson.TypeTimestamp:
		seconds, _, _ := v.TimestampOK()
		return time.Unix(int64(seconds), 0).UTC()
	case bson.TypeString:
		s, _ := v.StringValueOK()
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return time.Time{}
		}
		return at.UTC()
	}
	return time.Time{}
}

func asInt(v bson.RawValue) int64 {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64:
		n, _ := v.AsInt64OK()
		return n
	case bson.TypeDouble:
		if f := asFloat(v); f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return int64(f)
		}
	case bson.TypeString:
		s, _ := v.StringValueOK()
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

func asFloat(v bson.RawValue) float64 {
	if f, ok := v.DoubleOK(); ok {
		return f
	}
	n, _ := v.AsInt64OK()
	return float64(n)
}
