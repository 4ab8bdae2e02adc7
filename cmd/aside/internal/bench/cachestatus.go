package bench

import "bytes"

// Tier is the tier that answered a request, according to its header Cache-Status (RFC
// 9211).
type Tier uint8

// The tiers.
const (
	TierUnknown  Tier = iota // no Cache-Status header, or an invalid one
	TierL1                   // a hit in the server's memory
	TierL2                   // a hit in the tier that all servers share
	TierOtherHit             // a hit in an unknown tier
	TierMiss                 // the primary, after a cache miss
	TierBypass               // the primary, without a cache
	tiers
)

func (t Tier) String() string {
	return [...]string{"unknown", "L1", "L2", "hit", "miss", "bypass"}[t]
}

// Tiers returns all tiers, the unknown one last.
func Tiers() []Tier { return []Tier{TierL1, TierL2, TierOtherHit, TierMiss, TierBypass, TierUnknown} }

// Hit reports whether a cache answered.
func (t Tier) Hit() bool { return t == TierL1 || t == TierL2 || t == TierOtherHit }

// cacheStatus is one member of a Cache-Status header.
type cacheStatus struct {
	tier                       Tier
	collapsed, negative, stale bool
}

// parseCacheStatus reads the first member of the header. It is that of the cache nearest to
// the origin: caches on the way append theirs.
func parseCacheStatus(header []byte) cacheStatus {
	var s cacheStatus
	var hit bool
	var fwd, detail []byte
	rest, end := header, byte(';')
	for first := true; end == ';'; first = false {
		var param []byte
		param, rest, end = cutParam(rest)
		name, value, _ := bytes.Cut(param, []byte("="))
		if first {
			if len(name) == 0 {
				return s
			}
			continue // the cache's name
		}
		switch string(bytes.TrimSpace(name)) {
		case "hit":
			hit = true
		case "fwd":
			fwd = bytes.TrimSpace(value)
		case "collapsed":
			s.collapsed = true
		case "detail":
			detail = bytes.Trim(bytes.TrimSpace(value), `"`)
		}
	}
	where, notes, _ := bytes.Cut(detail, []byte("/"))
	switch {
	case hit && string(where) == "L1":
		s.tier = TierL1
	case hit && string(where) == "L2":
		s.tier = TierL2
	case hit:
		s.tier = TierOtherHit
	case string(fwd) == "bypass":
		s.tier = TierBypass
	case len(fwd) > 0:
		s.tier = TierMiss
	}
	for len(notes) > 0 {
		var note []byte
		note, notes, _ = bytes.Cut(notes, []byte("/"))
		switch string(note) {
		case "negative":
			s.negative = true
		case "stale":
			s.stale = true
		}
	}
	return s
}

// cutParam cuts s at the first semicolon or comma outside of quotes. end is that byte, or
// 0 at the end of s.
func cutParam(b []byte) (param, rest []byte, end byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ';' || c == ','):
			return bytes.TrimSpace(b[:i]), b[i+1:], c
		}
	}
	return bytes.TrimSpace(b), nil, 0
}
