package envelope

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The bytes are in redisl2/testdata, since it is Redis' scripts that write them.
func TestFenceIsReadAsItWasWritten(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, f := range []Fence{
		{Writers: []Writer{{Token: token(1)}}},
		{Shared: true, Writers: []Writer{{token(1), at}, {token(2), at.Add(time.Second)}}},
		{Shared: true, Writers: []Writer{{token(1), at}, {Common, at.Add(time.Second)}}},
		{Writers: []Writer{{Token: token(1)}}, Since: 1},
		{Shared: true, Writers: []Writer{{token(0xfe), at}}, Since: 1<<64 - 1},
		{Shared: true, Since: 7},
	} {
		b := f.Append(nil)
		if got, ok := ParseFence(b); !ok || !reflect.DeepEqual(got, f) {
			t.Errorf("%q is read as %+v, %v", b, got, ok)
		}
		marked := f
		marked.Shared = true
		if got, ok := ParseFence(MarkFence(b)); !ok || !reflect.DeepEqual(got, marked) {
			t.Errorf("%q, marked: %+v, %v", b, got, ok)
		}
	}
}

// What is not of today's format is not read, and can be marked all the same.
// Caught: a parser that leaves out what it cannot read.
func TestFencesNotUnderstood(t *testing.T) {
	record := string(bytes.Repeat([]byte{7}, TokenLen)) + "0000000000000"
	for _, c := range []struct{ b, marked string }{
		{"F", "F1"},
		{"F0", "F1"},
		{"F1", "F1"},
		{"FOO", "FOO"}, // O is odd
		{"F2" + record, "F3" + record},
		{"F3" + record, "F3" + record},
		{"F\x00" + record, "F\x01" + record},
		{"F\xfe" + record, "F\xff" + record},
		{"F0" + record[1:], "F1" + record[1:]},
		{"F0" + record + "x", "F1" + record + "x"},
		{"F0" + strings.Replace(record, "0", "-", 1), "F1" + strings.Replace(record, "0", "-", 1)},
		{"F0" + record + record[:28] + ":", "F1" + record + record[:28] + ":"},
	} {
		if f, ok := ParseFence([]byte(c.b)); ok {
			t.Errorf("%q is read as %+v", c.b, f)
		}
		if got := string(MarkFence([]byte(c.b))); got != c.marked {
			t.Errorf("%q, marked: %q, want %q", c.b, got, c.marked)
		}
	}
	for _, s := range []string{"", "V0" + record, "L0" + record} {
		if f, ok := ParseFence([]byte(s)); ok {
			t.Errorf("%q is read as the fence %+v", s, f)
		}
	}
}
