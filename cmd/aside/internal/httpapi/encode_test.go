package httpapi

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/asidecache/aside/cmd/aside/internal/todo"
)

// Invisible characters, and those that change the direction of text, are escaped in every
// response. JSON parsers read the same text. Caught: the id of an older record that looks
// like another id.
func TestInvisibleIsEscaped(t *testing.T) {
	for text, want := range map[string]string{
		"a\u202eb":             `a\u202eb`,
		"\u200b":               `\u200b`,
		"a\u00ad\ufeffb\u2066": `a\u00ad\ufeffb\u2066`,
		"\U000e0041x":          `\udb40\udc41x`,
		"é, 日本語 & <b>, \ufffd": "é, 日本語 & <b>, \ufffd",
		"❤\ufe0f":              `❤\ufe0f`,
		"\\u202e":              `\\u202e`,
	} {
		d := text
		b := mustEncode(todo.Todo{ID: text, Name: text, Description: &d})
		if n := strings.Count(string(b), `"`+want+`"`); n != 3 {
			t.Errorf("%q: %d times %s in %s", text, n, want, b)
		}
		var back todo.Todo
		if err := json.Unmarshal(b, &back); err != nil || back.ID != text || *back.Description != text {
			t.Errorf("%q is read as %+v, %v", text, back, err)
		}
	}
}

func FuzzEscapeInvisible(f *testing.F) {
	f.Add("a\u202eb\U000e0041")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		b := mustEncode(s)
		var back string
		if err := json.Unmarshal(b, &back); err != nil || back != s {
			t.Errorf("%q, %v", back, err)
		}
		if bytes.ContainsFunc(b, todo.Invisible) {
			t.Errorf("%q", b)
		}
	})
}

func BenchmarkEncodeLargest(b *testing.B) {
	for name, text := range map[string]string{"ASCII": "d", "Cyrillic": "д", "Chinese": "日", "Devanagari": "न"} {
		d := strings.Repeat(text, todo.MaxDescriptionBytes/len(text))
		t := todo.Todo{ID: "1", Name: "n", Description: &d}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				encodeTodo(&t)
			}
		})
	}
}
