package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Hosts are the names under which a listener may be asked. A page in a browser
// can give its own name the address of this server (DNS rebinding), and is then,
// to the browser, of one origin with it: the Host header alone tells.
type Hosts struct {
	any      bool
	names    map[string]bool
	suffixes []string // ".example.com" for *.example.com
}

// NewHosts takes names, *.names for all that end so, and * for any. Names of the
// loopback interface, and the address on which a request arrives, are always
// good: no page can have them for its own.
func NewHosts(names []string) (*Hosts, error) {
	h := &Hosts{names: map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true, "": true}}
	for _, name := range names {
		bare := strings.TrimSuffix(strings.ToLower(name), ".")
		rest, wild := strings.CutPrefix(bare, "*.")
		switch {
		case name == "*":
			h.any = true
		case rest == "" || strings.ContainsAny(rest, "*/@?# ") || strings.Contains(rest, ":") && !isIPv6(rest):
			return nil, fmt.Errorf("%q is no host name: it must be like api.example.com, *.example.com or 192.0.2.1, without a port, or * for any", name)
		case wild:
			h.suffixes = append(h.suffixes, "."+rest)
		case isIPv6(rest):
			h.names["["+strings.Trim(rest, "[]")+"]"] = true
		default:
			h.names[bare] = true
		}
	}
	return h, nil
}

// AnyHost lets every name pass.
func AnyHost() *Hosts { return &Hosts{any: true} }

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil && a.Is6()
}

var errHost = errors.New("not a name of this server")

// check looks at the name that r asks for. It is empty if r has none, which only
// a program leaves out.
func (h *Hosts) check(r *http.Request) error {
	if h.any {
		return nil
	}
	name := r.Host
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name = name[:i]
	}
	if h.names[name] {
		return nil
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if h.names[name] || strings.HasSuffix(name, ".localhost") {
		return nil
	}
	for _, s := range h.suffixes {
		if strings.HasSuffix(name, s) {
			return nil
		}
	}
	if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		if ip = ip.Unmap(); ip.IsLoopback() {
			return nil
		}
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && local.AddrPort().Addr().Unmap().WithZone("") == ip {
			return nil
		}
	}
	return errHost
}

// foreign reports whether a page of another site had a browser send r, other
// than by a link that its reader followed. Such a page cannot read the answer,
// so whatever r costs is spent for nothing.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "": // no browser, or one that takes our address for an insecure one
		origin := r.Header.Get("Origin")
		_, host, _ := strings.Cut(origin, "://")
		return origin != "" && host != r.Host
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}
