package todoload

import (
	"math"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/internal/todo"
)

// decodeBSON reads a todo as the service writes it, or as older systems did
// (_id, id, name and description only). It adds what is wrong to f.
func decodeBSON(raw bson.Raw, f *Fault, unknown extra) (t todo.Todo) {
	// First, since the accessors below panic on a broken element.
	err := raw.Validate()
	var elements []bson.RawElement
	if err == nil {
		elements, err = raw.Elements()
	}
	if err != nil {
		f.add("", "is not valid BSON: %v", err)
		return t
	}
	var seen seenFields
	for _, e := range elements {
		key, v := e.Key(), e.Value()
		if !seen.first(key) {
			f.add(key, "is there twice")
			continue
		}
		null := v.Type == bson.TypeNull
		switch key {
		case "id":
			t.ID = bsonString(f, key, v)
		case "name":
			t.Name = bsonString(f, key, v)
		case "description":
			if !null {
				s := bsonString(f, key, v)
				t.Description = &s
			}
		case "completed":
			var ok bool
			if t.Completed, ok = v.BooleanOK(); !ok && !null {
				f.add(key, "must be a boolean, is a BSON %s", v.Type)
			}
		case "created_at", "updated_at":
			at, ok := v.TimeOK()
			switch {
			case !ok && !null:
				f.add(key, "must be a date, is a BSON %s", v.Type)
			case ok && key == "created_at":
				t.CreatedAt = at.UTC()
			case ok:
				t.UpdatedAt = at.UTC()
			}
		case "version":
			n, ok := integer(v)
			switch {
			case !ok && !null && !v.IsNumber():
				f.add(key, "must be a whole number from 0, is a BSON %s", v.Type)
			case !null && (!ok || n < 0):
				f.add(key, "must be a whole number from 0, is %s", v)
			}
			t.Version = n
		case "_id":
		default:
			unknown.add(key)
		}
	}
	check(f, t, &seen)
	return t
}

func bsonString(f *Fault, key string, v bson.RawValue) string {
	s, ok := v.StringValueOK()
	switch {
	case !ok:
		f.add(key, "must be a string, is a BSON %s", v.Type)
	case !utf8.ValidString(s):
		f.add(key, "must be valid UTF-8")
	}
	return s
}

// integer also takes a double, since that is what the mongo shell writes.
func integer(v bson.RawValue) (int64, bool) {
	if d, ok := v.DoubleOK(); ok {
		return int64(d), d == math.Trunc(d) && math.Abs(d) < 1<<53
	}
	return v.AsInt64OK()
}

// seenFields knows which fields of a Todo were met in one record.
type seenFields uint8

var fieldBits = map[string]seenFields{
	"id": 1, "name": 2, "description": 4, "completed": 8, "created_at": 16, "updated_at": 32, "version": 64,
}

// first reports whether name was not met before. Fields that a Todo does not
// have may be there any number of times.
func (s *seenFields) first(name string) bool {
	bit := fieldBits[name]
	if *s&bit != 0 {
		return false
	}
	*s |= bit
	return true
}

// check applies the rules that do not depend on the encoding. The service's
// limits for new names and descriptions are not among them: older records may
// pass them, and are read as they are.
func check(f *Fault, t todo.Todo, seen *seenFields) {
	if *seen&fieldBits["id"] == 0 {
		f.add("id", "is missing")
	} else if !f.blames("id") {
		if err := todo.CheckID(t.ID); err != nil {
			f.add("id", "%v", err)
		}
	}
	if *seen&fieldBits["name"] == 0 {
		f.add("name", "is missing")
	}
	f.ID = t.ID
}
