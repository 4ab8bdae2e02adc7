package page_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/page"
	"github.com/asidecache/aside/cmd/aside/internal/todo"
	"github.com/asidecache/aside/cmd/aside/internal/todo/todotest"
)

func get(t *testing.T, path string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	page.Handler().ServeHTTP(w, r)
	return w.Result(), w.Body.Bytes()
}

// paths lists the page and all files that it names, and those that its modules import.
func paths(t *testing.T) []string {
	t.Helper()
	list := []string{"/"}
	for i := 0; i < len(list); i++ {
		r, body := get(t, list[i])
		if r.StatusCode != 200 {
			t.Fatalf("%s: %s", list[i], r.Status)
		}
		if strings.HasSuffix(list[i], "/uplot.js") {
			continue
		}
		for _, m := range regexp.MustCompile(`(?:src|href)="(/page/[^"]+)"|from "\./([^"]+)"`).FindAllSubmatch(body, -1) {
			p := string(m[1])
			if p == "" {
				p = "/page/" + string(m[2])
			}
			if !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	return list
}

// Every file has its type, the policy, and a tag; compressed and not it is the same. Caught:
// a module without a MIME type, which a browser refuses; a 304 with another tag.
func TestFiles(t *testing.T) {
	all := paths(t)
	if len(all) < 14 {
		t.Fatalf("the page names only %q", all)
	}
	for _, p := range all {
		r, plain := get(t, p)
		want := map[string]string{
			"Cache-Control": "no-cache", "Content-Security-Policy": page.Policy, "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding", "Content-Encoding": "",
			"Content-Type": map[string]string{"": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(p)],
		}
		for name, v := range want {
			if got := r.Header.Get(name); got != v {
				t.Errorf("%s: %s is %q, want %q", p, name, got, v)
			}
		}
		etag := r.Header.Get("ETag")
		packed, body := get(t, p, "Accept-Encoding", "br, gzip")
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil || packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("ETag") != etag {
			t.Fatalf("%s: compressed: %v, %v", p, err, packed.Header)
		}
		if got, err := io.ReadAll(zr); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: compressed it is another file (%v)", p, err)
		}
		if r, _ := get(t, p, "Accept-Encoding", "gzip;q=0"); r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed for a client that does not accept it", p)
		}
		for given, want := range map[string]int{etag: 304, strings.TrimPrefix(etag, "W/"): 304, `"x", ` + etag: 304, "*": 304, `"x"`: 200} {
			if r, body := get(t, p, "If-None-Match", given); r.StatusCode != want || want == 304 && (len(body) > 0 || r.Header.Get("ETag") != etag) {
				t.Errorf("%s: %s for If-None-Match %s, want %d", p, r.Status, given, want)
			}
		}
	}
	for _, p := range []string{"/page/", "/page/index.html", "/page/nothing.js", "/page/../page.go", "/page/web/main.js"} {
		if r, _ := get(t, p); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", p, r.Status)
		}
	}
}

// Every file in the folder is used: none is forgotten, and none is missing.
func TestNoIdleFile(t *testing.T) {
	all := paths(t)
	entries, err := os.ReadDir("web")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "index.html" && !slices.Contains(all, "/page/"+e.Name()) {
			t.Errorf("web/%s is not used by the page", e.Name())
		}
	}
}

// The page has a limit: 250 kB compressed, all files together.
func TestSize(t *testing.T) {
	total := 0
	for _, p := range paths(t) {
		_, body := get(t, p, "Accept-Encoding", "gzip")
		total += len(body)
	}
	t.Logf("the page has %d bytes compressed", total)
	if total >= 250_000 {
		t.Errorf("the page has %d bytes compressed, the limit is 250000", total)
	}
}

// Nothing in the sources makes HTML of a text, or a style or script of an attribute: the
// browser would refuse it, but perhaps in a case that no test reaches.
func TestNoMarkupFromText(t *testing.T) {
	for _, p := range paths(t) {
		if strings.HasSuffix(p, "/uplot.js") {
			continue
		}
		_, body := get(t, p)
		if m := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:|\sstyle=|\son[a-z]+="`).Find(body); m != nil {
			t.Errorf("%s has %q", p, m)
		}
	}
}

// The server has the page at its paths, for reading only, and the API beside it. Caught:
// patterns that the mux refuses together.
func TestMounted(t *testing.T) {
	s, err := httpapi.New(httpapi.Options{
		Service: todo.NewService(todo.ServiceOptions{Store: todotest.New()}),
		Mounts:  httpapi.Mounts{Page: page.Handler(), Dashboard: http.NotFoundHandler(), Ops: http.NotFoundHandler(), Story: http.NotFoundHandler()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"POST", "/", 405}, {"GET", "/page/main.js", 200}, {"HEAD", "/page/main.js", 200},
		{"DELETE", "/page/main.js", 405}, {"POST", "/page/config", 405}, {"GET", "/page/none", 404}, {"GET", "/page", 404}, {"GET", "/todos", 200}, {"GET", "/nothing", 404},
	} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || c.method == "HEAD" && w.Body.Len() > 0 {
			t.Errorf("%s %s: %d with %d bytes, want %d", c.method, c.path, w.Code, w.Body.Len(), c.status)
		}
		if w.Code == 404 && !strings.Contains(w.Header().Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s %s: %s", c.method, c.path, w.Header().Get("Content-Type"))
		}
	}
}
