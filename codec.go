package aside

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/asidecache/aside/internal/plainjson"
)

// Codec encodes values for L2 and decodes them. It must be safe for concurrent use.
// Decode must not keep or change data.
//
// ID is stored with every entry. An entry with the ID of another codec is a miss and
// is replaced. IDs below 64 are reserved for this package. Use a new ID, or a new
// Options.SchemaVersion, when the encoding changes.
type Codec[V any] interface {
	ID() byte
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// JSON is the default codec. It writes and reads what encoding/json does, and its ID is
// 1. It leaves out unexported fields and fields with the tag json:"-". A value in a
// field of type any comes back as the type that encoding/json chooses: an int as a
// float64, a struct as a map. JSON does not decode null, unless V itself is encoded as
// null.
//
// Plain types are decoded several times faster than by encoding/json: those made of
// strings, numbers, bools, []byte, time.Time, types with MarshalText and UnmarshalText,
// and of structs, slices, arrays, pointers and maps of these, with strings as keys. If any
// part of V is another type, such as one with MarshalJSON, an interface or a type that
// contains itself, encoding/json does all the work.
type JSON[V any] struct{}

// ID implements Codec.
func (JSON[V]) ID() byte { return 1 }

// Encode implements Codec.
func (JSON[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

// Decode implements Codec.
func (c JSON[V]) Decode(data []byte) (V, error) {
	if t := plainjson.For(reflect.TypeFor[V]()); t != nil {
		var v V
		if t.Decode(data, reflect.ValueOf(&v).Elem()) {
			return v, nil
		}
	}
	return c.decode(data)
}

// decode is apart, since each variable whose address is taken costs an allocation.
func (c JSON[V]) decode(data []byte) (v V, err error) {
	if err = json.Unmarshal(data, &v); err == nil && isNull(data) {
		if back, err := c.Encode(v); err != nil || !isNull(back) {
			return v, errors.New("aside: null is no value of this type")
		}
	}
	return v, err
}

func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }

// Binary is a codec for types with an encoding of their own, such as generated
// types: Binary[Todo, *Todo], if *Todo has MarshalBinary and UnmarshalBinary. It pays
// for large values, and for those that encoding/json must decode. Its ID is 2.
type Binary[T any, P interface {
	*T
	encoding.BinaryMarshaler
	encoding.BinaryUnmarshaler
}] struct{}

// ID implements Codec.
func (Binary[T, P]) ID() byte { return 2 }

// Encode implements Codec.
func (Binary[T, P]) Encode(v T) ([]byte, error) { return P(&v).MarshalBinary() }

// Decode implements Codec.
func (Binary[T, P]) Decode(data []byte) (v T, err error) {
	err = P(&v).UnmarshalBinary(data)
	return v, err
}
