package envelope

import (
	"bytes"
	"reflect"
	"testing"
	"time"
)

// The bytes are in tests/redisl2/testdata, since it is Redis' script that writes them.
func TestRosterIsReadAsItWasWritten(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, all := range [][]Announced{
		nil,
		{{Since: at, Until: at.Add(time.Second), Node: "a", Data: []byte("R1")}},
		{{at, at.Add(time.Minute), "a\x000000000000000", []byte("\xff")}, {at, at.Add(time.Second), "b", []byte{}}},
	} {
		b := AppendRoster(nil, all)
		if got, ok := ParseRoster(b); !ok || !reflect.DeepEqual(got, all) {
			t.Errorf("%q is read as %+v, %v", b, got, ok)
		}
		if len(all) == 0 {
			continue
		}
		last := len(all[len(all)-1].Data)
		for n := len(b) - last - 1; n > len(rosterHead) && n > len(b)-last-rosterRecord; n-- {
			if got, ok := ParseRoster(b[:n]); ok {
				t.Errorf("%q, cut to %d bytes, is read as %+v", b, n, got)
			}
		}
	}
	good := AppendRoster(nil, []Announced{{at, at.Add(time.Second), "a", []byte("d")}})
	for i := range rosterRecord { // each of them a digit
		bad := bytes.Clone(good)
		bad[len(rosterHead)+i] = '-'
		if got, ok := ParseRoster(bad); ok {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
	for _, bad := range []string{"", "R", "R2", "V", "R1x"} {
		if got, ok := ParseRoster([]byte(bad)); ok {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
	if a := (Announced{Since: at, Until: at.Add(1)}); a.Here(at.Add(-1)) || !a.Here(at) || a.Here(at.Add(1)) {
		t.Error("a node is there from the first of its times until just before the second")
	}
}
