package printable

import "strings"

// SplitURL splits a connection string behind "://" into the user with the password and the
// @ that ends them, and the rest. The last @ of all ends them: a password that is not
// percent-encoded may contain any character. It does not use net/url, which refuses the
// lists of hosts that MongoDB and Redis have. ok is false without a scheme.
func SplitURL(s string) (scheme, user, rest string, ok bool) {
	if scheme, rest, ok = strings.Cut(s, "://"); !ok {
		return "", "", "", false
	}
	at := strings.LastIndexByte(rest, '@') + 1
	return scheme, rest[:at], rest[at:], true
}

// AmbiguousURL reports whether / ? or # stand in the user or the password of a connection
// string. For a driver these end there. The rest of the password would be a part of the host,
// of the database or of the settings, which are shown.
func AmbiguousURL(s string) bool {
	_, user, _, _ := SplitURL(s)
	return strings.ContainsAny(user, "/?#")
}
