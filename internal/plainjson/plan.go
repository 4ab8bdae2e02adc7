// Package plainjson reads the JSON of plain types as encoding/json does, several times
// faster. It never answers differently: where it is not sure, it says so, and its caller
// asks encoding/json.
//
//   - A type is plain if For says so. Of its methods encoding/json uses none, but those
//     for text.
//   - Decode reads what json.Marshal writes: no spaces, the names of fields spelled as
//     they are and in their order, each once. Such a text has one meaning. It gives up
//     on every other text, right or wrong. So it has no errors of its own, and no rules
//     for letters of another case, repeated names, unknown names or broken UTF-8.
package plainjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
	"time"
)

// kind is how a value is read.
type kind uint8

const (
	boolean kind = iota
	signed
	unsigned
	float
	text    // of kind string
	encoded // []byte, in base64
	moment  // time.Time
	speaks  // has MarshalText and UnmarshalText
	pointer
	slice
	array
	mapping
	object
)

// Type is how the values of a type are read.
type Type struct {
	kind   kind
	typ    reflect.Type
	bits   int     // of a float
	elem   *Type   // of a pointer, slice, array or map
	fields []field // of an object, in the order in which they are written
}

var types sync.Map // reflect.Type to *Type, nil if it is not plain

// For returns nil if t is not plain.
func For(t reflect.Type) *Type {
	if p, ok := types.Load(t); ok {
		return p.(*Type)
	}
	p, _ := types.LoadOrStore(t, planner{}.plan(t))
	return p.(*Type)
}

// planner has the types that were met: nil for one whose plan is being made.
type planner map[reflect.Type]*Type

// plan returns nil if t is not plain. A type that contains itself is not: its values
// can have circles, and encoding/json limits how deep a text goes.
func (p planner) plan(t reflect.Type) *Type {
	if made, ok := p[t]; ok {
		return made
	}
	p[t] = nil
	made := p.make(t)
	p[t] = made
	return made
}

func (p planner) make(t reflect.Type) *Type {
	if t == reflect.TypeFor[time.Time]() {
		return &Type{kind: moment, typ: t}
	}
	if t.Kind() == reflect.Pointer {
		return (&Type{kind: pointer, typ: t}).of(p.plan(t.Elem()))
	}
	if t == reflect.TypeFor[json.Number]() || writesItself(t) {
		return nil
	}
	if hasAny(t, forText) {
		// A MarshalText of *T is called for values that have an address, and not for others.
		if t.Kind() != reflect.Interface && t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) &&
			reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return &Type{kind: speaks, typ: t}
		}
		return nil
	}
	made := &Type{typ: t}
	switch t.Kind() {
	case reflect.Bool:
		made.kind = boolean
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		made.kind = signed
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		made.kind = unsigned
	case reflect.Float32, reflect.Float64:
		made.kind, made.bits = float, t.Bits()
	case reflect.String:
		made.kind = text
	case reflect.Slice:
		switch e := t.Elem(); {
		case e == reflect.TypeFor[byte]():
			made.kind = encoded
			return made
		case e.Kind() == reflect.Uint8:
			return nil // a named byte is where releases of Go differ
		}
		made.kind = slice
		return made.of(p.plan(t.Elem()))
	case reflect.Array:
		made.kind = array
		return made.of(p.plan(t.Elem()))
	case reflect.Map:
		if k := p.plan(t.Key()); k == nil || k.kind != text {
			return nil
		}
		made.kind = mapping
		return made.of(p.plan(t.Elem()))
	case reflect.Struct:
		made.kind = object
		if made.fields = p.fields(t, nil); len(made.fields) == 0 || repeated(made.fields) {
			return nil
		}
	default:
		return nil
	}
	return made
}

func (t *Type) of(elem *Type) *Type {
	if elem == nil {
		return nil
	}
	t.elem = elem
	return t
}

// forJSON and forText are the interfaces that encoding/json looks for.
var (
	forJSON = []reflect.Type{
		reflect.TypeFor[json.Marshaler](),
		reflect.TypeFor[json.Unmarshaler](),
	}
	forText = []reflect.Type{
		reflect.TypeFor[encoding.TextMarshaler](),
		reflect.TypeFor[encoding.TextUnmarshaler](),
		reflect.TypeFor[encoding.TextAppender](),
	}
)

// writesItself tells if t or *t has a method for JSON. Those of encoding/json/v2 are
// known by their names, since their types are not in each release.
func writesItself(t reflect.Type) bool {
	if hasAny(t, forJSON) {
		return true
	}
	_, to := reflect.PointerTo(t).MethodByName("MarshalJSONTo")
	_, from := reflect.PointerTo(t).MethodByName("UnmarshalJSONFrom")
	return to || from
}

// hasAny tells if t or *t has the methods of one of the interfaces.
func hasAny(t reflect.Type, interfaces []reflect.Type) bool {
	for _, i := range interfaces {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}
