package redisl2

import (
	"slices"
	"strings"
	"testing"
)

// Caught: batches cut by count alone, so that a thousand keys of a megabyte are one.
func TestCut(t *testing.T) {
	long := strings.Repeat("k", 10)
	for _, c := range []struct {
		keys         []string
		count, bytes int
		want         int
	}{
		{nil, 2, 10, 0},
		{[]string{"a"}, 2, 10, 1},
		{[]string{"a", "b", "c"}, 2, 10, 2},
		{[]string{long, long, long}, 5, 20, 2},
		{[]string{long, long, long}, 5, 19, 1},
		{[]string{long, "a"}, 5, 3, 1}, // one at least
		{[]string{"a", long}, 5, 3, 1},
	} {
		if got := cut(c.keys, c.count, c.bytes); !slices.Equal(got, c.keys[:c.want]) {
			t.Errorf("cut(%q, %d, %d) = %q, want %d of them", c.keys, c.count, c.bytes, got, c.want)
		}
	}
}
