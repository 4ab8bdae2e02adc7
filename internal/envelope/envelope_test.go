package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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

		"format3-life":     {Codec: 1, Schema: 4, Type: 5, Version: 7, Token: token(6), Stored: stored, Life: 90 * time.Second, Payload: []byte(`{"id":"1"}`)},
		"format3-etag":     {Codec: 1, Token: token(7), Stored: stored, StaleFor: time.Hour, ETag: `W/"67ab43"`, Payload: []byte(strings.Repeat("todo ", 100))},
		"format3-all":      {Codec: 1, Token: token(8), Stored: stored, Life: time.Second, ETag: "e", Tags: []string{"user:1", "list"}, TagEpoch: Epoch{1, 2, 3, 4, 5, 6, 7, 8}, TagSeq: 9, Payload: []byte(`1`)},
		"format3-negative": {Negative: true, Type: 6, Token: token(9), Stored: stored, Life: time.Minute, Tags: []string{"x"}, TagSeq: 1},
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
			if d.Life != e.Life || d.ETag != e.ETag || !slices.Equal(d.Tags, e.Tags) || d.TagEpoch != e.TagEpoch || d.TagSeq != e.TagSeq {
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
		"format":            {mutate(1, 4), ErrFormat},
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
	f.Add(Append(nil, Entry{Codec: 1, Life: time.Second, ETag: "e", Tags: []string{"a", "b"}, TagSeq: 3, Payload: []byte("hello")}, -1))
	f.Add(Append(nil, Entry{Negative: true, Life: time.Second}, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Reader{Codec: 1}.Decode(b)
		if err != nil {
			return
		}
		again, err := Reader{Codec: e.Codec, Schema: e.Schema, Type: e.Type}.Decode(Append(nil, e, -1))
		if err != nil {
			t.Fatalf("decoded %+v, which does not survive a round trip: %v", e, err)
		}
		if !bytes.Equal(again.Payload, e.Payload) || again.Version != e.Version || again.Token != e.Token ||
			again.ETag != e.ETag || again.Life != e.Life || !slices.Equal(again.Tags, e.Tags) {
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
		{Version: 9, Token: token(4), Life: time.Minute, ETag: "e", Payload: []byte("x")},
	} {
		b := Append(nil, e, -1)
		if v, tok, ok := Head(b); !ok || v != e.Version || tok != e.Token {
			t.Errorf("%+v: version %d, token %x, %v", e, v, tok, ok)
		}
		old := append([]byte{b[0], format1}, b[2:header1Len]...)
		if v, tok, ok := Head(old); !ok || v != e.Version || tok != e.Token {
			t.Errorf("%+v in format 1: version %d, token %x, %v", e, v, tok, ok)
		}
		later := append([]byte{b[0], 4}, b[2:]...)
		for _, bad := range [][]byte{nil, b[:1], b[:header2Len-1], old[:header1Len-1], later, append([]byte{KindFence}, b[1:]...)} {
			if v, tok, ok := Head(bad); ok || v != 0 || tok != (Token{}) {
				t.Errorf("%q: version %d, token %x, %v", bad, v, tok, ok)
			}
		}
	}
}

// A token begins with its node, and differs from all others. None is one that means
// something else in a fence: that of the record of all others, or of what a feed told of.
// Caught: of a node whose id is 255 six times, one token in 65,536.
func TestTokensOfANode(t *testing.T) {
	for _, n := range []Node{{1, 2, 3, 4, 5, 6}, {255, 255, 255, 255, 255, 255}, {}} {
		seen := map[Token]bool{}
		for range 500_000 {
			tok := NewTokenOf(n)
			if Node(tok[:]) != n || reserved(tok) {
				t.Fatalf("node %x draws %x", n, tok)
			}
			if len(seen) < 1000 {
				if seen[tok] {
					t.Fatalf("node %x draws %x twice", n, tok)
				}
				seen[tok] = true
			}
		}
	}
	if reserved(Token{1}) || !reserved(Common) || !reserved(Token([]byte(sinceMark+"12345678"))) {
		t.Error("reserved")
	}
}

func TestLeaseIsReadAsItWasWritten(t *testing.T) {
	want := token(7)
	b := AppendLease(nil, want)
	if got, ok := ParseLease(b); !ok || got.Token != want || got.Carried != nil || !Holds(b, want) || Holds(b, token(8)) {
		t.Errorf("%q is read as %x, %v", b, got, ok)
	}
	for _, bad := range []string{"", "L", "L2" + string(b[2:]), "F1" + string(b[2:]), string(b[:17]), string(b) + "x"} {
		if _, ok := ParseLease([]byte(bad)); ok {
			t.Errorf("%q is read as a lease of today's format", bad)
		}
	}
}
