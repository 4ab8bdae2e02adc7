package aside

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
)

// Codec turns values into bytes for L2 and back. It must be safe for concurrent
// use, and Decode must not keep or change data.
//
// ID is stored with every entry: an entry of another codec counts as a miss and
// is replaced. IDs below 64 are for this package; use others for your own, and
// a new one (or a new Options.SchemaVersion) when the encoding changes.
type Codec[V any] interface {
	ID() byte
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// JSON is the default codec, encoding/json. Its ID is 1. It leaves out fields that are
// unexported or have the tag json:"-", and what a V holds as any comes back as the
// type that JSON has for it: an int as a float64, a struct as a map. It refuses null for a V that
// it would not have encoded so.
type JSON[V any] struct{}

// ID implements Codec.
func (JSON[V]) ID() byte { return 1 }

// Encode implements Codec.
func (JSON[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

// Decode implements Codec.
func (c JSON[V]) Decode(data []byte) (v V, err error) {
	if err = json.Unmarshal(data, &v); err == nil && isNull(data) {
		if back, err := c.Encode(v); err != nil || !isNull(back) {
			return v, errors.New("aside: null is no value of this type")
		}
	}
	return v, err
}

func isNull(data []byte) bool { return string(bytes.TrimSpace(data)) == "null" }

// Binary is a codec for types with an encoding of their own, such as generated
// ones: Binary[Todo, *Todo] where *Todo has MarshalBinary and UnmarshalBinary. A
// hit in L2 is mostly its decoding, so a quick one shows. Its ID is 2.
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
