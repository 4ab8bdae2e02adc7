package envelope

import (
	"bytes"
	"testing"
	"time"
)

// A lease over an entry is read as it was written, also one that was cut within the
// entry. What is no such lease is still held by its token.
func TestLeaseOverAnEntryIsReadAsItWasWritten(t *testing.T) {
	want := Lease{Token: token(7), Carried: Append(nil, Entry{Token: token(3), Payload: []byte("x")}, -1), Ends: time.UnixMilli(1_800_000_000_123)}
	b := want.Append([]byte("before"))[len("before"):]
	if len(b) != LeaseOverhead+len(want.Carried) {
		t.Errorf("%d bytes around an entry of %d", len(b)-len(want.Carried), len(want.Carried))
	}
	for n := LeaseOverhead + 1; n <= len(b); n++ {
		got, ok := ParseLease(b[:n])
		if !ok || got.Token != want.Token || !got.Ends.Equal(want.Ends) || !bytes.Equal(got.Carried, want.Carried[:n-LeaseOverhead]) {
			t.Fatalf("%d bytes are read as %+v, %v", n, got, ok)
		}
	}
	change := func(at int, to byte) []byte { c := bytes.Clone(b); c[at] = to; return c }
	for what, bad := range map[string][]byte{
		"cut": b[:LeaseOverhead], "no digits": change(20, 'x'), "format": change(1, '3'), "a lease": change(LeaseOverhead, KindLease), "a fence": change(LeaseOverhead, KindFence),
	} {
		if got, ok := ParseLease(bad); ok || got.Carried != nil {
			t.Errorf("%s: %q is read as a lease over an entry", what, bad)
		}
		if !Holds(bad, want.Token) || Holds(bad, token(8)) {
			t.Errorf("%s: %q is not its token's", what, bad)
		}
	}
	for _, bad := range [][]byte{nil, b[:17], change(0, KindFence), change(0, KindValue)} {
		if Holds(bad, want.Token) {
			t.Errorf("%q is taken for a lease", bad)
		}
	}
}
