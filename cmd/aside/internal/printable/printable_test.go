package printable

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Caught: C1 control characters, which have two bytes in UTF-8, so that a check for bytes
// below 0x20 accepts them; one invalid byte at the end.
func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"plain, ž 日本語 😀 \"quoted\"":  "plain, ž 日本語 😀 \"quoted\"",
		"two\nlines\tand a tab":      "two\nlines\tand a tab",
		"\x1b]0;title\x07red":        `\x1b]0;title\ared`,
		"\u009b31m":                  `\u009b31m`,
		"\r\x00\x7f":                 `\r\x00\x7f`,
		"a\u202eb\u2066\u200b\ufeff": `a\u202eb\u2066\u200b\ufeff`,
		"cut \xff\xc3":               `cut \xff\xc3`,
		"\ufffd stays":               "\ufffd stays",
		"tag \U000e0041":             `tag \U000e0041`,
	} {
		if got := Text(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
		if err := Error(errors.New(in)); err.Error() != want {
			t.Errorf("%q: the error says %q, want %q", in, err, want)
		}
	}
	cause := errors.New("\x1b[2J")
	if err := Error(fmt.Errorf("in %w", cause)); !errors.Is(err, cause) || Error(nil) != nil {
		t.Error("the cause is lost, or nil is an error")
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"test.todos": "test.todos",
		"žluť.kůň😀":  "žluť.kůň😀",
		"a b":        `"a b"`,
		"a\x1b[31mb": `"a\x1b[31mb"`,
		"a\u202eb":   `"a\u202eb"`,
		"a\nb":       `"a\nb"`,
		`say "hi"`:   `"say \"hi\""`,
		"":           `""`,
		"\xff":       `"\xff"`,
	} {
		if got := Name(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	if got := Name(strings.Repeat("é", 5000)); len(got) > maxName+3 || !utf8.ValidString(got) || !strings.HasSuffix(got, "...") {
		t.Errorf("a long name: %s", got)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\x1b[31m\u202e\xff")
	f.Fuzz(func(t *testing.T, in string) {
		for _, out := range []string{Text(in), Name(in)} {
			for _, r := range out {
				if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
					t.Fatalf("%q: %U is left in %q", in, r, out)
				}
			}
		}
		if out := Name(in); strings.ContainsAny(out, "\n\t") {
			t.Fatalf("%q: more than one line: %q", in, out)
		}
	})
}

// Caught: a user that ends at the first of @, / ? and #.
func TestSplitURL(t *testing.T) {
	for _, c := range []struct {
		url, user, rest string
		ambiguous       bool
	}{
		{"a://host/db?x=y", "", "host/db?x=y", false},
		{"a://u:p@h1,h2/db", "u:p@", "h1,h2/db", false},
		{"a://u:p@w@host", "u:p@w@", "host", false},
		{"a://u:p#w@host", "u:p#w@", "host", true},
		{"a://u:p?w@host/db", "u:p?w@", "host/db", true},
		{"a://u:1/w@host", "u:1/w@", "host", true},
		{"a://@host", "@", "host", false},
	} {
		scheme, user, rest, ok := SplitURL(c.url)
		if scheme != "a" || user != c.user || rest != c.rest || !ok || AmbiguousURL(c.url) != c.ambiguous {
			t.Errorf("%s: %q, %q, %q, %v; ambiguous %v", c.url, scheme, user, rest, ok, AmbiguousURL(c.url))
		}
	}
	if _, _, _, ok := SplitURL("u:p@host"); ok {
		t.Error("no scheme is accepted")
	}
}
