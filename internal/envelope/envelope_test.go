package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
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
		"negative":   {Negative: true, Token: token(3), Stored: stored},
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
			d, err := Decode(b, e.Codec)
			if err != nil {
				t.Fatal(err)
			}
			if d.Negative != e.Negative || d.Codec != e.Codec || d.Version != e.Version || d.Token != e.Token ||
				!d.Stored.Equal(e.Stored) || !bytes.Equal(d.Payload, e.Payload) {
				t.Errorf("got %+v, want %+v", d, e)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := Append(nil, Entry{Codec: 1, Payload: []byte("x")}, -1)
	mutate := func(i int, b byte) []byte {
		m := bytes.Clone(good)
		m[i] = b
		return m
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"empty":            {nil, ErrMalformed},
		"short":            {good[:headerLen-1], ErrMalformed},
		"lease":            {mutate(0, KindLease), ErrMalformed},
		"foreign":          {[]byte(strings.Repeat("{", 64)), ErrMalformed},
		"format":           {mutate(1, 2), ErrFormat},
		"flags":            {mutate(2, 0x80), ErrFormat},
		"codec":            {mutate(3, 2), ErrCodec},
		"bad s2":           {mutate(2, flagS2), ErrMalformed},
		"negative + bytes": {mutate(0, KindNegative), ErrMalformed},
		"s2 bomb":          {append(mutate(2, flagS2)[:headerLen], 0xff, 0xff, 0xff, 0xff, 0x0f), ErrMalformed},
	} {
		if _, err := Decode(c.b, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
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
		e, err := Decode(b, 1)
		if err != nil {
			return
		}
		again, err := Decode(Append(nil, e, -1), e.Codec)
		if err != nil {
			t.Fatalf("decoded %+v, which does not survive a round trip: %v", e, err)
		}
		if !bytes.Equal(again.Payload, e.Payload) || again.Version != e.Version || again.Token != e.Token {
			t.Fatalf("round trip changed %+v into %+v", e, again)
		}
	})
}
