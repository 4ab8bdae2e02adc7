package redisl2

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/rueidis"

	"github.com/asidecache/aside/driver"
)

// ErrUnusable is matched by errors of a server that was reached and cannot be used
// as it, its user or the options are set up, and waiting does not help: a wrong
// password, a right that is missing, a version that is too old, no client tracking,
// no scripts, a database that is not there, an address where something else than
// Redis listens. Its text says what to do, and holds no password and no key. A Store
// goes on trying, less often: rights may be granted later.
var ErrUnusable = errors.New("redisl2: this Redis cannot be used as it is set up")

// unusable is such an error, in words for the person who can repair it.
type unusable struct {
	what string
	err  error // of the client or the server
}

func (e *unusable) Error() string        { return "redisl2: " + e.what }
func (e *unusable) Is(target error) bool { return target == ErrUnusable }
func (e *unusable) Unwrap() error        { return e.err }

func cannot(err error, format string, args ...any) error {
	return &unusable{fmt.Sprintf(format, args...), err}
}

const seeRights = `see "Rights in Redis" in SECURITY.md`

// rightsMissing says which commands a user may not run. who is the server or the
// sentinel that refused.
func rightsMissing(err error, who string, commands ...string) error {
	grants := make([]string, len(commands))
	for i, c := range commands {
		grants[i] = "+" + strings.ToLower(strings.ReplaceAll(c, " ", "|"))
	}
	return cannot(err, "%s: the Redis user may not run %s (NOPERM): grant it (%s), %s", who, strings.Join(commands, ", "), strings.Join(grants, " "), seeRights)
}

func keysForbidden(err error, who, prefix string) error {
	return cannot(err, "%s: the Redis user may not read and write keys that begin with %s: grant it (~%s*), %s", who, prefix, prefix, seeRights)
}

// tooOld says so of a version, or returns nil.
func tooOld(who, version string) error {
	var major int
	if _, err := fmt.Sscanf(version, "%d.", &major); err == nil && major < 7 {
		return cannot(nil, "%s: the server's version is %s, want 7.0 or later", who, version)
	}
	return nil
}

var (
	// Redis 7.0 and later name the command in an ACL's refusal, as 'client|tracking'.
	refusedCommand = regexp.MustCompile(`^NOPERM .*'([a-zA-Z0-9_.|-]+)' command`)
	unknownCommand = regexp.MustCompile("(?i)^unknown command .?'?([a-zA-Z0-9_.|-]+)")
	withArguments  = regexp.MustCompile(`,? with args beginning with:.*`)
)

// firstLine is what is left of an error's text that people can be shown: not the
// client library's advice, and not the arguments of a command, keys among them.
func firstLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	text = withArguments.ReplaceAllString(text, "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, text)
}

