// Package ops are the calls of operators: what the cache has under a key, what happens to
// it, and the nodes of the cache. The page and the commands of aside use them.
package ops

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/asidecache/aside/cmd/aside/internal/httpapi"
)

// MinToken is the length of the shortest token, in bytes.
const MinToken = 16

// WithToken lets requests pass to h that have the token as their bearer token.
func WithToken(h http.Handler, token string) http.Handler {
	// Hashes have one length, so that the time of the comparison tells nothing.
	want := sha256.Sum256([]byte(token))
	wrong := &limiter{most: 10}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(given)))
		right := strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
		switch {
		case right:
			h.ServeHTTP(w, r)
		case given != "" && !wrong.allow(time.Now()):
			w.Header().Set("Retry-After", "1")
			httpapi.WriteProblem(w, http.StatusTooManyRequests, "too_many_tokens", "Too many requests came with a wrong token. Try again later.")
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="aside"`)
			httpapi.WriteProblem(w, http.StatusUnauthorized, "token_required",
				"This call needs the token of the file that the server was started with (aside serve --page-token-file), in the header Authorization: Bearer TOKEN.")
		}
	})
}

// ForLocal lets requests pass to h that come from this machine. A proxy on this machine may
// pass on requests from elsewhere; those that it marks as such are refused.
func ForLocal(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
			if r.Header.Get(name) != "" {
				refuseRemote(w)
				return
			}
		}
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if ip, e := netip.ParseAddr(host); err != nil || e != nil || !ip.Unmap().IsLoopback() {
			refuseRemote(w)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func refuseRemote(w http.ResponseWriter) {
	httpapi.WriteProblem(w, http.StatusForbidden, "local_only",
		"This call is for programs and browsers on the server's own machine, without a proxy. Others need a token (aside serve --page-token-file).")
}
