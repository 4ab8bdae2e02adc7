package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
)

// maxSecret is how long the file of a password or URL may be, in bytes.
const maxSecret = 64 << 10

// readSecret reads the file of a flag, without the line break at its end. The
// error never holds what the file holds.
func readSecret(flag, file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch text := strings.TrimRight(string(b), "\r\n"); {
	case err != nil:
		return "", fmt.Errorf("%s: %w", flag, err)
	case len(b) > maxSecret:
		return "", fmt.Errorf("%s: %s is longer than %d bytes; it must hold nothing but the secret", flag, file, maxSecret)
	case text == "":
		return "", fmt.Errorf("%s: %s is empty", flag, file)
	case strings.ContainsAny(text, "\r\n\x00"):
		return "", fmt.Errorf("%s: %s has more than one line; it must hold nothing but the secret", flag, file)
	default:
		return text, nil
	}
}

// oneOf returns the value, or what its file holds; both at once are refused.
func oneOf(flag, value, file string) (string, error) {
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("give %s or %s-file, not both", flag, flag)
	}
	return readSecret(flag+"-file", file)
}

// withPassword puts the password of a file into a URL that has a user at most.
// needsUser tells whether it must have one.
func withPassword(flag, rawURL, fileFlag, file string, needsUser bool) (string, error) {
	if file == "" {
		return rawURL, nil
	}
	if rawURL == "" {
		return "", fmt.Errorf("%s needs %s", fileFlag, flag)
	}
	password, err := readSecret(fileFlag, file)
	if err != nil {
		return "", err
	}
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return "", fmt.Errorf("%s: no scheme, want one like %s", flag, map[bool]string{false: "redis://cache1", true: "mongodb://todo@db1"}[needsUser])
	}
	user := ""
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, rest = rest[:i], rest[i+1:]
	}
	switch {
	case strings.Contains(user, ":"):
		return "", fmt.Errorf("%s has a password and %s gives another: leave one out", flag, fileFlag)
	case user == "" && needsUser:
		return "", errors.New(flag + " must name the user of the password in " + fileFlag + ", as in mongodb://todo@db1")
	}
	escaped := strings.ReplaceAll(url.QueryEscape(password), "+", "%20") // as both parts of a URL have it
	return scheme + "://" + user + ":" + escaped + "@" + rest, nil
}