// explain returns err in words, if it is one of those that waiting does not repair. what
// is the command that was refused, where the server does not say that.
func explain(err error, who, what string) error {
	if err == nil || errors.Is(err, ErrUnusable) {
		return err
	}
	text := firstLine(err)
	code, rest, _ := strings.Cut(text, " ")
	switch {
	case code == "NOPERM", strings.Contains(text, "can't run this command or subcommand"):
		if strings.Contains(rest, "key") && !refusedCommand.MatchString(text) {
			return cannot(err, "%s: the Redis user may not use the keys of the cache: grant them (~aside:*), %s", who, seeRights)
		}
		if m := refusedCommand.FindStringSubmatch(text); m != nil {
			what = strings.ToUpper(strings.ReplaceAll(m[1], "|", " "))
		}
		if what == "" {
			return cannot(err, "%s: the Redis user lacks a right: %s; %s", who, text, seeRights)
		}
		return rightsMissing(err, who, what)
	case code == "WRONGPASS":
		return cannot(err, "%s: Redis refuses the user name or the password (WRONGPASS): correct them, or the user in Redis", who)
	case code == "NOAUTH":
		return cannot(err, "%s: Redis asks for a password (NOAUTH), and none is given", who)
	case code == "DENIED":
		return cannot(err, "%s: Redis is in protected mode and serves its own machine alone: give its user a password, or set protected-mode no", who)
	case strings.Contains(text, "DB index is out of range"), strings.Contains(text, "invalid DB index"):
		return cannot(err, "%s: Redis has no database of this number: use another, or raise \"databases\" there", who)
	case strings.Contains(text, "SELECT is not allowed in cluster mode"):
		return cannot(err, "%s: a cluster has database 0 alone: leave the number out", who)
	case strings.Contains(text, "No such master with that name"):
		return cannot(err, "%s: the sentinel knows no master of this name: correct master_set", who)
	case strings.Contains(text, "cluster support disabled"):
		return cannot(err, "%s: not a cluster, and several addresses are given: name one server, or master_set if they are sentinels", who)
	case strings.Contains(text, "Could not find scripting engine"):
		return cannot(err, "%s: the server runs no Lua scripts, which are needed: load or build its Lua engine", who)
	case code == "NOPROTO", text == rueidis.ErrNoCache.Error(), strings.Contains(strings.ToUpper(text), "UNKNOWN COMMAND 'HELLO'"):
		return cannot(err, "%s: no RESP3 (HELLO 3), which client tracking needs: use Redis 7.0 or later, or Valkey, and no proxy that hides it", who)
	case errors.Is(err, rueidis.ErrNoCache), strings.Contains(text, "unknown subcommand"):
		if errors.Is(err, rueidis.ErrNoCache) {
			what = "CLIENT TRACKING"
		}
		return cannot(err, "%s: the server does not know %s, which is needed: use Redis 7.0 or later, or Valkey, without renamed commands (%s)", who, what, text)
	}
	if m := unknownCommand.FindStringSubmatch(text); m != nil {
		if strings.EqualFold(m[1], "SENTINEL") {
			return cannot(err, "%s: not a sentinel, though master_set says so", who)
		}
		return cannot(err, "%s: the server does not know %s, which is needed: use Redis 7.0 or later, or Valkey, without renamed commands", who, strings.ToUpper(m[1]))
	}
	var (
		noTLS tls.RecordHeaderError
		cert  *tls.CertificateVerificationError
		alert tls.AlertError
		known x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &noTLS):
		return cannot(err, "%s: no TLS is spoken there: use redis:// or another port", who)
	case errors.As(err, &cert), errors.As(err, &known):
		return cannot(err, "%s: its certificate is not trusted: %s", who, text)
	case errors.As(err, &alert), strings.Contains(text, "remote error: tls:"):
		return cannot(err, "%s: Redis refuses the TLS connection: %s", who, text)
	case strings.Contains(text, "unknown message type"), strings.Contains(text, "unexpected number byte"):
		return cannot(err, "%s: not a Redis, or one that asks for TLS (rediss://): what it answers is not Redis' protocol", who)
	}
	return err
}

// answered is an answer of the server that can be shown.
type answered struct {
	text string
	err  error
}

func (e *answered) Error() string { return e.text }
func (e *answered) Unwrap() error { return e.err }

// lacksRight reports whether the server refused for want of a right, also inside a
// script.
func lacksRight(err error) bool {
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		return false
	}
	text := re.Error()
	return strings.HasPrefix(text, "NOPERM") || strings.Contains(text, "The user executing the script can't")
}

// coded reports whether an answer has a code of its own, such as MOVED. rueidis
// takes away ERR, which all others begin with.
func coded(text string) bool {
	code, _, _ := strings.Cut(text, " ")
	return len(code) > 2 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// wrap marks the answers of a server that changed nothing and can go on
// answering reads.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	if re, ok := rueidis.IsRedisErr(err); ok {
		if text := firstLine(re); text != re.Error() {
			err = &answered{text, err}
		}
		// Redis puts the script's own error prefix first since 7.0.
		code, _, _ := strings.Cut(re.Error(), " ")
		switch code {
		case "OOM", "WRONGTYPE", "MISCONF", "NOREPLICAS":
			return fmt.Errorf("%w: %w", driver.ErrRefused, err)
		}
	}
	return err
}
