package redisl2

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

var (
	urlSchemes = []string{"redis", "rediss", "valkey", "valkeys", "unix"}
	urlParams  = []string{"addr", "client_cache", "client_name", "db", "dial_timeout", "master_set", "protocol", "skip_verify"}
)

const defaultPort = "6379"

// parseURL looks for faults before rueidis does: net/url and rueidis repeat the
// part that they cannot parse in their errors, and with a character in it that
// should have been encoded a password can be part of anything.
func parseURL(s string) (opt rueidis.ClientOption, err error) {
	if s == "" {
		return opt, errors.New("empty, want one like redis://127.0.0.1:6379")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return opt, errors.New("no scheme, want one like redis://127.0.0.1:6379")
	}
	if !slices.Contains(urlSchemes, scheme) {
		return opt, fmt.Errorf("unknown scheme, want one of %s", strings.Join(urlSchemes, ", "))
	}
	// What stands before the last @ belongs to user and password.
	encode := errors.New("user and password have characters in them, such as / ? # @ [ ] or %, that must be percent-encoded (@ as %40)")
	user, place := "", rest
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, place = rest[:at], rest[at+1:]
	}
	if strings.ContainsAny(user, "/?#@[]") {
		return opt, encode
	}
	if _, err := url.Parse("redis://" + user + "@host"); err != nil {
		return opt, encode
	}
	// Now the error can be told, of a URL without them.
	u, err := url.Parse(scheme + "://" + place)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return opt, err
	}
	if u.Fragment != "" {
		return opt, fmt.Errorf("#%s has no meaning here", u.Fragment)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return opt, err
	}
	for name, values := range q {
		if !slices.Contains(urlParams, name) {
			return opt, fmt.Errorf("unknown parameter %q, want one of %s", name, strings.Join(urlParams, ", "))
		}
		if name != "addr" && len(values) > 1 {
			return opt, fmt.Errorf("parameter %s is given %d times", name, len(values))
		}
	}
	switch {
	case scheme == "unix" && (u.Host != "" || u.Path == ""):
		return opt, errors.New("want the socket's absolute path, as in unix:///run/redis.sock")
	case scheme != "unix" && u.Hostname() == "":
		return opt, errors.New("no host, want one like redis://127.0.0.1:6379")
	case scheme == "unix" && q.Has("addr"):
		return opt, errors.New("addr has no meaning beside a socket")
	case slices.Contains(q["addr"], ""):
		return opt, errors.New("addr is empty, want a host:port")
	case q.Has("protocol") && q.Get("protocol") != "3", q.Get("client_cache") == "0":
		return opt, errors.New("protocol and client_cache must not turn RESP3 client tracking off, which keeps L1 coherent")
	case q.Has("master_set") && q.Get("master_set") == "":
		return opt, errors.New("master_set is empty, want the name that the Sentinels know the master by")
	}
	for _, addr := range append(q["addr"], u.Host) {
		if _, port, err := net.SplitHostPort(addr); err == nil {
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				return opt, fmt.Errorf("%q is no host:port", addr)
			}
		} else if _, _, err := net.SplitHostPort(addr + ":" + defaultPort); err != nil && scheme != "unix" {
			return opt, fmt.Errorf("%q is no host:port", addr)
		}
	}
	opt, err = rueidis.ParseURL(s)
	if err != nil {
		_, err = rueidis.ParseURL(scheme + "://" + place)
		return opt, fmt.Errorf("%w", err)
	}
	// rueidis takes an addr without a port for the URL's own host, and the name of that host
	// for what the certificates of all servers must say.
	for i, addr := range q["addr"] {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			opt.InitAddress[1+i] = addr + ":" + defaultPort
		}
	}
	if opt.TLSConfig != nil && (len(opt.InitAddress) > 1 || opt.Sentinel.MasterSet != "") {
		opt.TLSConfig.ServerName = "" // each connection takes that of its address
	}
	if opt.SelectDB < 0 {
		return opt, fmt.Errorf("database number is %d", opt.SelectDB)
	}
	return opt, nil
}
