package envelope

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"
)

// An entry that needs nothing more is of format 2, byte by byte as before.
// Caught: format 3 for every entry, which the release before reads as a miss.
func TestFormat3IsForThoseWhoNeedIt(t *testing.T) {
	for want, es := range map[byte][]Entry{
		format2: {{Payload: []byte("x")}, {Negative: true}, {Elsewhere: true}, {Payload: []byte("x"), StaleFor: time.Hour}, {Payload: []byte("x"), TagSeq: 4}},
		format3: {{Life: 1}, {ETag: "e"}, {Tags: []string{"t"}}, {Negative: true, Life: time.Hour}, {Elsewhere: true, Tags: []string{"t"}}},
	} {
		for _, e := range es {
			if b := Append(nil, e, -1); b[1] != want {
				t.Errorf("%+v is of format %d, want %d", e, b[1], want)
			}
		}
	}
}

// extended is an entry of format 3 whose extension has these bytes.
func extendedBy(ext ...byte) []byte {
	b := Append(nil, Entry{Codec: 1}, -1)
	b[1] = format3
	b = append(b, byte(len(ext)>>8), byte(len(ext)))
	return append(append(b, ext...), "payload"...)
}

// A later release may add records.
// Caught: a reader that refuses a record that it does not know.
func TestUnknownRecordsAreSkipped(t *testing.T) {
	e, err := Reader{Codec: 1}.Decode(extendedBy(99, 0, 3, 1, 2, 3, extETag, 0, 1, 'e', 200, 0, 0))
	if err != nil || e.ETag != "e" || string(e.Payload) != "payload" {
		t.Errorf("%+v, %v", e, err)
	}
}

// Whatever the extension says, memory is taken for no more than is there, and nothing of
// it is taken for the payload.
// Caught: a length beyond the end, which panicked; an empty tag.
func TestBadExtensions(t *testing.T) {
	whole := extendedBy(extETag, 0, 1, 'e')
	for name, b := range map[string][]byte{
		"no length":           whole[:header2Len],
		"half a length":       whole[:header2Len+1],
		"shorter than stated": whole[:header2Len+2+3],
		"record cut off":      extendedBy(extETag, 0),
		"record too long":     extendedBy(extETag, 0, 9, 'e'),
		"life of 7 bytes":     extendedBy(extLife, 0, 7, 0, 0, 0, 0, 0, 0, 1),
		"tags without head":   extendedBy(extTags, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		"tag cut off":         extendedBy(append([]byte{extTags, 0, 18}, append(make([]byte, 16), 2, 'x')...)...),
		"empty tag":           extendedBy(append([]byte{extTags, 0, 17}, make([]byte, 17)...)...),
	} {
		if e, err := (Reader{Codec: 1}).Decode(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// What the extension holds is bounded by what is written into it: the largest is read.
func TestLargestExtension(t *testing.T) {
	e := Entry{Codec: 1, Life: 1<<63 - 1, ETag: string(bytes.Repeat([]byte("e"), MaxETag)), Payload: []byte("x")}
	for i := range MaxTags {
		e.Tags = append(e.Tags, string(bytes.Repeat([]byte{byte('a' + i)}, MaxTag)))
	}
	b := Append(nil, e, -1)
	d, err := Reader{Codec: 1}.Decode(b)
	if err != nil || !reflect.DeepEqual(d.Tags, e.Tags) || d.ETag != e.ETag || d.Life != e.Life.Truncate(time.Millisecond) || string(d.Payload) != "x" {
		t.Errorf("%v: %+v", err, d)
	}
	if len(b) > MaxHeaderLen+1 || cap(b) < len(b) {
		t.Errorf("%d bytes", len(b))
	}
}
