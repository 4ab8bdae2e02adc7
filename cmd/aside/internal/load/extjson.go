package load

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/asidecache/aside/cmd/aside/internal/todo/loose"
)

// jsonValue returns the meaning of a value in valid JSON. It also supports MongoDB's
// Extended JSON: version 2, relaxed and canonical, and version 1.
func jsonValue(raw json.RawMessage) loose.Value {
	switch raw[0] {
	case 'n':
		return loose.Value{}
	case 't', 'f':
		return loose.Value{Kind: loose.Bool, Bool: raw[0] == 't'}
	case '"':
		return loose.Value{Kind: loose.Text, Text: jsonText(raw)}
	case '{':
		if v, ok := extended(raw); ok {
			return v
		}
	case '[':
	default:
		if v, ok := number(string(raw)); ok {
			return v
		}
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return loose.Value{Kind: loose.Other, Text: string(raw)}
	}
	return loose.Value{Kind: loose.Other, Text: b.String()}
}

// jsonText decodes a string. One half of a surrogate pair becomes an invalid byte,
// which is reported. The decoder would replace it by U+FFFD silently.
func jsonText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	if strings.Contains(s, "\uFFFD") && !bytes.Contains(raw, []byte("\uFFFD")) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		s = strings.ReplaceAll(s, "\uFFFD", "\xff")
	}
	return s
}

func number(s string) (loose.Value, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return loose.Value{Kind: loose.Int, Int: n}, true
	}
	return double(s)
}

func double(s string) (loose.Value, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return loose.Value{Kind: loose.Double, Float: f}, err == nil
}

// extended reads an object that stands for a type that JSON does not have, such as
// {"$date": ...}.
func extended(raw json.RawMessage) (loose.Value, bool) {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || len(object) != 1 {
		return loose.Value{}, false
	}
	for name, inner := range object {
		text := string(inner)
		if inner[0] == '"' {
			text = jsonText(inner)
		}
		switch name {
		case "$date":
			return date(inner, text)
		case "$numberLong", "$numberInt":
			n, err := strconv.ParseInt(text, 10, 64)
			return loose.Value{Kind: loose.Int, Int: n}, err == nil
		case "$numberDouble":
			return double(text)
		case "$numberDecimal":
			d, err := bson.ParseDecimal128(text)
			return loose.Value{Kind: loose.Decimal, Decimal: d}, err == nil
		case "$oid":
			return loose.Value{Kind: loose.Other, Text: text}, true
		case "$symbol":
			return loose.Value{Kind: loose.Text, Text: text}, true
		case "$undefined":
			return loose.Value{}, true
		case "$timestamp":
			var at struct{ T, I uint32 }
			if json.Unmarshal(inner, &at) != nil {
				return loose.Value{}, false
			}
			return loose.Value{Kind: loose.Timestamp, Int: int64(at.T)}, true
		}
	}
	return loose.Value{}, false
}

// date reads the value of {"$date": ...}: a text, or a number of milliseconds, which
// may be a {"$numberLong": ...}.
func date(inner json.RawMessage, text string) (loose.Value, bool) {
	if at, ok := loose.ParseTime(text); ok {
		return loose.Value{Kind: loose.Date, Int: at.UnixMilli()}, true
	}
	ms, ok := number(text)
	if inner[0] == '{' {
		ms, ok = extended(inner)
	}
	if !ok || ms.Kind != loose.Int {
		return loose.Value{}, false
	}
	return loose.Value{Kind: loose.Date, Int: ms.Int}, true
}
