package record

import (
	"encoding/binary"
	"errors"
)

// Binary is an aside.Codec as a code generator would write it for the record:
// lengths and bytes, in the order of the fields.
type Binary struct{}

// ID implements aside.Codec.
func (Binary) ID() byte { return 64 }

// Encode implements aside.Codec.
func (Binary) Encode(t *Todo) ([]byte, error) {
	b := make([]byte, 0, 16+len(t.ID)+len(t.Name)+len(t.Description))
	for _, s := range []string{t.ID, t.Name, t.Description} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	if t.Completed {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.AppendVarint(b, t.Version), nil
}

var errBinary = errors.New("record: malformed")

// Decode implements aside.Codec.
func (Binary) Decode(data []byte) (*Todo, error) {
	t := new(Todo)
	for _, s := range []*string{&t.ID, &t.Name, &t.Description} {
		n, k := binary.Uvarint(data)
		if k <= 0 || n > uint64(len(data)-k) {
			return nil, errBinary
		}
		*s, data = string(data[k:k+int(n)]), data[k+int(n):]
	}
	if len(data) == 0 || data[0] > 1 {
		return nil, errBinary
	}
	t.Completed = data[0] == 1
	var k int
	if t.Version, k = binary.Varint(data[1:]); k <= 0 || k != len(data)-1 {
		return nil, errBinary
	}
	return t, nil
}
