package httpapi

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// If the decoder accepts a body, encoding/json reads the same values from it. The decoder may
// refuse more than encoding/json.
func FuzzDecodeDraft(f *testing.F) {
	for _, seed := range []string{
		`{"id":"1","name":"n","description":"d","completed":true}`,
		`{"name":"n","description":null}`,
		`{"name":"a","name":"b"}`, `{"Name":"n"}`, `{"name":"\ud83d\ude00"}`, `{"name":"\ud83d"}`, `{"name":"\\ud83d"}`,
		`{"name":"n"} x`, "{\"name\":\"\xff\"}", `[]`, `null`, `{`, `{"a":{"b":[1,{"c":null}]}}`, ``, `{"name":"�"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, p := decodeDraft(body)
		if _, patch := decodePatch(body, d.ID); p == nil && patch != nil {
			t.Fatalf("a draft that is no patch: %s", patch.Detail)
		}
		if p != nil {
			if p.Status != 400 && p.Status != 422 || p.Detail == "" || len(p.Errors) == 0 || len(p.Errors) > maxFaults {
				t.Fatalf("problem %+v", p)
			}
			if len(mustEncode(p)) > 20_000 {
				t.Fatal("a large answer to a bad body")
			}
			return
		}
		var want struct {
			ID, Name    string
			Description *string
			Completed   bool
		}
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("accepted, but encoding/json says %v", err)
		}
		if d.ID != want.ID || d.Name != want.Name || d.Completed != want.Completed ||
			(d.Description == nil) != (want.Description == nil) ||
			d.Description != nil && *d.Description != *want.Description {
			t.Fatalf("decoded %+v, encoding/json %+v", d, want)
		}
		if !utf8.ValidString(d.Name) {
			t.Fatalf("name %q is not UTF-8", d.Name)
		}
	})
}

func FuzzParseTags(f *testing.F) {
	for _, seed := range []string{`*`, `"a"`, `W/"a", "b"`, `"a,b"`, `,,"a",`, `"open`, `W/`, `a`, `"a""b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		tags, err := parseTags([]string{line})
		if err != nil {
			return
		}
		if !tags.any && len(tags.list) == 0 {
			t.Fatal("neither tags nor an error")
		}
		for _, one := range tags.list {
			if n := len(one.opaque); n < 2 || one.opaque[0] != '"' || one.opaque[n-1] != '"' {
				t.Fatalf("tag %q", one.opaque)
			}
			if !tags.matchWeak(one.opaque) || !one.weak && !tags.matchStrong(one.opaque) {
				t.Fatalf("tag %q does not match itself", one.opaque)
			}
		}
	})
}

func FuzzBatchIDsAndCursor(f *testing.F) {
	f.Add("ids=1,2&ids=a%2Cb", "MQ")
	f.Add("ids=%zz", encodeCursor("x"))
	f.Fuzz(func(t *testing.T, query, cursor string) {
		ids, err := batchIDs(query)
		if err == nil && len(ids) > maxBatch {
			t.Fatalf("%d ids", len(ids))
		}
		if after, err := decodeCursor(cursor); err == nil {
			if again, err := decodeCursor(encodeCursor(after)); err != nil || again != after {
				t.Fatalf("%q does not survive: %q, %v", after, again, err)
			}
		}
	})
}
