package aside_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/asidetest"
	"github.com/asidecache/aside/internal/envelope"
)

// sameKey is what an application checks.
func sameKey(k string, r rec) error {
	switch {
	case r.Version < 0:
		panic("a version below zero")
	case r.Key != k:
		return fmt.Errorf("it is the record of %q", r.Key)
	}
	return nil
}

// forged makes an entry that is well-formed, and as old as that.
func forged(payload string, age time.Duration) []byte {
	return envelope.Append(nil, envelope.Entry{
		Negative: payload == "", Payload: []byte(payload), Codec: 1, Type: envelope.TypeOf(reflect.TypeFor[rec]()),
		Token: envelope.NewToken(), Stored: time.Now().Add(-age),
	}, -1)
}

// What L2 has is a miss, and is replaced, unless it can be what a node has stored
// there: for a read of one key and for one of several. Caught: the record of another
// key, and the zero value for null, handed out as the record; an absence, or an old
// record, for ever.
func TestWhatL2HasIsNotTrusted(t *testing.T) {
	for name, entry := range map[string][]byte{
		"another record":              forged(`{"Key":"other","Version":7}`, 0),
		"null":                        forged(`null`, 0),
		"null with blanks":            forged(" null\n", 0),
		"no field of it":              forged(`{}`, 0),
		"Validate panics":             forged(`{"Key":"k","Version":-1}`, 0),
		"a record without an end":     forged(`{"Key":"k","Version":1}`, 2*time.Hour),
		"an absence without an end":   forged("", 2*time.Hour),
		"a record from the future":    forged(`{"Key":"k","Version":1}`, -2*time.Hour),
		"an absence from the future":  forged("", -2*time.Hour),
		"an absence of a distant age": forged("", 200*365*24*time.Hour),
	} {
		for _, many := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, many %v", name, many), func(t *testing.T) {
				s := &asidetest.Server{}
				p := newPrimary("k", "k", "l")
				n := newNode(t, p, s, func(o *options) { o.Validate = sameKey; o.L1Size = -1 })
				n.want("l", 1, aside.SourceLoad)
				n.settled("l")
				s.SetEntry(testPrefix+"k", entry, 0)
				if many {
					all, err := n.ReadMany(t.Context(), []string{"k", "l"}, p, aside.Default)
					if k, l := all["k"], all["l"]; err != nil || k.Value != (rec{"k", 2}) || k.Source != aside.SourceLoad || l.Value != (rec{"l", 1}) || l.Source != aside.SourceL2 {
						t.Errorf("%+v, %v", all, err)
					}
				} else {
					n.want("k", 2, aside.SourceLoad)
				}
				n.settled("k")
				newNode(t, p, s, func(o *options) { o.Validate = sameKey }).want("k", 2, aside.SourceL2)
				panics := uint64(0)
				if name == "Validate panics" {
					panics = 1
				}
				if st := n.Stats(); st.Undecodable != 1 || st.Panics != panics || st.L2Errors != 0 {
					t.Errorf("%d undecodable, %d panics, %d errors of L2", st.Undecodable, st.Panics, st.L2Errors)
				}
			})
		}
	}
}

// A stale value stands in for a load that failed only if it is the key's own.
func TestStaleValuesAreValidated(t *testing.T) {
	for _, tt := range []struct {
		payload string
		want    error
	}{{`{"Key":"k","Version":1}`, nil}, {`{"Key":"other","Version":1}`, errDown}, {`null`, errDown}} {
		s := &asidetest.Server{}
		p := newPrimary("k")
		n := newNode(t, p, s, func(o *options) { o.Validate, o.StaleFor = sameKey, time.Hour })
		entry := envelope.Append(nil, envelope.Entry{
			Payload: []byte(tt.payload), Codec: 1, Type: envelope.TypeOf(reflect.TypeFor[rec]()), Stored: time.Now(), StaleFor: time.Hour,
		}, -1)
		s.SetEntry(testPrefix+"k", entry, time.Minute)
		p.fail(errDown)
		if r, err := n.Read(t.Context(), "k", p, aside.Default); !errors.Is(err, tt.want) || err == nil && !r.Stale {
			t.Errorf("%s: %+v, %v", tt.payload, r, err)
		}
	}
}

// Loaders and writes are the application itself: what they say is not validated.
func TestOwnValuesAreNotValidated(t *testing.T) {
	p := newPrimary("k")
	n := newNode(t, p, &asidetest.Server{}, func(o *options) {
		o.Validate = func(string, rec) error { return errors.New("never good") }
	})
	n.want("k", 1, aside.SourceLoad)
	n.settled("k")
	n.want("k", 1, aside.SourceL1)
	n.update("k")
	n.want("k", 2, aside.SourceL1)
}

// null stays a value of the types that are encoded so.
func TestNullOfJSON(t *testing.T) {
	if v, err := (aside.JSON[*rec]{}).Decode([]byte("null")); err != nil || v != nil {
		t.Errorf("a pointer: %v, %v", v, err)
	}
	if v, err := (aside.JSON[any]{}).Decode([]byte("null")); err != nil || v != nil {
		t.Errorf("any: %v, %v", v, err)
	}
	if v, err := (aside.JSON[[]int]{}).Decode([]byte(" null")); err != nil || v != nil {
		t.Errorf("a slice: %v, %v", v, err)
	}
	if v, err := (aside.JSON[int]{}).Decode([]byte("null")); err == nil || !strings.Contains(err.Error(), "null") {
		t.Errorf("a number: %v, %v", v, err)
	}
}
