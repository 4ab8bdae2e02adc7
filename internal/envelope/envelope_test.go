package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

func token(b byte) (t Token) {
	for i := range t {
		t[i] = b
	}
	return t
}

func TestGolden(t *testing.T) {
	stored := time.UnixMilli(1_700_000_000_123)
	for name, e := range map[string]Entry{
		"value":      {Codec: 1, Version: 7, Token: token(0xab), Stored: stored, Payload: []byte(`{"id":"1"}`)},
		"empty":      {Codec: 1, Token: token(1), Stored: stored, Payload: []byte{}},
		"compressed": {Codec: 9, Version: 1 << 63, Token: token(2), Stored: stored, Payload: []byte(strings.Repeat("todo ", 100))},
		"negative":   {Negative: true, Type: 6, Token: token(3), Stored: stored},
		"stale":      {Codec: 1, Schema: 4, Type: 5, Token: token(4), Stored: stored, StaleFor: time.Hour, Payload: []byte(`1`)},
		"elsewhere":  {Codec: 1, Schema: 4, Type: 5, Token: token(5), Stored: stored, Elsewhere: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := Append(nil, e, 100)
			file := filepath.Join("testdata", name+".hex")
			if *rewrite {
				if err := os.WriteFile(file, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(b) + "\n"; got != string(want) {
				t.Errorf("encoding changed: entries of other releases become unreadable\n got %s\nwant %s", got, want)
			}
			d, err := Reader{Codec: e.Codec, Schema: e.Schema, Type: e.Type}.Decode(b)
			if err != nil {
				t.Fatal(err)
			}
			if d.Elsewhere != e.Elsewhere || d.Schema != e.Schema || d.Type != e.Type || d.StaleFor != e.StaleFor || StaleFor(b) != e.StaleFor || d.Negative != e.Negative || d.Codec != e.Codec || d.Version != e.Version || d.Token != e.Token ||
				!d.Stored.Equal(e.Stored) || !bytes.Equal(d.Payload, e.Payload) {
				t.Errorf("got %+v, want %+v", d, e)
			}
		})
	}
}

// Entries that older releases wrote are read. Their files are never rewritten.
// Caught: a Decode that knows format 2 only; one that knows Snappy only.
func TestReadsOlderEntries(t *testing.T) {
	for name, want := range map[string]Entry{
		"format1-value":      {Schema: 3, Codec: 1, Version: 7, Token: token(0xab), Payload: []byte(`{"id":"1"}`)},
		"format1-compressed": {Schema: 3, Codec: 9, Version: 1 << 63, Token: token(2), Payload: []byte(strings.Repeat("todo ", 100))},
		"format1-negative":   {Schema: 3, Negative: true, Token: token(3)},
		"format2-s2":         {Codec: 9, Version: 1 << 63, Token: token(2), Payload: []byte(strings.Repeat("todo ", 100))},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		d, err := Reader{Codec: want.Codec, Schema: want.Schema, Type: 4}.Decode(b)
		if err != nil || d.Negative != want.Negative || d.Version != want.Version || d.Token != want.Token || !bytes.Equal(d.Payload, want.Payload) {
			t.Errorf("%s: got %+v, %v, want %+v", name, d, err, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := Append(nil, Entry{Codec: 1, Schema: 2, Type: 3, Payload: []byte("x")}, -1)
	mutate := func(i int, b byte) []byte {
		m := bytes.Clone(good)
		m[i] = b
		return m
	}
	reader := Reader{Codec: 1, Schema: 2, Type: 3, MaxPayload: 1000}
	if _, err := reader.Decode(good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":             {nil, ErrMalformed},
		"short":             {good[:header2Len-1], ErrMalformed},
		"short, format 1":   {mutate(1, format1)[:header1Len-1], ErrMalformed},
		"lease":             {mutate(0, KindLease), ErrMalformed},
		"foreign":           {[]byte(strings.Repeat("{", 64)), ErrMalformed},
		"format":            {mutate(1, 3), ErrFormat},
		"flags":             {mutate(2, 0x80), ErrFormat},
		"format 1, flags":   {append(mutate(2, flagElsewhere)[:1], append([]byte{format1}, mutate(2, flagElsewhere)[2:]...)...), ErrFormat},
		"codec":             {mutate(3, 2), ErrCodec},
		"schema":            {mutate(header1Len+8+3, 9), ErrSchema},
		"type":              {mutate(header1Len+12+3, 9), ErrType},
		"bad s2":            {mutate(2, flagS2), ErrMalformed},
		"negative + bytes":  {mutate(0, KindNegative), ErrMalformed},
		"elsewhere + bytes": {mutate(2, flagElsewhere), ErrMalformed},
		"s2 bomb":           {append(mutate(2, flagS2)[:header2Len], 0xff, 0xff, 0xff, 0xff, 0x0f), ErrTooLarge},
		"large":             {append(bytes.Clone(good), make([]byte, 1000)...), ErrTooLarge},
	} {
		if _, err := reader.Decode(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// A negative entry says nothing of the value's shape, so it holds for all schemas.
// Where a reader or an entry does not know its type, the type is not compared.
func TestDecodeAccepts(t *testing.T) {
	for name, e := range map[string]Entry{
		"negative of another schema and codec": {Negative: true, Codec: 9, Schema: 9, Type: 3},
		"elsewhere of another schema":          {Elsewhere: true, Codec: 9, Schema: 9, Type: 3},
		"type not known":                       {Codec: 1, Schema: 2, Payload: []byte("x")},
	} {
		if _, err := (Reader{Codec: 1, Schema: 2, Type: 3}).Decode(Append(nil, e, -1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A type's number is its name's, and stays.
func TestTypeOf(t *testing.T) {
	a, b := TypeOf(reflect.TypeFor[Entry]()), TypeOf(reflect.TypeFor[*Entry]())
	if a == b || a == 0 || a != TypeOf(reflect.TypeFor[Entry]()) {
		t.Errorf("%d, %d", a, b)
	}
	if n := TypeOf(reflect.TypeFor[string]()); n != 0x17c16538 {
		t.Errorf("string: %#x", n)
	}
}

// A sentinel that can be told from no user value: whatever the payload, the
// entry's kind is the envelope's own byte.
func TestPayloadCannotBecomeASentinel(t *testing.T) {
	for _, p := range []string{"L", "F", "N", "L0123456789abcdef", "F0", ""} {
		if b := Append(nil, Entry{Payload: []byte(p)}, -1); b[0] != KindValue {
			t.Errorf("payload %q stored as kind %q", p, b[0])
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Append(nil, Entry{Codec: 1, Payload: []byte("hello")}, -1))
	f.Add(Append(nil, Entry{Codec: 1, Payload: bytes.Repeat([]byte("a"), 300)}, 1))
	f.Add(Append(nil, Entry{Negative: true}, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Reader{Codec: 1}.Decode(b)
		if err != nil {
			return
		}
		again, err := Reader{Codec: e.Codec, Schema: e.Schema, Type: e.Type}.Decode(Append(nil, e, -1))
		if err != nil {
			t.Fatalf("decoded %+v, which does not survive a round trip: %v", e, err)
		}
		if !bytes.Equal(again.Payload, e.Payload) || again.Version != e.Version || again.Token != e.Token {
			t.Fatalf("round trip changed %+v into %+v", e, again)
		}
	})
}

// Head agrees with Decode on every entry that Decode reads, and reads none of what is cut
// off.
// Caught: an entry of format 2 that is as long as one of format 1.
func TestHead(t *testing.T) {
	for _, e := range []Entry{
		{Version: 7, Token: token(1), Payload: []byte("x")},
		{Version: 1<<64 - 1, Token: token(2), Elsewhere: true},
		{Negative: true, Token: token(3)},
	} {
		b := Append(nil, e, -1)
		if v, tok, ok := Head(b); !ok || v != e.Version || tok != e.Token {
			t.Errorf("%+v: version %d, token %x, %v", e, v, tok, ok)
		}
		old := append([]byte{b[0], format1}, b[2:header1Len]...)
		if v, tok, ok := Head(old); !ok || v != e.Version || tok != e.Token {
			t.Errorf("%+v in format 1: version %d, token %x, %v", e, v, tok, ok)
		}
		later := append([]byte{b[0], 3}, b[2:]...)
		for _, bad := range [][]byte{nil, b[:1], b[:header2Len-1], old[:header1Len-1], later, append([]byte{KindFence}, b[1:]...)} {
			if v, tok, ok := Head(bad); ok || v != 0 || tok != (Token{}) {
				t.Errorf("%q: version %d, token %x, %v", bad, v, tok, ok)
			}
		}
	}
}
