package mongostore

import (
	"bytes"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/loose"
)

const (
	fieldKey         = "_id"
	fieldID          = loose.FieldID
	fieldName        = loose.FieldName
	fieldDescription = loose.FieldDescription
	fieldCompleted   = loose.FieldCompleted
	fieldCreated     = loose.FieldCreated
	fieldUpdated     = loose.FieldUpdated
	fieldVersion     = loose.FieldVersion
)

// ourFields is the projection of every read: a document may have other fields, up to
// 16 MiB, which the service does not need.
var ourFields = bson.D{
	{Key: fieldID, Value: 1}, {Key: fieldName, Value: 1}, {Key: fieldDescription, Value: 1}, {Key: fieldCompleted, Value: 1},
	{Key: fieldCreated, Value: 1}, {Key: fieldUpdated, Value: 1}, {Key: fieldVersion, Value: 1},
}

// contentFields are the fields that must be unchanged when an update is written. The
// version alone is not enough: older systems do not count it.
var contentFields = [...]string{fieldID, fieldName, fieldDescription, fieldCompleted, fieldVersion}

// document is a todo and the document from which it was read.
type document struct {
	todo todo.Todo
	raw  bson.Raw
}

// newDocument copies raw, whose memory belongs to the driver. ok is false if the
// document is not a todo.
func newDocument(raw bson.Raw) (d document, ok bool) {
	t, ok := decode(raw)
	if !ok {
		return document{}, false
	}
	return document{t, bytes.Clone(raw)}, true
}

// encode returns the document of a new record. It keeps times in milliseconds. The _id
// equals the ID. So two inserts of one ID collide even if duplicates in old data make a
// unique index on id impossible.
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

// unchanged returns a filter that matches the document if it has not changed since it
// was read.
func (d document) unchanged() bson.D {
	filter := bson.D{{Key: fieldKey, Value: bson.D{{Key: "$eq", Value: d.raw.Lookup(fieldKey)}}}}
	for _, name := range contentFields {
		v, err := d.raw.LookupErr(name)
		var condition bson.E
		switch {
		case err != nil:
			condition = bson.E{Key: "$exists", Value: false}
		case v.Type == bson.TypeNull, v.Type == bson.TypeUndefined:
			// null in $eq matches a missing field too. undefined is refused.
			condition = bson.E{Key: "$type", Value: int32(v.Type)}
		default:
			condition = bson.E{Key: "$eq", Value: v}
		}
		filter = append(filter, bson.E{Key: name, Value: bson.D{condition}})
	}
	return filter
}

// update returns the command that changes the document into next. It does not touch
// unknown fields, nor fields whose shown value does not change: the stored value may
// be one that cannot be shown, such as a date after the year 9999, and must not be lost
// when another field changes.
func (d document) update(next todo.Todo) bson.D {
	set := bson.D{{Key: fieldVersion, Value: next.Version}}
	if next.Name != d.todo.Name {
		set = append(set, bson.E{Key: fieldName, Value: next.Name})
	}
	if a, b := next.Description, d.todo.Description; (a == nil) != (b == nil) || a != nil && *a != *b {
		set = append(set, bson.E{Key: fieldDescription, Value: next.Description})
	}
	if next.Completed != d.todo.Completed {
		set = append(set, bson.E{Key: fieldCompleted, Value: next.Completed})
	}
	var unset bson.D
	for _, f := range []struct {
		name     string
		old, new time.Time
	}{{fieldCreated, d.todo.CreatedAt, next.CreatedAt}, {fieldUpdated, d.todo.UpdatedAt, next.UpdatedAt}} {
		switch {
		case f.new.Equal(f.old):
		case f.new.IsZero():
			unset = append(unset, bson.E{Key: f.name, Value: ""})
		default:
			set = append(set, bson.E{Key: f.name, Value: f.new})
		}
	}
	u := bson.D{{Key: "$set", Value: set}}
	if unset != nil {
		u = append(u, bson.E{Key: "$unset", Value: unset})
	}
	return u
}

// decode reads a document and does not keep its memory. ok is false if it is not a todo.
func decode(raw bson.Raw) (t todo.Todo, ok bool) {
	t, err := loose.Decode(raw, nil, nil)
	return t, err == nil
}
