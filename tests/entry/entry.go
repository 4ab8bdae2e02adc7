// Package entry makes and reads the bytes that a cache keeps in L2, for tests
// that forge them or look at them. docs/reference/protocol.md describes them.
package entry

import (
	"errors"
	"reflect"
	"time"

	"github.com/asidecache/aside/internal/envelope"
)

// Value returns a record, encoded as JSON, of a type and of schema version 1 that
// was stored so long ago. Without a payload it is a negative entry: no record.
func Value(payload string, of reflect.Type, age time.Duration) string {
	return string(envelope.Append(nil, envelope.Entry{
		Negative: payload == "", Payload: []byte(payload), Codec: 1, Schema: 1, Type: envelope.TypeOf(of),
		Token: envelope.NewToken(), Stored: time.Now().Add(-age),
	}, -1))
}

// HasSchema reports whether an entry is a record of that schema version, whatever
// its codec.
func HasSchema(entry []byte, schema uint32) bool {
	if len(entry) == 0 || entry[0] != envelope.KindValue {
		return false
	}
	_, err := envelope.Reader{Schema: schema}.Decode(entry)
	return err == nil || errors.Is(err, envelope.ErrCodec) // the schema is looked at before the codec
}
