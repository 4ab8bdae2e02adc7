package mongofeed

import (
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func TestKnownIsBounded(t *testing.T) {
	k := newKnown(10)
	for i := range 1000 {
		k.set(fmt.Sprint(i), fact{key: "k"})
		if _, ok := k.get("0"); !ok {
			t.Fatalf("what is used is forgotten after %d others", i)
		}
	}
	if n := len(k.young) + len(k.old); n > 20 {
		t.Errorf("%d are remembered, want 20 at most", n)
	}
	for i := 991; i < 1000; i++ {
		if _, ok := k.get(fmt.Sprint(i)); !ok {
			t.Errorf("%d is forgotten", i)
		}
	}
}

func TestKnownIsRewound(t *testing.T) {
	k := newKnown(10)
	for i := range uint32(15) {
		k.set(fmt.Sprint(i), fact{at: bson.Timestamp{T: i}})
	}
	k.rewind(bson.Timestamp{T: 9})
	for i := range 15 {
		if _, ok := k.get(fmt.Sprint(i)); ok != (i <= 9) {
			t.Errorf("%d is known: %v", i, ok)
		}
	}
}

func TestFormat(t *testing.T) {
	id := bson.NewObjectID()
	for want, v := range map[string]any{
		"text": "text", id.Hex(): id, "-5": int32(-5), "9007199254740993": int64(1<<53 + 1),
		"00112233-4455-6677-8899-aabbccddeeff": bson.Binary{Subtype: 4, Data: []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff")},
	} {
		if got, ok := format(valueOf(t, v)); !ok || got != want {
			t.Errorf("%v: %q, %v", v, got, ok)
		}
	}
	for _, v := range []any{1.5, true, bson.D{}, bson.Binary{Data: []byte("x")}} {
		if got, ok := format(valueOf(t, v)); ok {
			t.Errorf("%v: %q", v, got)
		}
	}
}

// TestEqualIDs: MongoDB takes numbers of equal value for one _id.
func TestEqualIDs(t *testing.T) {
	one := idOf(valueOf(t, int32(1)))
	for _, v := range []any{int64(1), 1.0} {
		if idOf(valueOf(t, v)) != one {
			t.Errorf("%T 1 is another _id than int32 1", v)
		}
	}
	for _, v := range []any{"1", 1.5, int64(2), true} {
		if idOf(valueOf(t, v)) == one {
			t.Errorf("%v is the same _id as 1", v)
		}
	}
}

func valueOf(t *testing.T, v any) bson.RawValue {
	t.Helper()
	kind, b, err := bson.MarshalValue(v)
	if err != nil {
		t.Fatal(err)
	}
	return bson.RawValue{Type: kind, Value: b}
}
