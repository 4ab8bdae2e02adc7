package httpapi

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/asidecache/aside/cmd/aside/internal/sse"
)

// The documentation page is swagger-ui. It is embedded, so it works without internet
// access. docs/fetch.sh downloads it. Its two large files are stored and sent compressed.
//
//go:embed docs/index.html docs/init.js docs/swagger-ui-bundle.js.gz docs/swagger-ui.css.gz
var docsFiles embed.FS

// docsPolicy lets the page use only this server, and forbids inline scripts and styles.
// swagger-ui works with that.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// asset is a file served from memory, in both encodings.
type asset struct {
	mime          string
	etag          string
	plain, packed []byte // packed may be nil, and then plain is not
	unpacked      func() []byte
}

func (s *Server) docsRoutes(spec []byte) error {
	assets := map[string]*asset{}
	for name, mime := range map[string]string{
		"index.html":              "text/html; charset=utf-8",
		"init.js":                 "text/javascript; charset=utf-8",
		"swagger-ui-bundle.js.gz": "text/javascript; charset=utf-8",
		"swagger-ui.css.gz":       "text/css; charset=utf-8",
	} {
		data, err := docsFiles.ReadFile("docs/" + name)
		if err != nil {
			return err
		}
		a := &asset{mime: mime, plain: data}
		name, packed := strings.CutSuffix(name, ".gz")
		if packed {
			a.packed, a.plain = data, nil
			// Few clients do not accept gzip. For them the file is unpacked once and kept.
			a.unpacked = sync.OnceValue(func() []byte { return mustUnpack(data) })
		}
		assets[name] = a.tagged()
	}
	specAsset := (&asset{mime: mimeJSON, plain: spec}).tagged()
	s.handle("GET /openapi.json", specAsset.serve)
	s.handle("GET /docs", assets["index.html"].serve)
	s.handle("GET /docs/{file}", func(ex *exchange, r *http.Request) {
		a, ok := assets[r.PathValue("file")]
		if !ok {
			ex.writeProblem(s.noSuchPath())
			return
		}
		a.serve(ex, r)
	})
	return nil
}

func (a *asset) tagged() *asset {
	data := a.plain
	if a.packed != nil {
		data = a.packed
	}
	a.etag = fmt.Sprintf(`"%x"`, xxhash.Sum64(data))
	return a
}

func (a *asset) serve(ex *exchange, r *http.Request) {
	h := ex.Header()
	h.Set("Content-Security-Policy", docsPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", a.mime)
	// It is weak because it stands for both encodings.
	h.Set("ETag", "W/"+a.etag)
	body := a.plain
	if a.packed != nil {
		h.Set("Vary", "Accept-Encoding")
		if sse.AcceptsGzip(r.Header) {
			h.Set("Content-Encoding", "gzip")
			body = a.packed
		}
	}
	if conditional(r.Header, a.etag) == http.StatusNotModified {
		h.Del("Content-Encoding")
		h.Del("Content-Type")
		ex.WriteHeader(http.StatusNotModified)
		return
	}
	if body == nil {
		body = a.unpacked()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	ex.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		ex.Write(body)
	}
}

func mustUnpack(packed []byte) []byte {
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	var body []byte
	if err == nil {
		body, err = io.ReadAll(zr)
	}
	if err != nil {
		panic("httpapi: embedded file is damaged: " + err.Error())
	}
	return body
}
