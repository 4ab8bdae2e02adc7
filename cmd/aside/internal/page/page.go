// Package page has the page of the service: a todo application that shows how each of its
// requests was answered, the dashboard, the cache's entries of one key, and the story of
// the demo. It is plain HTML, CSS and JavaScript modules without a build step: edit the
// files in web, start the server, reload.
package page

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
	"github.com/asidecache/aside/cmd/aside/internal/sse"
	"github.com/asidecache/aside/cmd/aside/internal/uplot"
)

//go:embed web
var files embed.FS

// Policy is the Content-Security-Policy of the page. It may use only this server, it has no
// inline scripts and styles, and nothing in it can turn a text into HTML.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// file is a file of the page, in both encodings.
type file struct {
	mime, etag    string
	plain, packed []byte
}

// all has the files by name. They are compressed when the first is asked for, which takes
// some milliseconds.
var all = sync.OnceValue(func() map[string]*file {
	out := map[string]*file{}
	add := func(name string, data []byte) {
		var packed bytes.Buffer
		w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic("page: " + err.Error()) // it writes to memory
		}
		// The tag is weak because it stands for both encodings.
		out[name] = &file{types[path.Ext(name)], fmt.Sprintf(`W/"%x"`, xxhash.Sum64(data)), data, packed.Bytes()}
	}
	names, err := fs.Glob(files, "web/*")
	if err != nil {
		panic("page: " + err.Error())
	}
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			panic("page: " + err.Error()) // it is embedded
		}
		add(path.Base(name), data)
	}
	add("uplot.js", []byte(uplot.Script()))
	add("uplot.css", []byte(uplot.Style()))
	return out
})

// Handler answers GET and HEAD of / and of /page/{file}.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := "index.html"
		if r.URL.Path != "/" {
			name = strings.TrimPrefix(r.URL.Path, "/page/")
		}
		f, ok := all()[name]
		if !ok || name == "index.html" && r.URL.Path != "/" {
			httpapi.WriteProblem(w, http.StatusNotFound, "no_such_path", "This path does not exist. The page is at /.")
			return
		}
		f.serve(w, r)
	})
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	// A browser keeps the file and asks whether it is still the same: after an update of
	// the server its page is never half old.
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", f.etag)
	if matches(r.Header["If-None-Match"], f.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.mime)
	body := f.plain
	if sse.AcceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		body = f.packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// matches compares the tags of If-None-Match weakly.
func matches(lines []string, etag string) bool {
	opaque := strings.TrimPrefix(etag, "W/")
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == opaque {
				return true
			}
		}
	}
	return false
}
