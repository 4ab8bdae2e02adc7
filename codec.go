package aside

import "encoding/json"

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

// JSON is the default codec, encoding/json. Its ID is 1.
type JSON[V any] struct{}

// ID implements Codec.
func (JSON[V]) ID() byte { return 1 }

// Encode implements Codec.
func (JSON[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

// Decode implements Codec.
func (JSON[V]) Decode(data []byte) (v V, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}
