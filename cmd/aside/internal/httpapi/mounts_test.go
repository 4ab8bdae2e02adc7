package httpapi_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
)

// Pages of other sites reach neither the streams, nor the calls of operators, nor the story;
// a link to the page works. The timeout of requests holds for calls, and not for streams.
// What is not mounted does not exist. Caught: a GET of /ops/ by a page of another site.
func TestMounts(t *testing.T) {
	deadline := func(w http.ResponseWriter, r *http.Request) {
		if _, ok := r.Context().Deadline(); ok {
			w.Header().Set("Has-Deadline", "yes")
		}
		httpapi.WriteJSON(w, 200, context.Cause(r.Context()) == nil)
	}
	h := http.HandlerFunc(deadline)
	f := serve(t, nil, with(func(o *httpapi.Options) {
		o.Mounts = httpapi.Mounts{Page: h, Dashboard: h, Ops: h, Story: h}
		o.RequestTimeout = time.Minute
	}))
	f.undocumented = true
	link := []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}
	for _, tt := range []struct {
		method, path string
		linked, site int // status of a link, and of a request of a page of another site
		deadline     bool
	}{
		{"GET", "/", 200, 200, false},
		{"GET", "/page/page.css", 200, 200, false},
		{"GET", "/page/config", 200, 403, false},
		{"GET", "/page/events", 200, 403, false},
		{"GET", "/ops/inspect", 403, 403, true},
		{"GET", "/ops/watch", 403, 403, false},
		{"POST", "/ops/drop", 403, 403, true},
		{"GET", "/story", 403, 403, false},
		{"POST", "/story/burst", 403, 403, false},
	} {
		own := f.do(tt.method, tt.path, "", "Sec-Fetch-Site: same-origin")
		if own.StatusCode != 200 || (own.Header.Get("Has-Deadline") == "yes") != tt.deadline {
			t.Errorf("%s %s: %d, deadline %q", tt.method, tt.path, own.StatusCode, own.Header.Get("Has-Deadline"))
		}
		if a := f.do(tt.method, tt.path, "", link...); a.StatusCode != tt.linked {
			t.Errorf("%s %s by a link: %d, want %d", tt.method, tt.path, a.StatusCode, tt.linked)
		}
		for _, header := range []string{"Sec-Fetch-Site: cross-site", "Origin: http://evil.example"} {
			if a := f.do(tt.method, tt.path, "", header); a.StatusCode != tt.site {
				t.Errorf("%s %s with %s: %d, want %d", tt.method, tt.path, header, a.StatusCode, tt.site)
			}
		}
	}
	bare := serve(t, nil)
	bare.undocumented = true
	for _, path := range []string{"/", "/page/config", "/page/page.css", "/ops/nodes", "/story"} {
		if a := bare.do("GET", path, ""); a.StatusCode != 404 {
			t.Errorf("%s is there: %d", path, a.StatusCode)
		}
	}
}
