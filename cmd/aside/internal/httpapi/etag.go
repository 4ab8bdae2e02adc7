package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// etagOf returns the strong entity tag of a record with this JSON. The version alone is
// not enough: a record that was deleted and created again starts at 1 again, and records
// of older systems always have version 0.
func etagOf(version int64, body []byte) string {
	b := make([]byte, 0, 32)
	b = append(b, '"', 'v')
	b = strconv.AppendInt(b, version, 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, xxhash.Sum64(body), 36)
	b = append(b, '"')
	return string(b)
}

// tags is a parsed If-Match or If-None-Match.
type tags struct {
	any  bool // *
	list []tag
}

type tag struct {
	opaque string // with its quotes
	weak   bool
}

var errMalformedTags = errors.New(`must be * or a list of entity tags such as "v3-1a2b", each in double quotes`)

// parseTags parses the lines of an If-Match or If-None-Match header (RFC 9110, section
// 8.8.3). It returns nil and no error if the header is absent.
func parseTags(lines []string) (*tags, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	s := strings.Trim(strings.Join(lines, ","), " \t")
	if s == "*" {
		return &tags{any: true}, nil
	}
	t := &tags{}
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			break
		}
		var one tag
		if rest, ok := strings.CutPrefix(s, "W/"); ok {
			one.weak, s = true, rest
		}
		if s == "" || s[0] != '"' {
			return nil, errMalformedTags
		}
		end := strings.IndexByte(s[1:], '"')
		if end < 0 {
			return nil, errMalformedTags
		}
		one.opaque, s = s[:end+2], strings.TrimLeft(s[end+2:], " \t")
		if s != "" && s[0] != ',' {
			return nil, errMalformedTags
		}
		t.list = append(t.list, one)
	}
	if len(t.list) == 0 {
		return nil, errMalformedTags
	}
	return t, nil
}

// matchStrong is the comparison for If-Match: weak tags never match.
func (t *tags) matchStrong(etag string) bool {
	if t.any {
		return true
	}
	for _, one := range t.list {
		if !one.weak && one.opaque == etag {
			return true
		}
	}
	return false
}

// matchWeak is the comparison for If-None-Match.
func (t *tags) matchWeak(etag string) bool {
	if t.any {
		return true
	}
	for _, one := range t.list {
		if one.opaque == etag {
			return true
		}
	}
	return false
}

// precondition returns the check that the request's headers ask of a write, or nil.
func precondition(h http.Header) (todo.Precondition, *Problem) {
	match, err := parseTags(h.Values("If-Match"))
	if err != nil {
		return nil, malformedHeader("If-Match", err)
	}
	noneMatch, err := parseTags(h.Values("If-None-Match"))
	if err != nil {
		return nil, malformedHeader("If-None-Match", err)
	}
	if match == nil && noneMatch == nil {
		return nil, nil
	}
	return func(current todo.Todo) bool {
		etag := etagOf(current.Version, encodeTodo(&current))
		return (match == nil || match.matchStrong(etag)) && (noneMatch == nil || !noneMatch.matchWeak(etag))
	}, nil
}

func malformedHeader(name string, err error) *Problem {
	return newProblem(http.StatusBadRequest, "bad_request", "A request header is malformed; see errors.",
		Fault{Location: "header." + name, Detail: err.Error()})
}
