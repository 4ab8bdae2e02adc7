package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/asidecache/aside"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Cache-Status (RFC 9211) has one member here, named aside:
//   - hit, or fwd with the reason why the store was read. Never both. fwd=request: the
//     client asked for a strong read. fwd=bypass: there is no cache. fwd=stale: the cache
//     had the record past its TTL. It is served if the detail says so, since the store failed.
//   - ttl, negative, with a hit of a record past its TTL: for how many seconds it has been
//     so. The store is read in the background.
//   - collapsed, if another request's load was shared.
//   - detail, the tier that answered (L1, L2, load), followed by /negative for a cached
//     absence, /stale for a value past its TTL, and the reason for a load if it was not
//     a miss: /fenced (a write is running), /degraded (Redis is unavailable),
//     /lease-wait (another server took too long to load), /too-large, /skipped (the caller
//     skipped Redis), /refresh (the caller asked for a load) or /slow-l2 (Redis was slow).

var statusBypass = []string{"aside; fwd=bypass"}

// cacheStatuses has every value for single reads, so that the hot path builds no
// strings.
var cacheStatuses = func() map[cacheStatusKey][]string {
	m := make(map[cacheStatusKey][]string)
	for _, source := range []aside.Source{aside.SourceNone, aside.SourceL1, aside.SourceL2, aside.SourceLoad} {
		for miss := aside.MissNone; miss <= aside.MissStale; miss++ {
			for bits := range 32 {
				k := cacheStatusKey{source, miss, bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0}
				m[k] = []string{k.build()}
			}
		}
	}
	return m
}()

var missNotes = map[aside.Miss]string{
	aside.MissFenced: "/fenced", aside.MissDegraded: "/degraded", aside.MissLeaseWait: "/lease-wait", aside.MissTooLarge: "/too-large",
	aside.MissSkipped: "/skipped", aside.MissRefresh: "/refresh", aside.MissSlowL2: "/slow-l2",
}

type cacheStatusKey struct {
	source                             aside.Source
	miss                               aside.Miss
	coalesced, negative, stale, strong bool
	failed                             bool // the load, so a stale record was served
}

func (k cacheStatusKey) build() string {
	var b strings.Builder
	b.WriteString("aside")
	detail := ""
	switch k.source {
	case aside.SourceL1:
		detail = "L1"
	case aside.SourceL2:
		detail = "L2"
	case aside.SourceLoad:
		detail = "load"
	}
	switch {
	case k.stale && k.failed:
		b.WriteString("; fwd=stale")
	case k.source == aside.SourceL1 || k.source == aside.SourceL2:
		b.WriteString("; hit")
	default:
		b.WriteString("; fwd=")
		switch {
		case k.strong:
			b.WriteString("request")
		case k.miss == aside.MissStale:
			b.WriteString("stale")
		default:
			b.WriteString("miss")
		}
		if k.coalesced {
			b.WriteString("; collapsed")
		}
	}
	if detail == "" {
		return b.String()
	}
	b.WriteString("; detail=" + detail)
	if k.source == aside.SourceLoad {
		b.WriteString(missNotes[k.miss])
	}
	if k.negative {
		b.WriteString("/negative")
	}
	if k.stale {
		b.WriteString("/stale")
	}
	return b.String()
}

func cacheStatusOf(f todo.Found, level aside.Mode) []string {
	if f.Bypassed {
		return statusBypass
	}
	k := cacheStatusKey{f.Source, f.Miss, f.Coalesced, f.Negative, f.Stale, level == aside.Strong, f.Stale && f.LoadTime > 0}
	status := cacheStatuses[k]
	if f.Stale && !k.failed {
		return []string{strings.Replace(status[0], "; hit", fmt.Sprintf("; hit; ttl=%d", min(-1, int64(f.Left.Seconds()))), 1)}
	}
	return status
}

// cacheStatusOfMany summarises a batch: it is a hit if no record was read from the
// store, otherwise a miss. The detail counts the records by the tier that answered.
func cacheStatusOfMany(f todo.FoundMany, level aside.Mode) string {
	if f.Bypassed {
		return statusBypass[0]
	}
	var l1, l2, loaded, failed int
	for _, r := range f.Results {
		switch r.Source {
		case aside.SourceL1:
			l1++
		case aside.SourceL2:
			l2++
		case aside.SourceLoad:
			loaded++
		default:
			failed++
		}
	}
	how := "hit"
	switch {
	case loaded+failed == 0:
	case level == aside.Strong:
		how = "fwd=request"
	default:
		how = "fwd=miss"
	}
	detail := fmt.Sprintf("L1=%d L2=%d load=%d", l1, l2, loaded)
	if failed > 0 {
		detail += fmt.Sprintf(" failed=%d", failed)
	}
	return `aside; ` + how + `; detail="` + detail + `"`
}

// levelOf returns the level that the request's Cache-Control asks for. no-cache and
// max-age=0 ask for a strong read.
func levelOf(h http.Header) aside.Mode {
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.Trim(directive, " \t")
			if strings.EqualFold(directive, "no-cache") || strings.EqualFold(directive, "max-age=0") {
				return aside.Strong
			}
		}
	}
	return aside.Default
}

// serverTiming returns a Server-Timing value with durations in milliseconds. l2 and load
// are the time that the read spent there, cache is the rest of the read, and total is
// the time until the response header. A shared load may take longer than the read,
// which joined it later.
func serverTiming(start time.Time, read, l2, load time.Duration) string {
	b := make([]byte, 0, 96)
	b = append(b, "cache;dur="...)
	b = appendMillis(b, max(read-l2-load, 0))
	if l2 > 0 {
		b = append(b, ", l2;dur="...)
		b = appendMillis(b, l2)
	}
	if load > 0 {
		b = append(b, ", load;dur="...)
		b = appendMillis(b, load)
	}
	b = append(b, ", total;dur="...)
	b = appendMillis(b, time.Since(start))
	return string(b)
}

func appendMillis(b []byte, d time.Duration) []byte {
	us := d.Microseconds()
	b = strconv.AppendInt(b, us/1000, 10)
	b = append(b, '.')
	frac := us % 1000
	b = append(b, byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
	return b
}
