package httpwire

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for raw, want := range map[string]Endpoint{
		"http://h/todos":          {"/todos", "h:80", "h", false},
		"https://h":               {"", "h:443", "h", true},
		"http://[::1]:8/a%20b//":  {"/a%20b", "[::1]:8", "[::1]:8", false},
		"http://[::1]/t":          {"/t", "[::1]:80", "[::1]", false},
		"http://127.0.0.1:8000/t": {"/t", "127.0.0.1:8000", "127.0.0.1:8000", false},
	} {
		if got, err := Parse(raw); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", raw, got, err, want)
		}
	}
	for _, raw := range []string{
		"", "todos", "127.0.0.1:8000", "ftp://h/", "http://", "http://:80", "http://u:secret@h/", "http://h/?a=b", "http://h/?",
		"http://h/#x", "http://u:secret@h:port/", ":secret", "http://user:secret@h/\x7f",
	} {
		if _, err := Parse(raw); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", raw, err)
		}
	}
}
