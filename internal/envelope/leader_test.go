package envelope

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestLeaderIsReadAsItWasWritten(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	for _, l := range []Leader{
		{},
		{Since: at, Until: at.Add(time.Second), Token: token(1)},
		{Since: at, Until: at.Add(time.Second), Token: token(1), State: []byte{}},
		{State: []byte("=\x00\xff")},
	} {
		b := l.Append(nil)
		if got, ok := ParseLeader(b); !ok || !reflect.DeepEqual(got, l) {
			t.Errorf("%q is read as %+v, %v", b, got, ok)
		}
	}
}

// Caught: a sign taken for a digit; a state that is read without its '='.
func TestWhatIsNoLeader(t *testing.T) {
	digits := strings.Repeat("0", 26)
	whole := "P1" + digits + strings.Repeat("x", 16)
	for _, b := range []string{
		"", "P", "P1", whole[:len(whole)-1], whole + "x", "P2" + whole[2:], "V1" + whole[2:],
		"P1+" + whole[3:], "P1-" + whole[3:], "P1 " + whole[3:], "P1x" + whole[3:],
	} {
		if l, ok := ParseLeader([]byte(b)); ok {
			t.Errorf("%q is read as %+v", b, l)
		}
	}
	for _, b := range []string{whole, whole + "=", whole + "=x"} {
		if _, ok := ParseLeader([]byte(b)); !ok {
			t.Errorf("%q is not read", b)
		}
	}
}

// Nobody leads before the leadership was taken, nor when it has ended.
func TestWhenALeaderLeads(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123)
	l := Leader{Since: at, Until: at.Add(2 * time.Millisecond)}
	for d, want := range map[time.Duration]bool{-1: false, 0: true, 1: true, 2: false, 3: false} {
		if got := l.Leads(at.Add(d * time.Millisecond)); got != want {
			t.Errorf("%d ms after it was taken: %v, want %v", d, got, want)
		}
	}
	if (Leader{}).Leads(at) {
		t.Error("nobody leads")
	}
}
