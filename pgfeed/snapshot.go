package pgfeed

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// snapshot says which transactions a statement sees.
type snapshot struct {
	xmin, xmax uint64
	running    []uint64 // of those between xmin and xmax
}

// parseSnapshot reads what pg_current_snapshot() returns: xmin:xmax:xip,xip.
func parseSnapshot(text string) (s snapshot, err error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return s, fmt.Errorf("pgfeed: pg_current_snapshot returned %q", text)
	}
	numbers := parts[:2]
	if parts[2] != "" {
		numbers = append(numbers, strings.Split(parts[2], ",")...)
	}
	for i, number := range numbers {
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return s, fmt.Errorf("pgfeed: pg_current_snapshot returned %q", text)
		}
		switch i {
		case 0:
			s.xmin = n
		case 1:
			s.xmax = n
		default:
			s.running = append(s.running, n)
		}
	}
	return s, nil
}

// sees reports whether what a committed transaction did is seen. xid is the lower half
// of its number: which one is meant is the nearest to xmax.
func (s snapshot) sees(xid uint32) bool {
	full := s.xmax + uint64(int64(int32(xid-uint32(s.xmax))))
	return full < s.xmin || full < s.xmax && !slices.Contains(s.running, full)
}
