package s2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/asidecache/aside/internal/envelope"
)

const flagS2 = 1 // of the header's third byte

// Releases that compressed with S2 wrote this header before the block.
func entryOf(block []byte) []byte {
	e := envelope.Append(nil, envelope.Entry{Payload: []byte{}, Codec: 1, Schema: 1, Type: 1}, -1)
	e[2] = flagS2
	return append(e, block...)
}

var reader = envelope.Reader{Codec: 1, Schema: 1, Type: 1, MaxPayload: 1 << 20}

// payloads are texts with repeats of many lengths and distances.
func payloads() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	all := map[string][]byte{
		"one letter": bytes.Repeat([]byte("a"), 100_000),
		"one record": []byte(strings.Repeat(`{"id":"1","name":"write the report","completed":false},`, 2000)),
	}
	for _, period := range []int{3, 64, 2047, 2048, 65_535, 70_000} {
		part := make([]byte, period)
		for i := range part {
			part[i] = byte(rnd.Uint32())
		}
		all[fmt.Sprint("period ", period)] = bytes.Repeat(part, 1+200_000/period)
	}
	var mixed []byte
	for range 2000 {
		if n := rnd.IntN(300); len(mixed) > n && rnd.IntN(3) > 0 {
			at := rnd.IntN(len(mixed) - n)
			mixed = append(mixed, mixed[at:at+n]...)
		} else {
			mixed = append(mixed, fmt.Sprint(rnd.Uint64())...)
		}
	}
	all["mixed"] = mixed
	return all
}

// Entries that were compressed with S2 are read. Caught: each of the four kinds of
// elements left out, and a repeat of the wrong length.
func TestBlocksOfS2AreRead(t *testing.T) {
	for name, plain := range payloads() {
		for level, encode := range map[string]func(dst, src []byte) []byte{"default": s2.Encode, "better": s2.EncodeBetter, "best": s2.EncodeBest} {
			e, err := reader.Decode(entryOf(encode(nil, plain)))
			if err != nil || !bytes.Equal(e.Payload, plain) {
				t.Errorf("%s, %s: %d bytes, want %d; %v", name, level, len(e.Payload), len(plain), err)
			}
		}
	}
}

// What is written now can be read by a release that knows S2.
func TestOurBlocksAreS2(t *testing.T) {
	head := len(envelope.Append(nil, envelope.Entry{Payload: []byte{}, Codec: 1}, -1))
	for name, plain := range payloads() {
		e := envelope.Append(nil, envelope.Entry{Payload: plain, Codec: 1, Schema: 1, Type: 1}, 0)
		if e[2]&flagS2 == 0 {
			if len(e) < len(plain) || strings.HasPrefix(name, "one") {
				t.Errorf("%s: not compressed", name)
			}
			continue // it would not have become smaller
		}
		got, err := s2.Decode(nil, e[head:])
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, want %d; %v", name, len(got), len(plain), err)
		}
	}
}

// Of any bytes, both make the same, or both nothing.
func FuzzBlocks(f *testing.F) {
	for _, plain := range payloads() {
		f.Add(s2.Encode(nil, plain[:3000]))
		f.Add(s2.EncodeBest(nil, plain[:3000]))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		if n, _ := binary.Uvarint(block); n > 1<<20 {
			t.Skip("no memory is taken for these")
		}
		want, wantErr := s2.Decode(nil, block)
		e, err := reader.Decode(entryOf(block))
		if err != nil && !errors.Is(err, envelope.ErrMalformed) {
			t.Fatal(err)
		}
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(e.Payload, want) {
			t.Fatalf("%x: %x, %v; s2: %x, %v", block, e.Payload, err, want, wantErr)
		}
	})
}
