package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Hosts are the host names that requests to a listener may use. They protect against DNS
// rebinding: a web page lets its own name resolve to the address of this server, and
// then has the same origin for the browser. Only the Host header shows it.
type Hosts struct {
	any      bool
	names    map[string]bool
	suffixes []string // ".example.com" for *.example.com
}

// NewHosts returns the Hosts of names. *.example.com stands for all names that end so, *
// for any name. Loopback names, and the IP address that a request came to, are always
// allowed: no web page can have them as its own name.
func NewHosts(names []string) (*Hosts, error) {
	h := &Hosts{names: map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true, "": true}}
	for _, name := range names {
		bare := strings.TrimSuffix(strings.ToLower(name), ".")
		rest, wild := strings.CutPrefix(bare, "*.")
		switch {
		case name == "*":
			h.any = true
		case rest == "" || strings.ContainsAny(rest, "*/@?# ") || strings.Contains(rest, ":") && !isIPv6(rest):
			return nil, fmt.Errorf("%q is not a host name: it must be like api.example.com, *.example.com or 192.0.2.1, without a port, or * for any name", name)
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

// AnyHost allows every name.
func AnyHost() *Hosts { return &Hosts{any: true} }

func isIPv6(s string) bool {
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return err == nil && a.Is6()
}

var errHost = errors.New("not a name of this server")

// check checks the host name of r. A request without a host name passes: only programs
// leave it out, browsers never do.
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

// foreign reports whether a web page of another site sent r, unless the user followed a
// link. Such a page cannot read the response, so serving r would be useless work.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return false
	case "": // not a browser, or a browser that regards the address as insecure
		origin := r.Header.Get("Origin")
		_, host, _ := strings.Cut(origin, "://")
		return origin != "" && host != r.Host
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}
